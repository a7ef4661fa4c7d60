"""Names: (hub, user, server) to container name and labels, and back; and templates.

What is guaranteed, whatever the Hub's user and server names contain:

- A slug holds only ``a-z``, ``0-9`` and ``-``, starts and ends with a letter or digit, has at
  most 40 characters, and is never ``..`` or empty: it is safe in a path and in a container name.
- Texts that are slugs already (lower case, single hyphens) stay themselves; of every other text
  64 bits of its SHA-256 are in its slug. Distinct texts have distinct slugs.
- A slug holds no two hyphens in a row but for one run of exactly three. The parts of a container
  name are joined by exactly two, so that they can be told apart: for one prefix, distinct
  (hub, user, server) never have the same container name. With a template of the administrator's,
  this holds for distinct (user, server); two Hubs are told apart only if it has ``{hub}``.
- A container name is one that Podman accepts, of at most 200 characters.
- A value that a template receives is never itself read as a template, and a template reaches
  nothing but the fields that it is given.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

HUB_LABEL = "podmanspawner.hub"
USERNAME_LABEL = "hub.jupyter.org/username"
SERVERNAME_LABEL = "hub.jupyter.org/servername"

DEFAULT_PREFIX = "jupyter"
DEFAULT_TEMPLATE = "{prefix}-{hub}--{username}"

_SLUG_LENGTH = 40
_HASH_LENGTH = 16
_NAME_LENGTH = 200
_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_APART = r"[^{}]*(?:[._/]|(?<!-)--(?!-))[^{}]*"
_PARTS_APART = re.compile(
    rf"\{{username\}}{_APART}\{{servername\}}|\{{servername\}}{_APART}\{{username\}}"
)
"""What is in no slug stands between the two."""


def slug(text: str) -> str:
    """Return a short safe name for any text; see the module's guarantees."""
    if len(text) <= _SLUG_LENGTH and _PLAIN.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    room = _SLUG_LENGTH - len("---") - _HASH_LENGTH
    readable = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:room].rstrip("-")
    return f"{readable or 'x'}---{digest}"


@dataclass(frozen=True)
class ServerName:
    """One server of one user of one Hub."""

    hub: str
    """What tells this Hub from others on the host, such as the port of its API."""
    username: str
    servername: str = ""
    """Name of a named server; empty for the default one."""

    def container(self, prefix: str = DEFAULT_PREFIX, template: str = DEFAULT_TEMPLATE) -> str:
        """Return the container's name, such as ``jupyter-8081--ada--a``.

        Args:
            prefix: first part of the default name.
            template: ``name_template``; knows ``{prefix}``, ``{hub}``, ``{username}`` and
                ``{servername}``. A named server's name is added to a template without it.

        Raises:
            SpecError: the template has an unknown field, or could give two servers one name, or
                gives a name that Podman does not accept.
        """
        _check_name_template(template)
        fields = {"prefix": prefix, **self.fields()}
        name = expand(template, fields, option="name_template")
        if self.servername and "{servername}" not in template:
            name = f"{name}--{fields['servername']}"
        _check_container_name(name)
        return name

    def fields(self) -> dict[str, str]:
        """Return the template fields ``hub``, ``username`` and ``servername``, as slugs."""
        return {
            "hub": slug(self.hub),
            "username": slug(self.username),
            "servername": slug(self.servername) if self.servername else "",
        }

    def labels(self) -> dict[str, str]:
        """Return the labels by which the container is found again; they hold the exact names."""
        return {
            HUB_LABEL: self.hub,
            USERNAME_LABEL: self.username,
            SERVERNAME_LABEL: self.servername,
        }

    @classmethod
    def from_labels(cls, labels: Mapping[str, object]) -> ServerName | None:
        """Return the server that a container's labels name; None if they name none."""
        values = [labels.get(key) for key in (HUB_LABEL, USERNAME_LABEL, SERVERNAME_LABEL)]
        texts = [value for value in values if isinstance(value, str)]
        return cls(*texts) if len(texts) == len(values) else None


def expand(template: str, fields: Mapping[str, str], *, option: str = "template") -> str:
    """Return the template with each ``{field}`` replaced by its value.

    ``{{`` and ``}}`` stand for single braces. Nothing else of Python's format language exists
    here: no attributes, indices, conversions or format specifications.

    Args:
        template: text of the administrator.
        fields: values by name, inserted as they are.
        option: name of the option that holds the template, for the error.

    Raises:
        SpecError: a field is not one of those given, or a brace stands alone.
    """

    def value(match: re.Match[str]) -> str:
        token, name = match[0], match[1]
        if token in ("{{", "}}"):
            return token[0]
        if name is None:
            raise SpecError(
                option, f"{template!r} has a single {token!r}; write it twice for a literal brace"
            )
        if name not in fields:
            known = ", ".join(f"{{{field}}}" for field in sorted(fields))
            raise SpecError(option, f"{template!r} has the unknown field {token}; known: {known}")
        return fields[name]

    return _TOKEN.sub(value, template)


def check_apart(template: str, *, option: str = "template") -> None:
    """Refuse a template by which servers of two users could have one name.

    A single hyphen does not tell the server ``b-c`` of ``a`` from the server ``c`` of ``a-b``; it
    is the user who chooses the name of a server.

    Args:
        template: text of the administrator.
        option: name of the option that holds the template, for the error.

    Raises:
        SpecError: user's and server's name are in it, and nothing that is in no slug between them.
    """
    if not _names_both(template) or _PARTS_APART.search(template):
        return
    raise SpecError(
        option,
        f"{template!r} could mean the same for two users, whose servers are all in one account; "
        "join the two as {username}--{servername} or {username}/{servername}",
    )


def of_hub(
    hub: str, prefix: str = DEFAULT_PREFIX, template: str = DEFAULT_TEMPLATE
) -> re.Pattern[str]:
    """Return what the names of all containers of a Hub match; those of others may match too.

    Arguments as :meth:`ServerName.container`.
    """
    any_text = "\0"
    fields = {"prefix": prefix, "hub": slug(hub), "username": any_text, "servername": any_text}
    name = re.escape(expand(template, fields, option="name_template"))
    return re.compile(name.replace(re.escape(any_text), ".*"))


def _check_name_template(template: str) -> None:
    if "{username}" not in template:
        raise SpecError(
            "name_template",
            f"{template!r} would give all users' containers one name; add {{username}}",
        )
    if _names_both(template) and not _PARTS_APART.search(template):
        raise SpecError(
            "name_template",
            f"{template!r} could give two servers one name; join the two as "
            "{username}--{servername}, or leave {servername} out: it is then added by itself",
        )


def _names_both(template: str) -> bool:
    return "{username}" in template and "{servername}" in template


def _check_container_name(name: str) -> None:
    if not _CONTAINER_NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise SpecError(
            "name_template",
            f"{name!r} is no container name: use letters, digits, '_', '.' and '-', a letter or "
            f"digit first, at most {_NAME_LENGTH} characters; change prefix or name_template",
        )
