"""Read-only image stores that serve every account: their checks, and what the service is told.

The files of such a store belong to root, who is nobody to a rootless engine. fuse-overlayfs shows
them with the owners that they have in the image, which the store keeps as extended attributes.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from . import privileges
from .answers import one_line, plain
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .account import Account

_OPTION = "image_stores"
_REMEDY = "Make the store as docs/how-to/shared-images.md says."
_KEEPS_OWNERS_SINCE = (1, 14)
_INDEXES = ("overlay-images/images.json", "overlay-layers/layers.json")
_FOLDERS_DEEP = "3"  # STORE/overlay/LAYER/diff; the files of the images lie below
_WRONG = (
    *("(", "!", "-type", "l", "-writable", "-printf", "the account may write to %p", "-quit", ")"),
    *("-o", "(", "!", "-readable", "-printf", "the account may not read %p", "-quit", ")"),
)


def flags(account: Account, stores: Sequence[str]) -> tuple[str, ...]:
    """Return the global flags of ``podman`` for a service that is to use the stores.

    They take the place of the options in the account's ``storage.conf``.

    Args:
        account: whose service it is.
        stores: absolute paths, the first one first.

    Raises:
        SpecError: there is no fuse-overlayfs.
    """
    if not stores:
        return ()
    options = [*(f"imagestore={store}" for store in stores), f"mount_program={_mount_program()}"]
    if one_owner(account):
        options.append("mountopt=squash_to_root")
    return tuple(f"--storage-opt=overlay.{option}" for option in options)


def environment(stores: Sequence[str]) -> dict[str, str]:
    """Return the variables of such a service: its storage driver.

    Podman 5.8 refuses one by flag in an account that has used its Podman without.
    """
    return {"STORAGE_DRIVER": "overlay"} if stores else {}


def one_owner(account: Account) -> bool:
    """Whether all files of an image have to belong to the account, whoever owns them in it.

    Before 1.14, fuse-overlayfs forgot the owner of a folder as soon as something was written in
    it, and showed nobody: in ``/home/jovyan`` and ``/tmp`` nothing more could be written.
    ref: https://github.com/containers/fuse-overlayfs/pull/410
    """
    program = _mount_program()
    # The account could meddle with what its process says: that counts for itself alone.
    key = (account.uid, program, Path(program).stat().st_mtime_ns)
    if key not in _one_owner:
        said = privileges.run(account, [Path(program).name, "--version"])
        _one_owner[key] = version(said) < _KEEPS_OWNERS_SINCE
    return _one_owner[key]


_one_owner: dict[tuple[int, str, int], bool] = {}


def version(said: str) -> tuple[int, ...]:
    """Return the version in what ``fuse-overlayfs --version`` prints.

    Raises:
        SpecError: there is none.
    """
    found = re.search(r"^fuse-overlayfs:? (?:version )?(\d+)\.(\d+)", said, re.MULTILINE)
    if not found:
        raise SpecError(_OPTION, f"fuse-overlayfs does not tell its version: {plain(said, 200)!r}")
    return int(found[1]), int(found[2])


def check(account: Account, stores: Sequence[str]) -> None:
    """Refuse stores that the account cannot use, or could change for all the others.

    A process of the account's looks; each layer's own folder is the deepest that it looks at.

    Raises:
        SpecError: the first fault, and what to do.
        ServiceError: to look took too long.
    """
    if stores and not Path("/dev/fuse").exists():
        raise SpecError(_OPTION, "there is no /dev/fuse; run 'modprobe fuse'")
    for store in stores:
        places = [store, *(f"{store}/{index}" for index in _INDEXES)]
        search = ["find", *places, "-maxdepth", _FOLDERS_DEEP, *_WRONG]
        if fault := one_line(privileges.run(account, search), 300):
            raise SpecError(_OPTION, f"{store} cannot serve {account.name}: {fault}. {_REMEDY}")


def _mount_program() -> str:
    if program := shutil.which("fuse-overlayfs", path=privileges.PATH):
        return program
    raise SpecError(
        _OPTION,
        "it needs fuse-overlayfs, which is not installed: 'apt-get install fuse-overlayfs'",
    )
