"""Which limits the host can enforce on an account's containers, by the kernel's own files.

Only ``/sys/fs/cgroup`` is read, whose names and files are the kernel's: an account that has a
folder there can make no link in it. ref: cgroups(7), systemd's CGROUP_DELEGATION
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .account import Account

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = {
    "mem_limit": "memory",
    "memswap_limit": "memory",
    "mem_guarantee": "memory",
    "cpu_limit": "cpu",
    "cpu_guarantee": "cpu",
    "pids_limit": "pids",
}
"""Options that rest on a controller of the kernel's."""
LIKE_OPTIONS = {"memory": "mem_limit", "cpu": "cpu_limit", "pids": "pids_limit"}
"""Parts of ``resource_limits`` in ``extra_spec``, and an option with the same controller."""
_EVENTS_BYTES = 4096


def obstacles(account: Account, *, root: Path = ROOT, own: str | None = None) -> dict[str, str]:
    """Return for each option that cannot be enforced why not, and what to do about it.

    Args:
        account: whose containers are to be limited.
        root: where the cgroups are mounted.
        own: cgroup of this process, in which a service that it starts would be; None to look.
    """
    if not (root / "cgroup.controllers").exists():
        reason = (
            "the host has cgroups v1, on which Podman without root limits nothing; boot it with "
            "cgroups v2 alone (systemd.unified_cgroup_hierarchy=1)"
        )
        return dict.fromkeys(CONTROLLERS, reason)
    folder = root / f"user.slice/user-{account.uid}.slice/user@{account.uid}.service"
    if not folder.is_dir():
        folder = root / (_own() if own is None else own).lstrip("/")
        if not folder.is_dir() or folder.stat().st_uid != account.uid:
            reason = (
                f"{account.name} has no cgroup of its own; give it a systemd user manager "
                f"('loginctl enable-linger {account.name}')"
            )
            return dict.fromkeys(CONTROLLERS, reason)
    there = (folder / "cgroup.controllers").read_text().split()
    return {
        option: f"the cgroup of {account.name} lacks the controller {controller!r}; delegate it: "
        "'systemctl edit user@.service', [Service] Delegate=cpu memory pids, then 'systemctl "
        f"restart user@{account.uid}.service', which ends what the account runs"
        for option, controller in CONTROLLERS.items()
        if controller not in there
    }


def memory_events(pid: int, *, root: Path = ROOT) -> str:
    """Return the path of the file that counts what lack of memory does to a process's cgroup.

    Empty where there is none to be seen: cgroups v1, no controller, or a cgroup outside the Hub's
    namespace.

    ref: memory.events in the kernel's admin-guide/cgroup-v2
    """
    try:
        group = _of(str(pid))
    except OSError:
        return ""
    if ".." in group.split("/"):  # one that this process's namespace does not show
        return ""
    events = str(root / group.lstrip("/") / "memory.events")
    # of Path, it would raise where an account's cgroups are nested too deep for a path
    return events if os.path.exists(events) else ""  # noqa: PTH110


def memory_kills(events: str) -> int:
    """Return how many processes were killed for lack of memory so far, by a cgroup's file.

    0 where that cannot be known: no file, no controller, or the cgroup has gone. The kernel counts
    a process that any limit ended, be it the container's, the account's or the host's own end of
    memory. Each poll reads it: hence no more than the three system calls it takes.
    """
    if not events:
        return 0
    try:
        descriptor = os.open(events, os.O_RDONLY)
    except OSError:
        return 0
    try:
        text = os.read(descriptor, _EVENTS_BYTES)
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    count = text.partition(b"oom_kill ")[2].partition(b"\n")[0]
    return int(count or 0)


def _own() -> str:
    return _of("self")


def _of(pid: str) -> str:
    """Return the cgroup of a process; ref: cgroups(7), /proc/PID/cgroup of v2."""
    # an account may name a cgroup of its own by any bytes but a line's end
    text = Path("/proc", pid, "cgroup").read_text(errors="surrogateescape")
    for line in text.split("\n"):
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return ""
