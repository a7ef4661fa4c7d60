"""Secrets: what a container is told of them, and the account's store of them.

ref: podman-run(1), --secret; podman-secret-create(1)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from . import answers, checks
from .errors import ContainerNotFound, PodmanError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

SecretKind = Literal["mount", "env"]

SECRET_MAX = 512_000
"""Bytes that the engine takes, less one."""
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9])?")
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MODE_MAX = 0o777
_NAME_LENGTH = 253
"""ref: Podman's pkg/secrets; 64 before 5.0"""
_REMOVED_AT_MOST = 100


def check_name(name: str) -> None:
    """Refuse what the engine takes for no name.

    Raises:
        SpecError: it names the option ``secrets``.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(
            "secrets",
            f"{name!r} is no name of a secret; use at most 64 letters, digits, '_', '.' and '-', "
            "a letter or digit first and last",
        )


@dataclass(frozen=True)
class Secret:
    """A secret of the account that a container gets, as a file or as a variable.

    Raises:
        SpecError: a value that no secret can have; it names the option ``secrets``.
    """

    source: str
    """Name of the secret in the account."""
    kind: SecretKind = "mount"
    """``mount``: a file, in no inspect and in no image that is made of the container.
    ``env``: a variable, in no such image; Podman does show it while the container runs."""
    target: str = ""
    """``mount``: path in the container, or name of a file in ``/run/secrets``; ``env``: name of
    the variable. The secret's own name if empty."""
    uid: int = 0
    """Owner of the file, in the container."""
    gid: int = 0
    mode: int = 0o444
    """Permissions of the file."""

    def __post_init__(self) -> None:
        check_name(self.source)
        if self.kind not in get_args(SecretKind):
            raise SpecError("secrets", f"{self.kind!r} is no type of a secret; use mount or env")
        if self.kind == "env" and not _VARIABLE.fullmatch(self.name):
            raise SpecError("secrets", f"{self.name!r} is no name of a variable; set its target")
        if self.kind == "mount":
            checks.path("secrets", f"/run/secrets/{self.name}")
        numbers = (self.uid, self.gid, self.mode)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise SpecError("secrets", f"uid, gid and mode are {numbers}; give numbers from 0 on")
        if self.mode > _MODE_MAX:
            raise SpecError("secrets", f"the mode {self.mode:o} is not to be; at most 777")

    @property
    def name(self) -> str:
        """Path or variable by which the container knows it."""
        return self.target or self.source

    def to_json(self) -> dict[str, Any]:
        """Return one entry of ``secrets``, for a file."""
        return {
            "Source": self.source,
            "Target": self.name,
            "UID": self.uid,
            "GID": self.gid,
            "Mode": self.mode,
        }


class Engine(Protocol):
    """What this module needs of the client."""

    @property
    def request(self) -> Callable[..., Any]:
        """Send one request."""

    @property
    def request_json(self) -> Callable[..., object]:
        """Send one request and return the answer's JSON."""


class Secrets:
    """The secrets of one account."""

    def __init__(self, engine: Engine) -> None:
        """Use the account's client."""
        self._engine = engine

    def create(self, name: str, value: str | bytes) -> str:
        """Make a secret and return its id.

        Raises:
            SpecError: the name or the size of the value is not to be.
            PodmanError: there is one of that name.
        """
        check_name(name)
        data = value.encode() if isinstance(value, str) else value
        if not 0 < len(data) < SECRET_MAX:
            raise SpecError(
                "secrets", f"{name} has {len(data)} bytes; give 1 to {SECRET_MAX - 1} of them"
            )
        operation = f"create secret {name}"
        made = self._engine.request_json(
            operation, "POST", "secrets/create", params={"name": name}, data=data
        )
        return answers.identifier(answers.obj(made, operation).get("ID"), operation)

    def put(self, name: str, value: str | bytes) -> str:
        """Make a secret, in place of the one of that name if there is one. Else as :meth:`create`.

        The engine can replace one by itself from 4.7 on only.
        """
        self.remove(name)
        return self.create(name, value)

    def names(self) -> list[str]:
        """Return the names of all secrets of the account."""
        operation = "list secrets"
        listed = self._engine.request_json(operation, "GET", "secrets/json")
        specs = (
            answers.obj(answers.obj(item, operation).get("Spec"), operation)
            for item in answers.array(listed, operation)
        )
        return [
            answers.one_line(answers.string(spec.get("Name"), operation), _NAME_LENGTH)
            for spec in specs
        ]

    def remove(self, name: str) -> bool:
        """Remove a secret; containers that run keep what they got.

        Returns:
            whether there was one.
        """
        check_name(name)
        if name not in self.names():  # the engine would take it for the start of another one's id
            return False
        return self._remove(name)

    def remove_beginning(self, start: str) -> tuple[str, ...]:
        """Remove the secrets whose names begin so, a hundred of them at most: who knows how many.

        Args:
            start: some characters of a name.

        Returns:
            their names.
        """
        found = [name for name in self.names() if name.startswith(start) and _NAME.fullmatch(name)]
        for name in found[:_REMOVED_AT_MOST]:
            self._remove(name)
        return tuple(found[:_REMOVED_AT_MOST])

    def _remove(self, name: str) -> bool:
        try:
            self._engine.request(f"remove secret {name}", "DELETE", f"secrets/{name}")
        except ContainerNotFound as error:  # what is not found is the secret
            if ": deleting secret " in error.message:  # or in Podman 5.8 its data
                raise PodmanError(
                    error.message, operation=error.operation, status=error.status
                ) from error
            return False
        return True
