"""``podmanspawner images``: list, preload, prepare and share, so that nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import click

from podmanspawner import privileges
from podmanspawner.answers import one_line
from podmanspawner.errors import PodmanError, PodmanSpawnerError
from podmanspawner.fitting import for_engine
from podmanspawner.pulls import Progress
from podmanspawner.transports import name_here

from .accounts import complain, places
from .case import Case
from .hub import read
from .text import size, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from podmanspawner.account import Account
    from podmanspawner.answers import Image

    from .hub import HubConfiguration

_HEADINGS = ("USER", "IMAGE", "HERE", "RUNS AS")
_PARTS = 1000
_LOOK_SECONDS = 0.5


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
            with _bar(f"{case.username}: preparing {image}") as tell, _copying(case, found, tell):
                case.podman.remove(case.podman.create(spec))

    return _for_each(read(path), usernames, make)


def share(folder: Path, images: Sequence[str]) -> None:
    """Make a read-only store of images that serves every account. Needs root.

    Raises:
        PodmanError: it could not be made; nothing is left of it.
    """
    with as_file(files(__package__) / "make-store") as script:
        status, said = privileges.run_shown(["bash", str(script), str(folder), *images])
    if status:
        raise PodmanError(one_line(said.replace("make-store: ", "")) or "It could not be made.")
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
    if not sys.stdout.isatty():
        click.echo(label, nl=False)
        try:
            yield lambda _progress: None
        except BaseException:
            click.echo(": failed")
            raise
        click.echo(": done")
        return
    with click.progressbar(
        length=_PARTS,
        label=label,
        item_show_func=lambda text: text,
        show_eta=False,
        update_min_steps=0,  # the text is news, too
    ) as bar:

        def tell(progress: Progress) -> None:
            done = int(progress.fraction * _PARTS)
            bar.update(max(done - bar.pos, 0), progress.message)

        yield tell
        bar.update(_PARTS - bar.pos, "done")


@contextlib.contextmanager
def _copying(case: Case, image: Image, tell: Callable[[Progress], None]) -> Iterator[None]:
    """Tell how far a copy of an image is, by the room that is taken where images are.

    The engine says nothing of it, and answers nothing meanwhile. What others write there counts
    too, so it is a guess, and nothing fails for it.
    """
    folder, ended = case.info.storage_root, threading.Event()

    def look() -> None:
        with contextlib.suppress(PodmanSpawnerError, ValueError):
            before, taken = _free(case.account, folder), 0
            while not ended.is_set():
                tell(Progress(f"about {size(taken)} of {size(image.size)}", taken, image.size))
                ended.wait(_LOOK_SECONDS)
                taken = min(max(before - _free(case.account, folder), 0), image.size)

    with ThreadPoolExecutor(1) as pool:
        if sys.stdout.isatty():
            pool.submit(look)
        try:
            yield
        finally:
            ended.set()


def _free(account: Account, folder: str) -> int:
    """Return how many bytes are free where a folder of an account's is, as the account sees it."""
    said = privileges.run(account, ["stat", "--file-system", "--format=%a %S", "--", folder])
    blocks, block_bytes = said.split()
    return int(blocks) * int(block_bytes)
