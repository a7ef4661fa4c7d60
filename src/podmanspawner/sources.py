"""Where a server's mounts come from: what is made before it starts, what goes when it is deleted.

Folders are made by a process that has become the account. Volumes carry labels from the moment
they exist, so that none is removed but those that were made for the very user and server.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import builder, privileges
from .answers import one_line
from .errors import PodmanError, SpecError
from .names import HUB_LABEL, SERVERNAME_LABEL, USERNAME_LABEL, ServerName

if TYPE_CHECKING:
    from .account import Account
    from .client import UserPodman
    from .mounts import Mount
    from .settings import ImageFacts, ServerSettings

log = logging.getLogger(__name__)

_MAKE = 'umask 077; [ -e "$1" ] || exec mkdir -p -- "$1"'
"""A shell's, with the path as its argument, never as a part of the text."""


@dataclass(frozen=True)
class Deleted:
    """What went with a server, by name, and what stayed."""

    containers: tuple[str, ...]
    volumes: tuple[str, ...]
    kept: tuple[str, ...]
    """Volumes of the server, or of the user, that were not to be removed, or are in use."""
    secrets: tuple[str, ...] = ()
    """Made for the server."""


def prepare(podman: UserPodman, settings: ServerSettings, facts: ImageFacts) -> None:
    """Make what the mounts need and what is not there: labelled volumes; folders if asked to.

    Raises:
        SpecError: a folder cannot be made by the account.
    """
    if settings.create_sources:
        for mount in builder.mounts(settings, facts, podman.account):
            if mount.kind == "bind" and not mount.read_only:
                _make_folder(podman.account, mount)
    for name, labels in builder.volumes(settings, facts, podman.account).items():
        if podman.volumes.ensure(name, labels):
            log.info("%s: made the volume %s", podman.account.name, name)


def _make_folder(account: Account, mount: Mount) -> None:
    said = privileges.run(account, ["sh", "-c", _MAKE, "sh", mount.source])
    if complaint := one_line(said):
        raise SpecError(
            mount.option,
            f"{account.name} cannot make the folder {mount.source}: {complaint}. Make it "
            "as root and give it to the account, or name one where the account may write.",
        )


def delete(podman: UserPodman, server: ServerName, *, volumes: bool) -> Deleted:
    """Remove the containers of a server that is deleted, and its volumes if they are to go.

    The default server is deleted with its user only: then all of the user's goes.

    Args:
        podman: the account's Podman, awake.
        server: which server.
        volumes: whether volumes are to be removed.

    Raises:
        PodmanError: a container could not be removed.
    """
    labels = {HUB_LABEL: server.hub, USERNAME_LABEL: server.username}
    if server.servername:
        labels[SERVERNAME_LABEL] = server.servername
    containers = [
        found for found in podman.containers(labels) if labels.items() <= found.labels.items()
    ]
    for container in containers:
        podman.remove(container.id)
    gone: list[str] = []
    kept: list[str] = []
    for volume in podman.volumes.list(labels):
        removed = volumes and _remove(podman, volume.name)
        (gone if removed else kept).append(volume.name)
    return Deleted(tuple(found.name for found in containers), tuple(gone), tuple(kept))


def _remove(podman: UserPodman, volume: str) -> bool:
    try:
        return podman.volumes.remove(volume)
    except PodmanError as error:
        log.warning("%s: the volume %s stays: %s", podman.account.name, volume, error)
        return False
