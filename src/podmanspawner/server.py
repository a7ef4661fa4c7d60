"""One server's container, in the account's thread: found, looked at, ended; of no Hub."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import leftovers, ports, vault
from .answers import one_line, quoted
from .errors import (
    ContainerNotFound,
    PodmanError,
    PodmanSpawnerError,
    SpecError,
    UntrustedServiceError,
)
from .names import ServerName
from .watch import Unwatchable, Watch

if TYPE_CHECKING:
    from .account import Account
    from .answers import Container
    from .client import UserPodman

log = logging.getLogger(__name__)

PORT_LABEL = "podmanspawner.port"
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105, the name of a variable
LOG_LINES = 30
LOOK_AGAIN = (0.05, 0.25, 1.0)
"""Seconds."""
_LOG_AGAIN = (0.05, 0.0)
"""Seconds."""
_KILLED = 128 + 9
_UNITS = (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10))
"""As in the sizes that options take."""


class ServerEnded(PodmanError):  # noqa: N818, named as the field names it
    """The server ended while it was starting."""

    def __init__(self, container: Container, last_lines: str) -> None:
        super().__init__(
            f"The server ended while it was starting ({how_it_ended(container)}). Start it again; "
            "if it stays so, show whoever runs this Hub its last lines:\n" + quoted(last_lines),
            operation="start the server",
        )
        self.exit_code = container.state.exit_code
        """Exit code of the server."""
        self.last_lines = last_lines
        """What it printed last."""


def how_it_ended(container: Container) -> str:
    """Return the exit code of a container that has ended, and what the engine knows besides."""
    state = container.state
    how = f"exit code {state.exit_code}"
    if state.oom_killed:
        # true also if the kernel took one of its processes long before the end
        killed = state.exit_code == _KILLED
        how += ", out of memory" if killed else ", one of its processes was out of memory before"
        how += f", {memory_limit(container.memory_limit)}"
    if state.error:
        how += f", {state.error}"
    return how


def cause_of_end(container: Container) -> str:
    """Return the word of the metrics for how a container ended."""
    state = container.state
    if state.oom_killed and state.exit_code == _KILLED:
        return "out_of_memory"
    return "error" if state.exit_code else "exit"


def memory_limit(limit: int) -> str:
    """Return a limit in bytes, as people say it; 0 is none."""
    if not limit:
        return "without a limit of its own"
    unit, size = next(
        ((unit, limit / size) for unit, size in _UNITS if limit >= size), ("bytes", limit)
    )
    return f"limit {size:.4g} {unit}"


@dataclass(frozen=True)
class Started:
    """A container that has been started."""

    account: Account
    """Whose it is."""
    id: str
    found: Container
    """What the engine says of it, just after the start."""
    port: int
    """Port of the host on which the server is to be reached."""
    resumed: bool
    """Whether it is a kept container, started again."""


def find(podman: UserPodman, server: ServerName, name: str) -> Container | None:
    """Return the server's container, in whatever state, if there is one.

    Raises:
        PodmanError: a container of that name exists, but is not this server's.
    """
    try:
        found = podman.inspect(name)
    except ContainerNotFound:
        return None
    if ServerName.from_labels(found.labels) != server:
        raise PodmanError(
            f"{podman.account.name} has a container {name} that does not belong to this server. "
            f"Rename or remove it ('podman rm {name}'), or change prefix or name_template.",
            operation=f"find container {name}",
        )
    return found


def remove(podman: UserPodman, container: Container) -> None:
    """Remove the secrets that were made for a server, then the container that tells of them."""
    server = ServerName.from_labels(container.labels)
    if server and vault.SECRETS_LABEL in container.labels:
        forget_secrets(podman, server)
    podman.remove(container.id)


def end_forgotten(podman: UserPodman, *containers: str, seconds: int = 0) -> bool:
    """End what runs of a container that does not run as the engine says; whether there was any.

    The engine says so after its runtime directory was wiped, or its database lost.

    Args:
        podman: the account's Podman.
        containers: name, id, or both.
        seconds: time between the usual signal and SIGKILL.

    Raises:
        ServiceError: it does not end.
    """
    was_there = leftovers.end(podman.account, *containers, seconds=seconds)
    if was_there:
        log.warning(
            "%s: processes of the container %s, which Podman had forgotten, have been ended",
            podman.account.name,
            containers[0],
        )
    return was_there


def ask_to_end(podman: UserPodman, found: Container) -> bool:
    """Send a server its stop signal; return whether it was sent.

    Who holds its process sees its end at once: the engine's own way of stopping looks ten times a
    second only.
    """
    try:
        podman.kill(found.id, signal=found.stop_signal or "SIGTERM")
    except (PodmanError, SpecError):  # it has just ended, or has a signal that has no name here
        return False
    return True


def stop(podman: UserPodman, container: str, *, seconds: int) -> None:
    """Stop a running container; an error of the engine's is none if it has ended all the same.

    An engine whose conmon is gone ends the process and then misses its exit code.
    """
    try:
        podman.stop(container, seconds=seconds)
    except ContainerNotFound:  # its user was faster
        return
    except PodmanError:
        if podman.inspect(container).state.running:
            raise


def forget_secrets(podman: UserPodman, server: ServerName) -> tuple[str, ...]:
    """Remove all secrets that were made for a server; return their names, as it knows them."""
    own = vault.prefix(server)
    return tuple(name.removeprefix(own) for name in podman.secrets.remove_beginning(own))


def kept_port(container: Container) -> int | None:
    """Return the port that a kept container publishes; who listens there is checked later."""
    text = container.labels.get(PORT_LABEL, "")
    port = int(text) if text.isdecimal() and len(text) <= 5 else 0  # noqa: PLR2004
    return port if 0 < port <= 65535 else None  # noqa: PLR2004


def kept_token(container: Container) -> str:
    """Return the token that a kept container holds; the Hub has the last word on it."""
    return container.environment.get(TOKEN, "")[:256]


def last_words(podman: UserPodman, container: str) -> str:
    """Return the last lines of a container that has ended; they may come a moment later.

    How it ended is told also if they cannot be read.
    """
    for pause in _LOG_AGAIN:
        try:
            lines = podman.logs(container, tail=LOG_LINES)
        except PodmanSpawnerError as error:
            return f"(the log cannot be read: {error})"
        if lines:
            return lines.strip()
        time.sleep(pause)
    return ""


def complaint(podman: UserPodman, started: Started, host: str) -> str | None:
    """Run the health check; return what it printed if all is not well, else None.

    Raises:
        PodmanSpawnerError: as :func:`listening`, which is asked first.
        SpecError: there is no health check.
    """
    listening(podman, started.id, host, started.port)
    if podman.healthy(started.id):
        return None
    return podman.inspect(started.id).state.health


def listening(
    podman: UserPodman, container: str, host: str, port: int, *, has_ended: bool = False
) -> bool:
    """Whether a container's port has a listener, which is proved to be the account's.

    Args:
        podman: the account's Podman.
        container: name or id.
        host: address where it is to be listened on.
        port: the port there.
        has_ended: whether its process is known to have ended.

    Raises:
        ServerEnded: the container does not run any more.
        ContainerNotFound: nor is it there.
        UntrustedServiceError: somebody else listens.
    """
    for pause in (*LOOK_AGAIN, 0.0):
        found = podman.inspect(container)
        if not has_ended or not found.state.running:
            break
        time.sleep(pause)  # the engine learns of it a moment later
    if has_ended or not found.state.running:
        last_lines = last_words(podman, container)
        if "failed to exec pid1" in last_lines:  # the init process's words
            option = "entrypoint" if found.entrypoint else "cmd"
            program = next(iter(found.entrypoint or found.command), "")
            what_to_do = "Choose one of its own"
            if len(program.split()) > 1:
                what_to_do = f"Write it as a list of words: {program.split()}"
            raise SpecError(
                option,
                f"the image has no program {program!r}. {what_to_do}. ({one_line(last_lines)})",
            )
        raise ServerEnded(found, last_lines)
    uids = ports.listener_uids(host, port)
    foreign = [uid for uid in uids if not podman.account.owns(uid)]
    if foreign:
        raise UntrustedServiceError(
            f"Port {port} of {host}, meant for the server of {podman.account.name}, is listened "
            f"on by uid {foreign[0]}. Start the server again; it gets another port.",
            reason="peer",
        )
    return bool(uids)


def look(
    podman: UserPodman, container: str, host: str, port: int, has_ended: bool
) -> tuple[Container, bool]:
    """Return the container, and whether the kernel agrees that it runs.

    What does not agree is looked at again: the engine learns of an end a moment after the kernel.

    Args:
        podman: the account's Podman.
        container: name or id.
        host: address where it is to be listened on, by the account alone.
        port: the port there; 0 if it is not known.
        has_ended: whether its process is known to have ended.

    Raises:
        ContainerNotFound: there is none.
    """
    for pause in (*LOOK_AGAIN, 0.0):
        found = podman.inspect(container)
        uids = ports.listener_uids(host, port) if port else {podman.account.uid}
        is_well = not has_ended and bool(uids) and all(map(podman.account.owns, uids))
        if is_well or not found.state.running:
            break
        time.sleep(pause)
    return found, is_well


def watch(account: Account, found: Container, host: str, port: int) -> Watch | None:
    """Hold a running server, so that its end is noticed; None if that cannot be done."""
    try:
        return Watch(account, found.state, host, port, memory_limit=found.memory_limit)
    except Unwatchable as error:
        log.info("%s: %s: %s", account.name, found.name, error)
        return None
