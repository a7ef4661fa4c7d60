"""Orphans: containers of a Hub that no server of it owns; how they are found and ended.

Whose a container is, its labels say, which it has from its first moment. One that is not labelled
for this very Hub, and for a user and a server, is none, whatever its name.

A container that is kept when its server stops (``remove = False``) holds a user's work: it is
never removed here. If it runs it is stopped; the next start of its server takes it up again.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import privileges, server
from .account import Account
from .builder import KEEP_LABEL
from .errors import AccountError, ContainerNotFound, PodmanError, ServiceError
from .names import HUB_LABEL, ServerName

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answers import Container
    from .client import UserPodman

_MONITOR = "conmon\n"
_NAMES = r"""
for process in /proc/[0-9]*; do
    [ -O "$process" ] && grep -qx conmon "$process/comm" || continue
    tr '\0' '\n' <"$process/cmdline" | grep -xA1 -e -n | sed -n 2p
done 2>/dev/null
"""
"""Prints the names of the containers that the caller's monitors have. A command line lies in the
memory of its process, which may let a reader wait: so it is the account that reads, for so long.
"""
_NAMES_SECONDS = 5.0
_NAME_LENGTH = 200


@dataclass(frozen=True)
class Orphan:
    """A container that no server owns."""

    server: ServerName
    """Whose its labels say it was."""
    container: Container

    @property
    def kept(self) -> bool:
        """Whether it is one that stays when its server stops."""
        return KEEP_LABEL in self.container.labels


def find_orphans(
    podman: UserPodman, hub_id: str, owned: Callable[[ServerName], bool]
) -> list[Orphan]:
    """Return the containers of a Hub in an account that no server owns.

    Args:
        podman: the account's Podman.
        hub_id: which Hub's.
        owned: whether the Hub starts, runs or stops a server now. Asked after the containers are
            listed: so one that is made by a start, which the Hub knows before, is no orphan.

    Raises:
        PodmanSpawnerError: the account's Podman cannot be asked.
    """
    found = []
    for container in podman.containers({HUB_LABEL: hub_id}):
        whose = ServerName.from_labels(container.labels)
        if whose and whose.hub == hub_id:  # what the filter lets through is the service's word
            found.append(Orphan(whose, container))
    return [
        orphan
        for orphan in found
        if (orphan.container.state.running or not orphan.kept) and not owned(orphan.server)
    ]


def remove_orphan(podman: UserPodman, orphan: Orphan, *, seconds: int = 10) -> None:
    """Stop a container that no server owns; remove it, and its secrets, unless it is kept.

    Volumes stay: they are a user's data.

    Args:
        podman: the account's Podman.
        orphan: what :func:`find_orphans` found.
        seconds: between the stop signal and SIGKILL.

    Raises:
        PodmanError: it cannot be ended.
    """
    try:
        podman.stop(orphan.container.id, seconds=seconds)
    except ContainerNotFound:  # somebody else was faster
        return
    except PodmanError:
        if orphan.kept:
            raise
    server.end_forgotten(podman, orphan.container.id)
    if not orphan.kept:
        server.remove(podman, orphan.container)


def accounts_running(wanted: Callable[[str, str], bool]) -> set[str]:
    """Return the names of the accounts in which a container may run that is wanted.

    Each container has a monitor, conmon, whose command line has its name: no service is woken,
    and nothing that belongs to an account is opened. What an account's processes are called is
    its own word, good for whom to ask, not for what to do.

    Args:
        wanted: told an account's name, and a container's.
    """
    accounts = set()
    for uid in _owners():
        if os.geteuid() not in (0, uid):
            continue
        with contextlib.suppress(KeyError, AccountError):
            account = Account.lookup(pwd.getpwuid(uid).pw_name)
            if _may_run(account, wanted):
                accounts.add(account.name)
    return accounts


def _may_run(account: Account, wanted: Callable[[str, str], bool]) -> bool:
    """Whether a container runs that is wanted, or the account does not tell in time."""
    try:
        said = privileges.run(account, ["sh", "-c", _NAMES], seconds=_NAMES_SECONDS)
    except ServiceError:
        return True
    return any(wanted(account.name, name[:_NAME_LENGTH]) for name in said.splitlines())


def _owners() -> set[int]:
    """Return the uids whose processes call themselves a monitor."""
    owners = set()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if process.name.isdigit():
                comm = (process / "comm").read_text(errors="replace")
                if comm == _MONITOR:
                    owners.add(process.stat().st_uid)
    return owners
