"""Named volumes of one account: whether they are there, making, listing and removing them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import answers
from .errors import PodmanError, VolumeNotFound
from .mounts import VOLUME_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Volume:
    """What the engine says of a named volume."""

    name: str
    labels: dict[str, str]

    @classmethod
    def parse(cls, value: object, where: str) -> Volume:
        """Read an inspect answer."""
        raw = answers.obj(value, where)
        name = answers.one_line(answers.string(raw.get("Name"), where))
        return cls(name, answers.string_map(raw.get("Labels"), where))


class Engine(Protocol):
    """What this module needs of the client."""

    @property
    def request(self) -> Callable[..., Any]:
        """Send one request."""

    @property
    def request_json(self) -> Callable[..., object]:
        """Send one request and return the answer's JSON."""


class Volumes:
    """The named volumes of one account."""

    def __init__(self, engine: Engine) -> None:
        """Use the account's client."""
        self._engine = engine

    def exists(self, name: str) -> bool:
        """Whether there is a volume of that name."""
        try:
            path = f"volumes/{_segment(name)}/exists"
            self._engine.request(f"find volume {name}", "GET", path, missing=VolumeNotFound)
        except VolumeNotFound:
            return False
        return True

    def ensure(self, name: str, labels: Mapping[str, str]) -> bool:
        """Make a volume, unless there is one of that name, which is left as it is.

        Args:
            name: name of the volume.
            labels: what the new one is to carry.

        Returns:
            whether it was made.
        """
        if self.exists(name):
            return False
        body = json.dumps({"Name": name, "Labels": dict(labels)})
        try:
            self._engine.request(f"create volume {name}", "POST", "volumes/create", data=body)
        except PodmanError:
            if self.exists(name):  # made by somebody else this moment
                return False
            raise
        return True

    def list(self, labels: Mapping[str, str] | None = None) -> list[Volume]:
        """Return the account's volumes that carry all of these labels."""
        operation = "list volumes"
        filters = {"label": [f"{key}={value}" for key, value in (labels or {}).items()]}
        params = {"filters": json.dumps(filters)}
        found = self._engine.request_json(operation, "GET", "volumes/json", params=params)
        volumes = [Volume.parse(item, operation) for item in answers.array(found, operation)]
        # what the filter lets through is the service's word
        wanted = (labels or {}).items()
        return [volume for volume in volumes if wanted <= volume.labels.items()]

    def remove(self, name: str) -> bool:
        """Remove a volume and all that is in it; one that a container uses is refused.

        Returns:
            whether there was one.

        Raises:
            PodmanError: a container uses it.
        """
        try:
            self._engine.request(
                f"remove volume {name}",
                "DELETE",
                f"volumes/{_segment(name)}",
                missing=VolumeNotFound,
            )
        except VolumeNotFound:
            return False
        return True


def _segment(name: str) -> str:
    """Return a name that is one segment of a path; what is no name names no volume."""
    if not VOLUME_NAME.fullmatch(name):
        raise VolumeNotFound(
            f"{name!r} is no name of a volume.", operation=f"find volume {name!r}"
        )
    return name
