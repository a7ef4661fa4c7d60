"""Images from files and folders of the host into an account, with the account's own rights.

The engine's API takes archives only, and none by path; ``podman pull TRANSPORT:PATH``, run as the
account, takes all of them and reads only what the account may read.

What came from which path is written in the account's store itself: the imported image is called
``…/imported/SLUG:latest``, and a second tag holds size and date of its file: the date of its last
change (ctime), since a copied file may bring along an older time of modification.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import privileges
from .answers import one_line
from .errors import ImageNotFound
from .pulls import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account
    from .transports import LocalSource

_LOOK_SECONDS = 30.0
_ID = re.compile(r"[0-9a-f]{64}")
_STAMP = re.compile(r"\d{1,20}[.,]\d{1,20}\.\d{1,20}")

# By a link, because podman makes the name of the image of an oci folder's path, and fails if that
# has capitals. TMPDIR, because a podman that is killed leaves an unpacked archive there.
_IMPORT = """
rm -rf -- "$1" && mkdir -p -- "$1/${2%/*}" && cd -- "$1" && ln -s -- "$4" "$2" &&
TMPDIR=$1 exec podman pull "$3:$2$5"
"""

_REMEDIES = (
    (r"no such file|cannot find", "Create it, or correct the option"),
    (r"permission denied", "Let {account} read it, and enter every folder above it"),
    (
        r"no space left|quota exceeded",
        (
            "Free some space for {account}: an import takes the image's size in the account's "
            "home, that of an oci-archive twice while it runs"
        ),
    ),
    (r"expected 1 item", "It holds several images: add ':NAME:TAG' of one of them"),
    (
        r"tag .* not found|no descriptor found|more than one image",
        "'skopeo list-tags' or its index.json tells which images it holds",
    ),
    (
        r"",
        (
            "It is damaged, or of another kind: make it anew with 'podman save --format' "
            "docker-archive, oci-archive, oci-dir (for oci:) or docker-dir (for dir:)"
        ),
    ),
)


def stamp(account: Account, source: LocalSource) -> str:
    """Return a tag that changes whenever the source is written anew.

    Raises:
        ImageNotFound: the account does not see it.
    """
    command = ["stat", "--dereference", "--format=%.9Z.%s", "--", source.dated_file]
    try:
        done = privileges.run_to_end(account, command, seconds=_LOOK_SECONDS)
    except TimeoutError:
        raise _failure(account, source, f"{source.path} cannot be looked at") from None
    text = done.output.strip()
    if done.exit_code or not _STAMP.fullmatch(text):
        raise _failure(account, source, text)
    return text.replace(",", ".")


def import_image(
    account: Account,
    source: LocalSource,
    *,
    seconds: float,
    progress: Callable[[Progress], None],
    given_up: Callable[[], bool],
) -> str:
    """Copy the image into the account's store and return its id.

    Raises:
        ImageNotFound: it could not be had, in that time.
        ServiceError: it was given up.
    """
    host, _, link = source.repository.partition("/")
    assert host == "localhost"  # noqa: S101, what podman puts before the link's path
    scratch = f"{account.home}/.cache/{link}"
    reference = f":{source.reference}" if source.reference else ""
    place = [scratch, link, source.transport, source.path, reference]
    try:
        done = privileges.run_to_end(
            account,
            ["sh", "-c", _IMPORT, "sh", *place],
            seconds=seconds,
            tell=lambda line: progress(Progress(line)),
            given_up=given_up,
        )
    except TimeoutError:
        raise ImageNotFound(
            f"image: {source} was not imported within {seconds:.0f} s. Raise pull_timeout, and "
            "start_timeout with it.",
            operation=f"import image {source}",
        ) from None
    finally:
        privileges.run(account, ["rm", "-rf", "--", scratch], seconds=_LOOK_SECONDS)
    lines = done.output.split()
    if done.exit_code or not lines or not _ID.fullmatch(lines[-1]):
        raise _failure(account, source, done.output.replace(link, source.path))
    return lines[-1]


def _failure(account: Account, source: LocalSource, output: str) -> ImageNotFound:
    lines = output.strip().splitlines() or ["it said nothing"]
    why = one_line(lines[-1].removeprefix("Error: "))
    remedy = next(text for pattern, text in _REMEDIES if re.search(pattern, why, re.IGNORECASE))
    return ImageNotFound(
        f"image: {source} cannot be imported for {account.name}: {why}. "
        f"{remedy.format(account=account.name)}.",
        operation=f"import image {source}",
    )
