"""``Mount``: what the container finds at a path, and where it comes from; frozen, validated.

ref: podman-run(1), --mount
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from . import checks
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

MountKind = Literal["bind", "volume", "tmpfs", "image", "overlay"]

_FIELD = {
    "bind": "mounts",
    "tmpfs": "mounts",
    "volume": "volumes",
    "image": "image_volumes",
    "overlay": "overlay_volumes",
}
FIELDS = tuple(dict.fromkeys(_FIELD.values()))
"""Fields of the engine's request in which mounts stand."""

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_PROPAGATION = r"r?(shared|slave|private|unbindable)"
_FLAGS = r"(no)?(exec|dev|suid)"
_OPTIONS = {
    "bind": re.compile(rf"z|Z|U|r?bind|{_PROPAGATION}|{_FLAGS}"),
    "volume": re.compile(rf"z|Z|U|(no)?copy|{_FLAGS}"),
    "tmpfs": re.compile(rf"size=[0-9]+[kKmMgG]?|mode=[0-7]{{3,4}}|U|(no)?tmpcopyup|{_FLAGS}"),
    "image": re.compile(r"(?!)"),
    "overlay": re.compile(r"z|Z|U|(upperdir|workdir)=/.+"),
}


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host, or what else the engine can show at a path.

    Raises:
        SpecError: source, target or options do not go with the kind.
    """

    source: str
    """``bind``, ``overlay``: absolute path on the host, which must exist when the container is
    created. ``volume``: name of the volume, made if there is none. ``image``: reference of an
    image that the account has. ``tmpfs``: nothing."""
    target: str
    """Absolute normalised path in the container."""
    read_only: bool = False
    kind: MountKind = "bind"
    """``overlay`` shows a folder of which changes are kept apart, and lost with the container."""
    options: Sequence[str] = ()
    """As ``podman run`` has them: ``"z"``, ``"rslave"``, ``"noexec"``, ``"size=64m"``."""
    named_by: str = field(default="", compare=False, repr=False)
    """Option of the spawner that the mount stands in, for errors."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(MountKind):
            kinds = ", ".join(get_args(MountKind))
            raise SpecError(self.option, f"{self.kind!r} is no kind of mount; use {kinds}")
        words = checks.words(self.option, self.options) or ()
        object.__setattr__(self, "options", words)
        self._check_source()
        checks.mount_point(self.option, self.target)
        for word in words:
            if not _OPTIONS[self.kind].fullmatch(word):
                raise SpecError(self.option, f"{word!r} is no option of a {self.kind} mount")

    @property
    def option(self) -> str:
        """Option of the spawner to change if something is wrong."""
        if self.named_by:
            return self.named_by
        if self.kind == "tmpfs":
            return "tmpfs"
        if self.kind in ("bind", "volume"):
            return "read_only_volumes" if self.read_only else "volumes"
        return "mounts"

    def _check_source(self) -> None:
        if self.kind in ("bind", "overlay"):
            checks.path(self.option, self.source)
        elif self.kind == "image":
            checks.image(self.source, option=self.option)
        elif self.kind == "volume" and not VOLUME_NAME.fullmatch(self.source):
            raise SpecError(
                self.option,
                f"{self.source!r} is neither an absolute path nor the name of a volume; names "
                "have letters, digits, '_', '.' and '-', a letter or digit first",
            )
        elif self.kind == "tmpfs" and self.source:
            raise SpecError(self.option, f"a tmpfs has no source; leave out {self.source!r}")
        if self.read_only and self.kind == "overlay":
            raise SpecError(self.option, "an overlay is written to; use a read-only bind mount")

    @classmethod
    def bind(cls, source: str, target: str, *, read_only: bool = False) -> Mount:
        """Return a mount of a host path; a trailing slash of the target is dropped.

        Raises:
            SpecError: one of the paths is not absolute or not plain.
        """
        return cls(source, shortest(target), read_only=read_only)

    @property
    def json_field(self) -> str:
        """Field of the engine's request in which it stands."""
        return _FIELD[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Return one entry of its ``field``."""
        options = ["ro" if self.read_only else "rw", *self.options]
        if self.kind == "image":
            return {
                "Source": self.source,
                "Destination": self.target,
                "ReadWrite": not self.read_only,
            }
        if self.kind == "volume":
            return {"Name": self.source, "Dest": self.target, "Options": options}
        if self.kind == "overlay":
            own = list(self.options)
            return {"source": self.source, "destination": self.target, "options": own}
        if self.kind == "bind" and not {"bind", "rbind"} & set(self.options):
            options.insert(0, "rbind")
        return {
            "type": self.kind,
            "source": self.source or self.kind,
            "destination": self.target,
            "options": options,
        }


def shortest(target: str) -> str:
    """Return a path in its shortest form, unless it has ``..``, which is refused later."""
    return target if ".." in target.split("/") else posixpath.normpath(target or ".")
