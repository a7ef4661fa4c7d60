"""Which secrets a server's container gets, and which of them are made for it; pure.

A secret that is made for one server has a name that tells whose it is, since secrets have labels
on newer engines only: it is found and removed with the server, by whichever Hub comes next.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from . import names
from .errors import SpecError
from .secrets import Secret, check_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .settings import ServerSettings

SECRETS_LABEL = "podmanspawner.secrets"
"""On a container for which secrets were made; a digest of those that are mounted."""
TOKEN_VARIABLES = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
_KEYS = ("source", "type", "target", "uid", "gid", "mode", "value")
_OWN_LENGTH = 32
_TOKEN = "api-token"  # noqa: S105, the name of a secret
_TOKEN_FILE = "jupyterhub-api-token"  # noqa: S105, likewise
_READ_TOKEN = (
    f"token=$(cat /run/secrets/{_TOKEN_FILE}); "
    f'export {" ".join(f"{name}=$token" for name in TOKEN_VARIABLES)}; exec "$@"'
)
_ROUNDS = 100_000


def prefix(server: names.ServerName) -> str:
    """Return what the names of all secrets begin with that were made for a server."""
    exact = json.dumps(server.labels(), sort_keys=True)
    return f"podmanspawner-{hashlib.sha256(exact.encode()).hexdigest()[:16]}-"


def uses(settings: ServerSettings) -> tuple[Secret, ...]:
    """Return the secrets that the container gets, in the order of the options.

    Raises:
        SpecError: an entry of ``secrets`` is none.
    """
    given = (_secret(_entry(entry), settings) for entry in settings.secrets)
    return (*given, *_token(settings))


def values(settings: ServerSettings) -> dict[str, str | bytes]:
    """Return the secrets to be made for the server: name in the account to value.

    Functions of the configuration are called here.

    Raises:
        SpecError: one of them returns no text.
    """
    made: dict[str, str | bytes] = {}
    for raw in settings.secrets:
        entry = _entry(raw)
        if "value" in entry:
            value = entry["value"]() if callable(entry["value"]) else entry["value"]
            if not isinstance(value, str | bytes):
                raise SpecError(
                    "secrets",
                    f"the value of {entry['source']!r} is of the type {type(value).__name__}; "
                    "give a text, or a function of the spawner that returns one, and no coroutine",
                )
            made[_secret(entry, settings).source] = value
    for secret in _token(settings):
        made[secret.source] = str(settings.environment[TOKEN_VARIABLES[0]])
    return made


def labels(settings: ServerSettings, made: Mapping[str, str | bytes]) -> dict[str, str]:
    """Return the label of a container for which secrets were made.

    A variable is looked up when the container starts, a file is kept with the container: a kept
    container is out of date when what is mounted has changed. The digest takes its time to
    compute, so that a short secret cannot be found from it by trying.
    """
    if not made:
        return {}
    given = (_secret(_entry(entry), settings) for entry in settings.secrets)
    mounted = {secret.source for secret in given if secret.kind == "mount"}
    digest = ""
    if files := sorted(mounted & made.keys()):
        texts = [str(made[name]) for name in files]
        text = json.dumps([files, texts]).encode()
        salt = prefix(settings.server).encode()
        digest = hashlib.pbkdf2_hmac("sha256", text, salt, _ROUNDS).hex()
    return {SECRETS_LABEL: digest}


def environment(settings: ServerSettings) -> dict[str, Any]:
    """Return the Hub's environment without what the container gets as a secret."""
    hidden = TOKEN_VARIABLES if settings.token_as_secret else ()
    return {key: value for key, value in settings.environment.items() if key not in hidden}


def entrypoint(settings: ServerSettings, own: Sequence[str]) -> tuple[str, ...]:
    """Return the entry point, after the shell that reads the token from its file if it is in one.

    Args:
        settings: the server's.
        own: entry point without that.
    """
    if settings.token_as_secret != "file":  # noqa: S105, no token
        return tuple(own)
    return ("sh", "-c", _READ_TOKEN, "sh", *own)


def _token(settings: ServerSettings) -> Iterator[Secret]:
    source = prefix(settings.server) + _TOKEN
    if not settings.environment.get(TOKEN_VARIABLES[0]):
        return
    if settings.token_as_secret == "file":  # noqa: S105, no token
        yield Secret(source, target=_TOKEN_FILE)
    elif settings.token_as_secret:
        for variable in TOKEN_VARIABLES:
            yield Secret(source, "env", variable)


def _entry(entry: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of ``secrets`` by key: a text as for ``podman run --secret``, or by key."""
    if isinstance(entry, str):
        source, *words = entry.split(",")
        entry = {"source": source, **dict(word.partition("=")[::2] for word in words)}
    for key in entry.keys() - {*_KEYS}:
        near = difflib.get_close_matches(str(key), _KEYS, 1) or [", ".join(_KEYS)]
        raise SpecError("secrets", f"{key!r} is no key of a secret; did you mean {near[0]}?")
    if not isinstance(entry.get("source"), str):
        raise SpecError("secrets", "an entry has no source; name a secret of the account")
    return dict(entry)


def _secret(entry: Mapping[str, Any], settings: ServerSettings) -> Secret:
    if settings.one_account and "value" not in entry:
        names.check_apart(entry["source"], option="secrets")
    source = names.expand(entry["source"], settings.server.fields(), option="secrets")
    kind, target = entry.get("type", "mount"), entry.get("target", "")
    check_name(source)
    if "value" in entry:
        if len(source) > _OWN_LENGTH:
            raise SpecError(
                "secrets",
                f"{source!r} is too long for a secret that is made here; use at most "
                f"{_OWN_LENGTH} characters",
            )
        target = target or source
        source = prefix(settings.server) + source
    return Secret(
        source,
        kind,
        target,
        uid=_number("uid", entry.get("uid", 0)),
        gid=_number("gid", entry.get("gid", 0)),
        mode=_number("mode", entry.get("mode", 0o444)),
    )


def _number(key: str, value: Any) -> int:
    """Return a number, or what a text says; that of a mode is octal."""
    if isinstance(value, str) and re.fullmatch(
        r"[0-7]{1,9}" if key == "mode" else r"[0-9]{1,9}", value
    ):
        return int(value, 8 if key == "mode" else 10)
    if type(value) is not int:
        raise SpecError("secrets", f"{key} is {value!r}; give a number")
    return value
