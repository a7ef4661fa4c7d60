"""What the option ``image`` can say: a name in a registry, or a path on the host; pure.

ref: containers-transports(5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import names
from .errors import SpecError

DOCKER_HUB = "docker.io"
IMPORTED = "localhost/podmanspawner/imported"
"""Images that came from a path are found again below this name."""

_FILES = {"dir": "manifest.json", "oci": "index.json", "docker-archive": "", "oci-archive": ""}
"""Transports of local files, and which file below the path is new whenever the image is."""
_OTHERS = ("containers-storage", "docker-daemon", "ostree", "sif", "tarball", "http", "https")
_PATH = re.compile(r"/[^\x00-\x1f\x7f]*")
_NAME = re.compile(
    r"(?=[A-Za-z0-9\[])"
    r"((\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/)?"
    r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
    r"(:[A-Za-z0-9._-]+)?(@[a-z0-9]+:[0-9a-f]+)?"
)
_PATH_LENGTH = 4096
_NAME_LENGTH = 512


@dataclass(frozen=True)
class LocalSource:
    """An image in a file or folder of the host."""

    transport: str
    """``dir``, ``oci``, ``docker-archive`` or ``oci-archive``."""
    path: str
    reference: str = ""
    """Which of its images, where it can hold several."""

    def __str__(self) -> str:
        """Return it as ``podman pull`` takes it."""
        return f"{self.transport}:{self.path}" + (f":{self.reference}" if self.reference else "")

    @property
    def dated_file(self) -> str:
        """Path of the file that is written whenever the image is."""
        return f"{self.path}/{_FILES[self.transport]}" if _FILES[self.transport] else self.path

    @property
    def repository(self) -> str:
        """Name, without a tag, under which the account has the image once it is imported."""
        return f"{IMPORTED}/{names.slug(str(self))}"

    @property
    def name(self) -> str:
        """Name of the image that was imported last."""
        return f"{self.repository}:latest"


def local_source(image: str) -> LocalSource | None:
    """Return the file or folder that ``image`` names; None if it names no such thing.

    Raises:
        SpecError: the path is none, or the transport is one that is not supported.
    """
    transport, colon, rest = image.partition(":")
    if colon and (transport in _OTHERS or (rest.startswith("//") and transport != "docker")):
        known = ", ".join(f"{name}:" for name in _FILES)
        raise SpecError("image", f"{transport!r} is not supported; take docker://, {known}")
    if not colon or transport not in _FILES:
        return None
    path, _, reference = (rest, "", "") if transport == "dir" else rest.partition(":")
    if not _PATH.fullmatch(path) or len(path) > _PATH_LENGTH:
        raise SpecError(
            "image",
            f"{image[:100]!r} needs an absolute path after {transport!r}; an image of a registry "
            f"that is called so is docker.io/library/{transport}:TAG",
        )
    if reference and not _NAME.fullmatch(reference.removeprefix("@")):
        raise SpecError("image", f"{reference[:100]!r} is no reference of an image in {path}")
    return LocalSource(transport, path.rstrip("/") or "/", reference)


def name_here(image: str) -> str:
    """Return the name under which the account's engine has the image, once it has it.

    Raises:
        SpecError: it is no image.
    """
    source = local_source(image)
    return source.name if source else registry_name(image)


def registry_name(image: str) -> str:
    """Return a name without ``docker://``, such as ``quay.io/jupyter/base-notebook:latest``.

    Raises:
        SpecError: it is no name.
    """
    name = image.removeprefix("docker://")
    odd = {"", ".", ".."} & set(name.split("/"))
    if odd or len(name) > _NAME_LENGTH or not _NAME.fullmatch(name):
        raise SpecError("image", f"{name[:100]!r} is no image; write [host/]name[:tag]")
    return name


def is_qualified(name: str) -> bool:
    """Whether a name says its registry, so that it means the same for every account."""
    host, slash, _ = name.partition("/")
    return bool(slash) and ("." in host or ":" in host or host == "localhost")


def repository(name: str) -> str:
    """Return a name with its registry and without tag and digest: what credentials are for."""
    bare = name.partition("@")[0]
    if ":" in bare.rpartition("/")[2]:
        bare = bare.rpartition(":")[0]
    if is_qualified(name):
        return bare
    return f"{DOCKER_HUB}/{bare}" if "/" in bare else f"{DOCKER_HUB}/library/{bare}"
