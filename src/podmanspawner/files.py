"""From the options that are about files to mounts; pure.

Templates are the administrator's; what a user's name puts into them is a slug, see ``names``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import checks, names
from .errors import SpecError
from .mounts import Mount, shortest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .account import Account
    from .settings import ServerSettings

SCRATCH = {"/tmp": ("mode=1777",), "/var/tmp": ("mode=1777",), "/run": ()}  # noqa: S108, inside
"""What programs expect to be able to write; ref: podman-run(1), --read-only-tmpfs."""

_SIZE = re.compile(r"[0-9]+[kKmMgG]?")


def mounts(
    settings: ServerSettings, account: Account, fields: Mapping[str, str]
) -> tuple[Mount, ...]:
    """Return what the container gets to see, in the order of the options.

    Raises:
        SpecError: a value makes no mount.
    """
    configured = [
        *_home(settings, account, fields),
        *_volumes("volumes", settings.volumes, fields),
        *_volumes("read_only_volumes", settings.read_only_volumes, fields),
        *(_tmpfs(target, value, fields) for target, value in settings.tmpfs.items()),
    ]
    if settings.read_only:
        configured += _scratch({mount.target for mount in configured})
    return tuple(configured)


def templates(settings: ServerSettings) -> Iterator[str]:
    """Yield every text in which a template's field may stand."""
    yield settings.home_target
    for volumes in (settings.volumes, settings.read_only_volumes):
        for source, target in volumes.items():
            yield f"{source} {target}"
    yield from settings.tmpfs


def _home(
    settings: ServerSettings, account: Account, fields: Mapping[str, str]
) -> Iterator[Mount]:
    target = names.expand(settings.home_target, fields, option="home_target")
    if target:
        yield Mount(account.home, shortest(target), named_by="home_target")


def _volumes(
    option: str,
    volumes: Mapping[str, str | Mapping[str, str]],
    fields: Mapping[str, str],
) -> Iterator[Mount]:
    for source, target in volumes.items():
        path, read_only = _target(option, target)
        yield Mount(
            names.expand(source, fields, option=option),
            shortest(names.expand(path, fields, option=option)),
            read_only=read_only,
            named_by=option,
        )


def _target(option: str, target: str | Mapping[str, str]) -> tuple[str, bool]:
    """Return the path template of a volume, and whether it is read-only."""
    always = option == "read_only_volumes"
    if isinstance(target, str):
        return target, always
    mode = target.get("mode", "ro" if always else "rw")
    if "bind" not in target or mode not in (("ro",) if always else ("ro", "rw")):
        raise SpecError(
            option,
            f"{dict(target)!r} must be a path or {{'bind': path, 'mode': 'ro'}}, the mode 'rw' "
            "only in volumes",
        )
    return target["bind"], mode == "ro"


def _tmpfs(target: str, value: Any, fields: Mapping[str, str]) -> Mount:
    """Return a file system in memory; the value is a size, or options as podman-run has them."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SpecError("tmpfs", f"{value!r} must be a size such as '1g', or options as a text")
    options = (f"size={text}",) if _SIZE.fullmatch(text) else checks.commas(text)
    path = names.expand(target, fields, option="tmpfs")
    return Mount("", shortest(path), kind="tmpfs", options=options, named_by="tmpfs")


def _scratch(taken: set[str]) -> Iterator[Mount]:
    for path, options in SCRATCH.items():
        if path not in taken:
            yield Mount("", path, kind="tmpfs", options=options)
