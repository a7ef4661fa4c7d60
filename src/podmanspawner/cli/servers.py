"""Servers found by their labels: ``podmanspawner servers``, ``logs``, ``exec``, ``stop``."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from podmanspawner import server
from podmanspawner.answers import one_line, plain
from podmanspawner.errors import ContainerNotFound, PodmanError
from podmanspawner.names import HUB_LABEL, ServerName

from .accounts import in_each, places
from .hub import read
from .terminal import lend
from .text import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from podmanspawner.answers import Container
    from podmanspawner.client import UserPodman

    from .accounts import Place
    from .hub import HubConfiguration

HEADINGS = ("USER", "SERVER", "STATE", "SINCE", "HUB", "ACCOUNT", "CONTAINER")
_LOG_CHARACTERS = 64 << 10
_EXEC_CHARACTERS = 4 << 20


@dataclass(frozen=True)
class Server:
    """A server's container, in whatever state."""

    place: Place
    name: ServerName
    container: Container

    @property
    def title(self) -> str:
        """The server as people say it, in one line."""
        name = f":{self.name.servername}" if self.name.servername else ""
        return one_line(f"{self.name.username}{name}", 200)

    def row(self) -> list[str]:
        """Return its line of the table."""
        state = self.container.state
        since = ""
        if state.started_at > 0:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.started_at))
        status = state.status if state.running else f"{state.status} ({state.exit_code})"
        name, account = self.name, self.place.account.name
        cells = (name.username, name.servername, status, since, name.hub, account)
        return [*cells, self.container.name]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON has it."""
        state = self.container.state
        return {
            "user": self.name.username,
            "server": self.name.servername,
            "hub": self.name.hub,
            "account": self.place.account.name,
            "container": self.container.name,
            "id": self.container.id,
            "state": state.status,
            "running": state.running,
            "exit_code": state.exit_code,
            "started_at": state.started_at if state.started_at > 0 else None,
            "port": server.kept_port(self.container),
        }


def find(
    hub: HubConfiguration, usernames: Sequence[str], name: str | None = None
) -> tuple[list[Server], bool]:
    """Return the servers of users, or of all accounts, and whether all could be asked.

    Args:
        hub: whose servers, if a configuration was found; else those of every Hub.
        usernames: of whom; nobody for everybody.
        name: of a named server; "" for the default one, None for all.
    """
    hub_id = hub.hub_id

    def of(place: Place) -> list[Server]:
        labels = {HUB_LABEL: hub_id} if hub_id else None
        with place.spawner.podman(place.account) as podman:
            containers = podman.containers(labels)
        found = []
        for container in containers:
            known = ServerName.from_labels(container.labels)
            if known and place.username in ("", known.username):
                found.append(Server(place, known, container))
        return [one for one in found if name is None or one.name.servername == name]

    each, complete = in_each(places(hub, usernames), of)
    return [one for some in each for one in some], complete


def servers(path: Path | None, usernames: Sequence[str], *, as_json: bool) -> bool:
    """Print the servers, and return whether every account could be asked."""
    found, complete = find(read(path), usernames)
    if as_json:
        click.echo(json.dumps([one.to_json() for one in found], indent=2))
    elif found:
        table(HEADINGS, [one.row() for one in found])
    else:
        click.echo("no servers")
    return complete


@contextlib.contextmanager
def _one(path: Path | None, username: str, name: str) -> Iterator[tuple[UserPodman, Container]]:
    """Yield a user's server, and the Podman that it is in.

    Raises:
        ContainerNotFound: there is none.
        PodmanError: there are some of several Hubs.
    """
    found, complete = find(read(path), [username], name)
    title = f"{username}:{name}" if name else username
    if not found:
        why = "" if complete else ", or it cannot be asked"
        raise ContainerNotFound(
            f"There is no server {title} here{why}. 'podmanspawner servers {username}' lists what "
            "there is; --name tells a named one."
        )
    if len(found) > 1:
        hubs = ", ".join(sorted(one_line(one.name.hub, 40) for one in found))
        raise PodmanError(f"{title} has servers of several Hubs ({hubs}). Say which one: -f FILE.")
    place = found[0].place
    with place.spawner.podman(place.account) as podman:
        yield podman, found[0].container


def logs(path: Path | None, username: str, name: str, *, lines: int, follow: bool) -> None:
    """Print the last lines of a server, and what comes if they are followed."""
    with _one(path, username, name) as (podman, container):
        if not follow:
            click.echo(plain(podman.logs(container.id, tail=lines), _LOG_CHARACTERS), nl=False)
            return
        for piece in podman.follow_logs(container.id, tail=lines):
            click.echo(plain(piece, len(piece)), nl=False)


def run(path: Path | None, username: str, name: str, command: Sequence[str]) -> int:
    """Run a command in a server, print what it printed and return its exit code."""
    with _one(path, username, name) as (podman, container):
        done = podman.exec(container.id, command, seconds=None)
    click.echo(plain(done.output, _EXEC_CHARACTERS), nl=False)
    return done.exit_code


def type_to(path: Path | None, username: str, name: str, command: Sequence[str]) -> int:
    """Lend this terminal to a command in a server and return its exit code; 1 if let go of."""
    with (
        _one(path, username, name) as (podman, container),
        podman.terminal(
            container.id, command, environment={"TERM": os.environ.get("TERM", "dumb")}
        ) as terminal,
    ):
        if lend(terminal):
            return terminal.exit_code()
    click.echo("\nlet go of it; what runs there may go on", err=True)
    return 1


def stop(
    path: Path | None, usernames: Sequence[str], name: str | None, sure: Callable[[str], bool]
) -> bool:
    """Stop servers, and return whether all that was asked has been done.

    Args:
        path: of the Hub's configuration.
        usernames: whose; nobody for everybody.
        name: of a named server; "" for the default one, None for all.
        sure: asked before several are stopped.
    """
    found, complete = find(read(path), usernames, name)
    running = [one for one in found if one.container.state.running]
    if not running:
        click.echo("no server runs")
        return complete
    titles = ", ".join(one.title for one in running)
    if len(running) > 1 and not sure(f"Stop {len(running)} servers ({titles})?"):
        return False

    def end(one: Server) -> None:
        with one.place.spawner.podman(one.place.account) as podman:
            podman.stop(one.container.id, seconds=one.place.spawner.grace_period)
        click.echo(f"stopped {one.title}")

    return _each(running, end) and complete


def _each(some: Sequence[Server], work: Callable[[Server], None]) -> bool:
    """Do work for each server, one account's after the other."""
    by_account: dict[int, list[Server]] = {}
    for one in some:
        by_account.setdefault(one.place.account.uid, []).append(one)

    def in_account(place: Place) -> None:
        for one in by_account[place.account.uid]:
            work(one)

    return in_each([own[0].place for own in by_account.values()], in_account)[1]
