"""Credentials of registries: where they are looked for, and how a pull carries them.

A pull carries at most one user name and password, those of its own registry. They are in the
header of its request and nowhere else: in no log, error, label, environment or command line.

ref: containers-auth.json(5); podman-pull(1), ``--authfile`` and ``--creds``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import answers, privileges
from .errors import SpecError, UntrustedServiceError
from .transports import DOCKER_HUB, repository

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .account import Account

HEADER = "X-Registry-Config"
_FILE_BYTES = 256 * 1024
_READ_SECONDS = 10.0
_MISSING = "No such file or directory"


@dataclass(frozen=True)
class Credentials:
    """A user name and password of one registry, or of a part of it."""

    scope: str
    """Such as ``registry.example.org`` or ``registry.example.org/team``."""
    username: str
    password: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        """Return the header of a pull that carries them.

        The multiple form, although it is one: the single one (X-Registry-Auth) would be sent to
        whatever other registry the account's configuration makes of the name.
        """
        entry = {self.scope: {"username": self.username, "password": self.password}}
        return {HEADER: base64.urlsafe_b64encode(json.dumps(entry).encode()).decode()}


@dataclass(frozen=True)
class Keyring:
    """Where to look for credentials, first things first."""

    given: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """What ``registry_credentials`` returned."""
    authfile: str = ""
    """Path of a file that the account may read; it may be missing."""
    hub_authfile: str = ""
    """Path of a file that only the Hub may read."""

    def find(self, name: str, account: Account) -> Credentials | None:
        """Return the credentials for pulling an image, if there are any.

        Args:
            name: the image's name, without a transport.
            account: who may read ``authfile``.

        Raises:
            SpecError: what was found is no credentials; the option is named, never the content.
        """
        for known in self._known(account):
            if found := _closest(repository(name), known):
                return found
        return None

    def _known(self, account: Account) -> Iterator[dict[str, Credentials]]:
        if self.given:
            yield _given(self.given)
        if self.authfile and (text := _read_as(account, self.authfile)) is not None:
            yield _parse(text, "authfile", self.authfile)
        if self.hub_authfile:
            yield _parse(_read_own(self.hub_authfile), "hub_authfile", self.hub_authfile)


def _closest(wanted: str, known: Mapping[str, Credentials]) -> Credentials | None:
    """Return the entry for the repository, for what it is part of, or for the registry."""
    while wanted:
        if found := known.get(wanted):
            return found
        wanted = wanted.rpartition("/")[0]
    return None


def _given(value: object) -> dict[str, Credentials]:
    known = {}
    if not isinstance(value, Mapping):
        raise _odd_credentials(type(value).__name__)
    for registry, entry in value.items():
        if not isinstance(registry, str) or not isinstance(entry, Mapping):
            raise _odd_credentials("another type in it")
        if {*entry} != {"username", "password"}:
            raise _odd_credentials("other keys")
        username, password = entry["username"], entry["password"]
        if not (isinstance(username, str) and isinstance(password, str) and username):
            raise _odd_credentials("no texts")
        scope = _scope(registry)
        known[scope] = Credentials(scope, username, password)
    return known


def _odd_credentials(what: str) -> SpecError:
    return SpecError(
        "registry_credentials",
        f"it returned {what}; it must return {{registry: {{'username': text, 'password': text}}}}",
    )


def _parse(text: bytes, option: str, path: str) -> dict[str, Credentials]:
    """Read an authfile; entries without a password of their own are left out."""
    try:
        entries = answers.obj(answers.parse_json(text, path), path)["auths"]
        pairs = {_scope(key): _decode(entry["auth"]) for key, entry in entries.items() if entry}
    except (UntrustedServiceError, ValueError, LookupError, TypeError, AttributeError):
        raise SpecError(
            option,
            f"{path} is no authfile; make it with 'podman login --authfile {path} REGISTRY'. "
            "Credential helpers are not supported",
        ) from None  # the cause would quote the content
    return {scope: Credentials(scope, *pair) for scope, pair in pairs.items()}


def _decode(auth: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except binascii.Error:
        raise ValueError from None
    if not colon or not username:
        raise ValueError
    return username, password


def _scope(key: str) -> str:
    """Return an entry's key as engines compare it: older files have URLs."""
    bare = key.removeprefix("https://").removeprefix("http://")
    if bare != key:
        bare = bare.partition("/")[0]
    return DOCKER_HUB if bare in ("index.docker.io", "registry-1.docker.io") else bare


def _read_as(account: Account, path: str) -> bytes | None:
    """Read a file with the account's rights; None if there is none."""
    try:
        done = privileges.run_to_end(
            account, ["cat", "--", path], seconds=_READ_SECONDS, max_bytes=_FILE_BYTES
        )
    except TimeoutError:  # of a pipe, for one
        raise SpecError(
            "authfile", f"{path} has no end that {account.name} finds; it must be a plain file"
        ) from None
    if done.exit_code == 0:
        return done.output.encode()
    if _MISSING in done.output:
        return None
    raise SpecError(
        "authfile", f"{account.name} cannot read {path}; it must be a file of the account's own"
    )


def _read_own(path: str) -> bytes:
    """Read a file of the Hub's, which nobody else may read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123, a text is what the option has
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise SpecError(
                    "hub_authfile",
                    f"{path} can be read by others, or is not the Hub's own; 'chown "
                    f"{os.geteuid()} {path}' and 'chmod 600 {path}'",
                )
            return file.read(_FILE_BYTES)
    except OSError as error:
        raise SpecError(
            "hub_authfile", f"{path} cannot be read ({error.strerror}); correct the option"
        ) from error
