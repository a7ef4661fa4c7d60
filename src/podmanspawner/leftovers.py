"""Ends what still runs of a container where the engine cannot do it, or has forgotten it.

The engine forgets when its runtime directory is wiped or its database lost, and can do nothing
while its disk is full or its service does not start. What runs is found by conmon, which names the
container in its arguments. All is done by a process that has become the account: a command line
lies in the memory of the process, which may let its reader wait, and nobody else can be hurt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import privileges
from .answers import one_line
from .errors import ServiceError

if TYPE_CHECKING:
    from .account import Account

_END = r"""
monitors() {  # conmon of these containers
    for word; do
        grep -lzxF -e "$word" /proc/[0-9]*/cmdline
    done 2>/dev/null | cut -d/ -f3 | sort -u | while read -r pid; do
        [ -O "/proc/$pid" ] && grep -qx conmon "/proc/$pid/comm" 2>/dev/null && echo "$pid"
    done
}
children() {  # what they monitor
    for pid in $found; do
        grep -lx "PPid:[[:space:]]*$pid" /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3
    done | while read -r pid; do
        ! cleans_up "$pid" && lives "$pid" && echo "$pid"
    done
}
cleans_up() {  # Podman, or conmon on the way to it, after the end; in no container
    [ "$(readlink "/proc/$1/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] && {
        grep -qx conmon "/proc/$1/comm" || grep -qzx cleanup "/proc/$1/cmdline"
    } 2>/dev/null
}
lives() {
    grep -q '^State:[[:space:]]*[^XZ]' "/proc/$1/status" 2>/dev/null
}
states() {  # what the runtimes know of: id and program
    for pid in $found; do
        tr '\0' '\n' <"/proc/$pid/cmdline" |
            sed -n -e '/^-c$/{n;h;}' -e '/^-r$/{n;H;x;s/\n/ /p;q;}'
    done 2>/dev/null
}
gone() {  # within so many tenths of a second
    tenths=$1
    shift
    while [ -n "$(monitors "$@")" ]; do
        [ "$tenths" -gt 0 ] || return 1
        tenths=$((tenths - 1))
        sleep 0.1
    done
}
grace=$(($1 * 10))
port=$2
shift 2
found=$(monitors "$@")
running=$(children)
states=$(states)
[ -z "$running" ] || echo "ended" $running
[ "$grace" -gt 0 ] && kill -TERM $running 2>/dev/null && gone "$grace" "$@"
kill -KILL $running 2>/dev/null
gone 20 "$@" || kill -KILL $found 2>/dev/null
gone 20 "$@" || echo "stays" $found
# the engine has a container deleted only if it saw it made
echo "$states" | while read -r id runtime; do
    [ -z "$id" ] || "$runtime" delete --force "$id"
done >/dev/null 2>&1
# pasta waits for the clean-up of the network, which an engine that is broken does not do
grep -lzE -e "/$port-$port:" /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 |
    while read -r pid; do
        grep -q '^pasta' "/proc/$pid/comm" && kill "$pid"
    done
"""
"""A shell's; its arguments are seconds, a port, and names or ids of a container."""
_OWN_SECONDS = 15.0


def end(account: Account, *containers: str, seconds: int = 0, port: int = 0) -> bool:
    """End what runs of a container, and see it gone; whether there was anything.

    Takes about 50 ms where there is nothing.

    Args:
        account: whose container it is; nothing of anybody else's is touched.
        containers: its name, its id, or both.
        seconds: time between the usual signal and SIGKILL.
        port: what it publishes on the host, if that is known.

    Raises:
        ServiceError: it does not end.
    """
    program = ["sh", "-c", _END, "sh", str(seconds), str(port), *containers]
    said = privileges.run(account, program, seconds=seconds + _OWN_SECONDS)
    if "stays" in said:
        raise ServiceError(
            f"What runs of the container {containers[0]} does not end: {one_line(said)}. Look "
            f"at it as root: 'ps -o pid,stat,args -U {account.name}'."
        )
    return "ended" in said
