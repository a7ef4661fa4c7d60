"""From the options that are about files to mounts; pure.

Templates are the administrator's; what a user's name puts into them is a slug, see ``names``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import checks, names
from .errors import SpecError
from .mounts import Mount, shortest
from .names import SERVERNAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .settings import ServerSettings

SCRATCH = {"/tmp": ("mode=1777",), "/var/tmp": ("mode=1777",), "/run": ()}  # noqa: S108, inside
"""What programs expect to be able to write; ref: podman-run(1), --read-only-tmpfs."""

_SIZE = re.compile(r"[0-9]+[kKmMgG]?")
_KEYS = (
    *("type", "source", "target", "read_only", "options"),
    *("relabel", "bind-propagation", "tmpfs-size", "tmpfs-mode"),
)
_OTHER_KEYS = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "readonly": "read_only",
    "ro": "read_only",
}
_RELABEL = {"shared": "z", "private": "Z"}


def mounts(settings: ServerSettings, fields: Mapping[str, str]) -> tuple[Mount, ...]:
    """Return what the container gets to see, in the order of the options.

    Raises:
        SpecError: a value makes no mount.
    """
    if settings.one_account:
        names.check_apart(settings.home_source, option="home_source")
        for option, template in _sources(settings, ("volume", "bind", "overlay")):
            names.check_apart(template, option=option)
    configured = [
        *_home(settings, fields),
        *_volumes("volumes", settings.volumes, fields),
        *_volumes("read_only_volumes", settings.read_only_volumes, fields),
        *(_tmpfs(target, value, fields) for target, value in settings.tmpfs.items()),
        *(_mount(entry, fields) for entry in settings.mounts),
    ]
    if settings.read_only:
        configured += _scratch({mount.target for mount in configured})
    return tuple(configured)


def owned_volumes(
    settings: ServerSettings, fields: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the named volumes that are the user's, or the server's alone, and their labels.

    Whose a volume is, its template says: the name of a server's has the user's and the server's
    names, that of a user's the user's. All others may be somebody else's too.
    """
    labels = settings.server.labels()
    of_the_server = {SERVERNAME_LABEL: labels.pop(SERVERNAME_LABEL)}
    owned = {}
    for option, template in _volume_templates(settings):
        if "{username}" in template:
            own = {**labels, **of_the_server} if "{servername}" in template else dict(labels)
            owned[names.expand(template, fields, option=option)] = own
    return owned


def _volume_templates(settings: ServerSettings) -> Iterator[tuple[str, str]]:
    """Yield option and template of each source that is a volume's name."""
    for option, source in _sources(settings, ("volume",)):
        if not source.startswith(("/", "{home}")):
            yield option, source


def _sources(settings: ServerSettings, kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield option and template of each source, of ``mounts`` those of some kinds."""
    yield from (("volumes", source) for source in settings.volumes)
    yield from (("read_only_volumes", source) for source in settings.read_only_volumes)
    for entry in settings.mounts:
        source = entry.get("source", entry.get("src"))
        if entry.get("type", "volume") in kinds and isinstance(source, str):
            yield "mounts", source


def templates(settings: ServerSettings) -> Iterator[str]:
    """Yield every text in which a template's field may stand."""
    yield f"{settings.home_source} {settings.home_target}"
    for volumes in (settings.volumes, settings.read_only_volumes):
        for source, target in volumes.items():
            yield f"{source} {target}"
    yield from settings.tmpfs
    for entry in settings.mounts:
        yield " ".join(str(text) for text in entry.values())


def _home(settings: ServerSettings, fields: Mapping[str, str]) -> Iterator[Mount]:
    target = names.expand(settings.home_target, fields, option="home_target")
    if target:
        checks.mount_point("home_target", shortest(target))
        _demand_own_home(settings, fields)
        source = names.expand(settings.home_source, fields, option="home_source")
        if not source.startswith("/"):
            raise SpecError(
                "home_source", f"{source!r} must be an absolute path; use volumes for a volume"
            )
        yield Mount(source, shortest(target), named_by="home_source")


def _demand_own_home(settings: ServerSettings, fields: Mapping[str, str]) -> None:
    """Refuse to give everybody the whole home of the account that all servers run in."""
    others = settings.one_account and settings.server.username != fields["account"]
    if others and settings.home_source == "{home}":
        raise SpecError(
            "home_source",
            f"all users' servers run in the account {fields['account']}, and each would get its "
            "whole home, with the others' files and what the Hub may have there. Set home_source "
            "= '{home}/users/{username}' and create_sources = True, or home_target = '' for none; "
            f"if it is meant so, write {fields['home']!r}",
        )


def _volumes(
    option: str,
    volumes: Mapping[str, str | Mapping[str, str]],
    fields: Mapping[str, str],
) -> Iterator[Mount]:
    for template, value in volumes.items():
        path, (mode, *options) = _target(option, value)
        source = names.expand(template, fields, option=option)
        yield Mount(
            source,
            shortest(names.expand(path, fields, option=option)),
            read_only=mode == "ro",
            kind="bind" if source.startswith("/") else "volume",
            options=options,
            named_by=option,
        )


def _target(option: str, value: str | Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the path template of a volume, and its mode: ``ro`` or ``rw``, then options."""
    usual = "ro" if option == "read_only_volumes" else "rw"
    if isinstance(value, str):
        return value, (usual,)
    given = {"mode": usual, **value} if isinstance(value, Mapping) else {}
    path, mode = given.get("bind"), given.get("mode")
    if given.keys() != {"bind", "mode"} or not isinstance(path, str) or not isinstance(mode, str):
        raise SpecError(option, f"{value!r} must be a path or {{'bind': path, 'mode': 'ro,z'}}")
    words = checks.commas(mode)
    ways = [word for word in words if word in ("ro", "rw")] or [usual]
    if len(ways) > 1 or (usual == "ro" and ways == ["rw"]):
        raise SpecError(option, f"the mode {mode!r} is not to be; 'rw' goes with volumes only")
    return path, (ways[0], *(word for word in words if word not in ways))


def _tmpfs(target: str, value: Any, fields: Mapping[str, str]) -> Mount:
    """Return a file system in memory; the value is a size, or options as podman-run has them."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SpecError("tmpfs", f"{value!r} must be a size such as '1g', or options as a text")
    words = (f"size={text}",) if _SIZE.fullmatch(text) else checks.commas(text)
    return Mount(
        "",
        shortest(names.expand(target, fields, option="tmpfs")),
        read_only="ro" in words,
        kind="tmpfs",
        options=tuple(word for word in words if word not in ("ro", "rw")),
        named_by="tmpfs",
    )


def _mount(entry: Mapping[str, Any], fields: Mapping[str, str]) -> Mount:
    """Return a mount whose keys are those of ``podman run --mount``."""
    given = {_OTHER_KEYS.get(key, key): value for key, value in entry.items()}
    for key in given.keys() - {*_KEYS}:
        near = difflib.get_close_matches(str(key), _KEYS, 1) or [", ".join(_KEYS)]
        raise SpecError("mounts", f"{key!r} is no key of a mount; did you mean {near[0]}?")
    kind = given.get("type", "volume")
    read_only = given.get("read_only", kind == "image")
    source, target = given.get("source", ""), given.get("target", "")
    if not isinstance(source, str) or not isinstance(target, str) or not target:
        raise SpecError("mounts", f"{dict(entry)!r} must have a target, and texts for paths")
    if not isinstance(read_only, bool):
        raise SpecError("mounts", f"read_only is {read_only!r}; it must be True or False")
    return Mount(
        names.expand(source, fields, option="mounts"),
        shortest(names.expand(target, fields, option="mounts")),
        read_only=read_only,
        kind=kind,
        options=tuple(_mount_options(given)),
        named_by="mounts",
    )


def _mount_options(given: Mapping[str, Any]) -> Iterator[str]:
    yield from checks.words("mounts", given.get("options", ())) or ()
    if "relabel" in given:
        if given["relabel"] not in [*_RELABEL]:
            raise SpecError("mounts", f"relabel is {given['relabel']!r}, not shared or private")
        yield _RELABEL[given["relabel"]]
    if "bind-propagation" in given:
        yield str(given["bind-propagation"])
    for key in ("size", "mode"):
        if f"tmpfs-{key}" in given:
            yield f"{key}={given[f'tmpfs-{key}']}"


def _scratch(taken: set[str]) -> Iterator[Mount]:
    for path, options in SCRATCH.items():
        if path not in taken:
            yield Mount("", path, kind="tmpfs", options=options)
