"""``podmanspawner images``: list, preload, prepare and share, so that nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import click

from podmanspawner import privileges
from podmanspawner.answers import one_line
from podmanspawner.errors import PodmanError, PodmanSpawnerError
from podmanspawner.server import for_engine
from podmanspawner.transports import name_here

from .accounts import complain, places
from .case import Case
from .hub import read
from .text import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from podmanspawner.answers import Image
    from podmanspawner.pulls import Progress

    from .hub import HubConfiguration

_HEADINGS = ("USER", "IMAGE", "HERE", "RUNS AS")
_PARTS = 1000
_SHARE_SECONDS = 3600.0


def show(path: Path | None, usernames: Sequence[str]) -> bool:
    """Print which of the images that users may get their accounts have."""
    rows = []
    hub = read(path)

    def look(case: Case) -> None:
        for image in _wanted(case, ()):
            name, here, user = name_here(image), "no", ""
            if case.podman.images.exists(name):
                found = case.podman.images.inspect(name)
                here, user = found.id[:12], found.user or "root"
            rows.append([case.username, image, here, user])

    fine = _for_each(hub, usernames, look)
    table(_HEADINGS, rows)
    return fine


def preload(
    path: Path | None, usernames: Sequence[str], chosen: Sequence[str], archive: Path | None
) -> bool:
    """Get images into accounts; return whether all are there.

    Args:
        path: of the Hub's configuration.
        usernames: whose accounts; nobody for all that have used Podman.
        chosen: images in place of those of the configuration.
        archive: a file to load them from.
    """

    def get(case: Case) -> None:
        if archive:
            loaded = case.podman.images.load(archive)
            for name in loaded:
                click.echo(f"{case.username}: loaded {one_line(name, 300)}")
            return
        for image in _wanted(case, chosen):
            _ensure(case, image)

    return _for_each(read(path), usernames, get)


def prepare(path: Path | None, usernames: Sequence[str], chosen: Sequence[str]) -> bool:
    """Get images into accounts, and have the copy made that their first container would wait for.

    Arguments as :func:`preload`.
    """

    def make(case: Case) -> None:
        for image in _wanted(case, chosen):
            found = _ensure(case, image)
            settings = replace(case.intent.settings, image=name_here(image))
            spec = case.bare(found, for_engine(settings, case.podman))
            click.echo(f"{case.username}: preparing {image}", nl=False)
            case.podman.remove(case.podman.create(spec))
            click.echo(": done")

    return _for_each(read(path), usernames, make)


def share(folder: Path, images: Sequence[str]) -> None:
    """Make a read-only store of images that serves every account. Needs root.

    Raises:
        PodmanError: it could not be made; nothing is left of it.
    """
    click.echo(f"making {folder}, which takes a while", err=True)
    with as_file(files(__package__) / "make-store") as script:
        command = ["env", "HOME=/root", "bash", str(script), str(folder), *images]
        status, said = privileges.run_unchanged(command, seconds=_SHARE_SECONDS)
    if status:
        raise PodmanError(one_line(said.replace("make-store: ", "")))
    click.echo(
        f"{folder} is made. Let servers have it: c.PodmanSpawner.image_stores = ['{folder}']"
    )


def _for_each(
    hub: HubConfiguration, usernames: Sequence[str], work: Callable[[Case], None]
) -> bool:
    """Do work for each user and each way to a server, one after the other."""
    fine = True
    names = usernames or [place.account.name for place in places(hub, ())]
    for username in names:
        for offer in hub.offers:
            case = Case(hub, username, offer)
            try:
                work(case)
            except (PodmanSpawnerError, OSError) as error:
                complain(username, error)
                fine = False
            finally:
                case.close()
    return fine


def _wanted(case: Case, chosen: Sequence[str]) -> list[str]:
    return list(chosen) or asyncio.run(case.spawner.images())


def _ensure(case: Case, image: str) -> Image:
    """Get an image as its first start would, and show how far it is."""
    policy = "missing" if case.intent.pull_policy == "never" else case.intent.pull_policy
    if not case.podman.images.must_pull(image, policy):
        found = case.podman.images.inspect(name_here(image))
        click.echo(f"{case.username}: {image} is here")
        return found
    with _bar(f"{case.username}: {image}") as tell:
        return case.podman.images.ensure(
            image,
            policy,
            seconds=case.spawner.pull_timeout,
            progress=tell,
            keyring=case.intent.keyring,
        )


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, and one line elsewhere."""
    with click.progressbar(
        length=_PARTS, label=label, item_show_func=lambda text: text, show_eta=False
    ) as bar:

        def tell(progress: Progress) -> None:
            done = int(progress.fraction * _PARTS)
            bar.update(max(done - bar.pos, 0), progress.message)

        yield tell
        bar.update(_PARTS - bar.pos, "done")
