"""Notices that a container's process ended, without asking anybody.

A process is held by a descriptor (pidfd), which stays with it when its number is given to another
one. ref: pidfd_open(2)
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import cgroups, ports
from .errors import PodmanError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account
    from .answers import ContainerState

EARLIER_SECONDS = 60.0
"""The process is made while the container is prepared, a while before it is said to start."""
LATER_SECONDS = 2.0
"""The kernel counts hundredths of a second from the boot; the clock may be set meanwhile."""


class Unwatchable(PodmanError):  # noqa: N818, named as the field names it
    """The process of a container is not there, or not the one that the engine speaks of."""


class Watch:
    """A running server: the first process of its container, and the port where it listens."""

    def __init__(
        self,
        account: Account,
        state: ContainerState,
        host: str,
        port: int,
        *,
        memory_limit: int = 0,
    ) -> None:
        """Hold the process, once it is proved to be the container's.

        Args:
            account: whose container it is.
            state: what the account's engine says of it, which is not believed as it is.
            host: address at which the Hub and the proxy find the server.
            port: its port there.
            memory_limit: that of the container, in bytes; 0 for none.

        Raises:
            Unwatchable: it has ended, is not the account's, or did not start when the engine says.
        """
        self._account = account
        self._place = ports.Place(host, port)
        self.memory_limit = memory_limit
        self._kills = 0
        self.starved = False
        """Whether any of the container's processes ran out of memory, as far as was seen."""
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self.descriptor = os.pidfd_open(state.pid)
        except (OSError, OverflowError) as error:
            raise _unwatchable(state.pid, f"cannot be held ({error})") from error
        self._end = select.poll()
        self._end.register(self.descriptor, select.POLLIN)
        try:
            self._check(state)
        except Unwatchable:
            self.close()
            raise
        self._memory_events = cgroups.memory_events(state.pid)

    def _check(self, state: ContainerState) -> None:
        try:
            uid = _owner(state.pid)
            began = _start_time(state.pid)
        except (OSError, ValueError) as error:
            raise _unwatchable(state.pid, "has ended") from error
        if not self.running:  # what was read may be of its successor
            raise _unwatchable(state.pid, "has ended")
        if not self._account.owns(uid):
            raise _unwatchable(state.pid, f"belongs to uid {uid}, not to {self._account.name}")
        if not -EARLIER_SECONDS < began - state.started_at < LATER_SECONDS:
            raise _unwatchable(
                state.pid,
                f"began {began - state.started_at:.0f} s after its container, as the engine says",
            )

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return not self._end.poll(0)

    @property
    def fine(self) -> bool:
        """Whether the process runs and the account alone listens at the server's port."""
        uids = self._place.listener_uids()
        return self.running and bool(uids) and all(map(self._account.owns, uids))

    def new_kills(self) -> int:
        """Return how many of the container's processes ran out of memory since the last call."""
        before, self._kills = self._kills, cgroups.memory_kills(self._memory_events)
        self.starved |= self._kills > 0
        return max(self._kills - before, 0)

    def on_end(self, call: Callable[[], None]) -> None:
        """Let the running event loop call a function once, when the process has ended."""

        def ended() -> None:
            self._forget()
            call()

        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.descriptor, ended)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the process, at most so long; return whether it has ended."""
        poll = select.poll()  # the other one is for one thread
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(1000 * seconds))

    def be_silent(self) -> None:
        """Call nobody when the process ends, which is held still."""
        self._forget()

    def _forget(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self.descriptor)
            self._loop = None

    def close(self) -> None:
        """Let go of the process; nothing is called any more."""
        if self.descriptor >= 0:
            self._forget()
            os.close(self.descriptor)
            self.descriptor = -1


def _owner(pid: int) -> int:
    """Return the uid of a process; the folder's owner is root's while it is not dumpable."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))


def _start_time(pid: int) -> float:
    """Return the Unix time at which a process was made.

    ref: proc(5), field 22 of ``/proc/PID/stat``, in clock ticks since the boot.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def _unwatchable(pid: int, what: str) -> Unwatchable:
    return Unwatchable(f"The process {pid} {what}.", operation="watch the container")
