"""``podmanspawner prune``: what no server of a running Hub owns is ended, by the Hub's rule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from podmanspawner.errors import PodmanError
from podmanspawner.orphans import Orphan, find_orphans, remove_orphan

from .accounts import complain, in_each, places
from .hub import ConfigurationError, read
from .running_hub import RunningHub
from .servers import HEADINGS, Server
from .text import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .accounts import Place
    from .hub import HubConfiguration


@dataclass
class Found:
    """An orphan, and what becomes of it."""

    place: Place
    orphan: Orphan
    result: str = "left"
    """``left``, ``removed``, ``stopped``, ``failed``; ``owned`` if a server has it by now."""

    @property
    def server(self) -> Server:
        """The container as the other commands show it."""
        return Server(self.place, self.orphan.server, self.orphan.container)

    def end(self) -> None:
        """Do what the rule says."""
        title = self.orphan.container.name
        try:
            with self.place.spawner.podman(self.place.account) as podman:
                remove_orphan(podman, self.orphan, seconds=self.place.spawner.grace_period)
        except PodmanError as error:
            complain(title, error)
            self.result = "failed"
        else:
            self.result = "stopped" if self.orphan.kept else "removed"


def prune(
    path: Path | None,
    usernames: Sequence[str],
    sure: Callable[[str], bool],
    *,
    url: str,
    token: str,
    dry_run: bool,
    as_json: bool,
) -> bool:
    """End the containers that no server of the Hub owns; return whether all was done.

    Args:
        path: of the Hub's configuration, which says what its containers are labelled with.
        usernames: whose; nobody for everybody.
        sure: asked before anything is ended.
        url: of the Hub's API; empty for the configuration's own.
        token: for it.
        dry_run: only tell which.
        as_json: print what was found, and what became of it, as JSON.

    Raises:
        ConfigurationError: there is no configuration, or no token.
        HubError: the Hub cannot be asked.
    """
    hub = read(path)
    running = _running(hub, url, token)
    running.demand_scopes()
    found, complete = _find(hub, usernames, running)
    if found and not as_json:
        table(HEADINGS, [one.server.row() for one in found])
    elif not as_json:
        click.echo("no orphans")
    if found and not dry_run:
        if not sure(f"End {len(found)} containers that no server of {running.url} owns?"):
            return False
        complete = _end(found, running, quiet=as_json) and complete
    if as_json:
        lines = [{**one.server.to_json(), "result": one.result} for one in found]
        click.echo(json.dumps(lines, indent=2))
    return complete


def _running(hub: HubConfiguration, url: str, token: str) -> RunningHub:
    if not hub.hub_id:
        raise ConfigurationError(
            "Which containers are the Hub's is in its configuration (hub_id), and none was found. "
            "Name it with -f FILE"
        )
    if not token:
        raise ConfigurationError(
            "Which servers there are is known to the Hub alone, which wants a token. Give one, "
            "such as that of one of c.JupyterHub.services, with --token or JUPYTERHUB_API_TOKEN"
        )
    return RunningHub(url or str(hub.app.hub.api_url), token)


def _find(
    hub: HubConfiguration, usernames: Sequence[str], running: RunningHub
) -> tuple[list[Found], bool]:
    """Return the orphans, and whether every account could be asked. The Hub is asked last."""

    def of(place: Place) -> list[Found]:
        with place.spawner.podman(place.account) as podman:
            found = find_orphans(podman, hub.hub_id, lambda _server: False)
        return [
            Found(place, orphan)
            for orphan in found
            if place.username in ("", orphan.server.username)
        ]

    each, complete = in_each(places(hub, usernames), of)
    found = [one for some in each for one in some]
    active = running.active()
    return [one for one in found if not active.owns(one.orphan)], complete


def _end(found: Sequence[Found], running: RunningHub, *, quiet: bool) -> bool:
    """End them, each unless a server owns it by now; return whether all were."""
    for one in found:
        if running.active().owns(one.orphan):
            one.result = "owned"
        else:
            one.end()
        if not quiet and one.result != "failed":
            click.echo(f"{one.result} {one.orphan.container.name}")
    return all(one.result != "failed" for one in found)
