"""Images of one account: whether they are there, getting them, and who their user is."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args
from urllib.parse import quote

from . import answers
from .answers import Image
from .errors import ContainerNotFound, ImageNotFound, PodmanError, SpecError, UntrustedServiceError
from .transport import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .answers import Container

PullPolicy = Literal["missing", "always", "newer", "never"]
"""When to pull: if the image is not there, always, if the registry has a newer one, never."""

PROBE_LABEL = "podmanspawner.probe"
"""On a container that is only made to look into an image."""
_SINCE_LABEL = "podmanspawner.since"
_PROBE_SECONDS = 600
PULL_SECONDS = 900.0
LOAD_SECONDS = 900.0
_PULL_BYTES = 16 * MIB
_PASSWD_BYTES = 256 * KIB


class Engine(Protocol):
    """What this module needs of the client."""

    @property
    def request(self) -> Callable[..., Any]:
        """Send one request."""

    @property
    def request_json(self) -> Callable[..., object]:
        """Send one request and return the answer's JSON."""

    @property
    def streaming(self) -> Callable[..., AbstractContextManager[Any]]:
        """Send one request whose answer is read piece by piece."""

    def containers(self, labels: Mapping[str, str] | None = None) -> list[Container]:
        """List containers."""

    def remove(self, container: str) -> bool:
        """Remove a container."""


class Images:
    """The images of one account."""

    def __init__(self, engine: Engine) -> None:
        """Use the account's client."""
        self._engine = engine

    def exists(self, reference: str) -> bool:
        """Whether the account has the image, in its own or a shared store."""
        path = f"images/{_quoted(reference)}/exists"
        try:
            self._engine.request(f"find image {reference}", "GET", path, missing=ImageNotFound)
        except ImageNotFound:
            return False
        return True

    def inspect(self, reference: str) -> Image:
        """Return what the engine says of an image.

        Raises:
            ImageNotFound: the account does not have it.
        """
        operation = f"inspect image {reference}"
        path = f"images/{_quoted(reference)}/json"
        try:
            found = self._engine.request_json(operation, "GET", path, missing=ImageNotFound)
        except ImageNotFound as error:
            raise ImageNotFound(
                f"There is no image {reference} here. Pull or load it for the account, or set "
                "pull_policy to 'missing'.",
                operation=operation,
                status=error.status,
            ) from error
        return Image.parse(found, operation)

    def ensure(
        self,
        reference: str,
        policy: PullPolicy = "missing",
        *,
        seconds: float = PULL_SECONDS,
        progress: Callable[[str], None] | None = None,
    ) -> Image:
        """Return the image; pull it first if the policy says so.

        Args:
            reference: name of the image, such as ``quay.io/jupyter/base-notebook:latest``.
            policy: when to pull.
            seconds: limit for a pull.
            progress: called with each line that the engine tells of a pull.

        Raises:
            ImageNotFound: it is not here and must not, or could not, be pulled.
            SpecError: there is no such policy.
        """
        if policy not in get_args(PullPolicy):
            raise SpecError(
                "pull_policy", f"{policy!r} is none of {', '.join(get_args(PullPolicy))}."
            )
        if policy == "never" or (policy == "missing" and self.exists(reference)):
            return self.inspect(reference)
        return self.inspect(self.pull(reference, policy, seconds=seconds, progress=progress))

    def pull(
        self,
        reference: str,
        policy: PullPolicy = "always",
        *,
        seconds: float = PULL_SECONDS,
        progress: Callable[[str], None] | None = None,
    ) -> str:
        """Pull an image and return its id. Arguments and errors as :meth:`ensure`."""
        operation = f"pull image {reference}"
        params = {"reference": reference, "policy": policy}
        pulled = ""
        try:
            with self._engine.streaming(
                operation,
                "POST",
                "images/pull",
                params=params,
                seconds=seconds,
                max_bytes=_PULL_BYTES,
            ) as answer:
                for line in answers.lines(answer.raw):
                    pulled = _pull_line(line, operation, progress) or pulled
        except PodmanError as error:
            raise _not_pulled(reference, error.message) from error
        if not pulled:
            raise _not_pulled(reference, "the engine told no image id")
        return pulled

    def load(self, archive: Path | str, *, seconds: float = LOAD_SECONDS) -> list[str]:
        """Load a docker-archive or oci-archive and return the names of its images.

        Args:
            archive: a file that this process may read.
            seconds: limit for the whole of it.

        Raises:
            PodmanError: it is no such archive.
            OSError: the file cannot be read.
        """
        operation = f"load image archive {archive}"
        with open(archive, "rb") as file:  # noqa: PTH123, a str is welcome
            loaded = self._engine.request_json(
                operation, "POST", "images/load", data=file, seconds=seconds
            )
        return answers.strings(answers.obj(loaded, operation).get("Names"), operation)

    def user_ids(self, image: Image, user: str = "") -> tuple[int, int]:
        """Return uid and gid of the user that the image runs as, or of another one of it.

        Numbers are taken as they are. A name is looked up in the image's own ``/etc/passwd``,
        read from a container that is created for it, never started, and removed.

        Raises:
            SpecError: the image does not have that user.
        """
        option = "container_user" if user else "user_mapping"
        user, _, group = (user or image.user).partition(":")
        if not user:
            return 0, 0
        number, group_number = _number(user), _number(group)
        if number is not None and (group_number is not None or number == 0):
            return number, group_number or 0
        tables = self._tables(image)
        uid, gid = _look_up(tables["passwd"], user, option)
        if group_number is not None:
            gid = group_number
        elif group:
            gid = _look_up(tables["group"], group, option)[0]
        return uid, gid

    def _tables(self, image: Image) -> dict[str, str]:
        operation = f"read the users of image {image.id[:12]}"
        self._remove_forgotten_probes()
        labels = {PROBE_LABEL: "1", _SINCE_LABEL: str(int(time.time()))}
        body = json.dumps({"image": image.id, "labels": labels})
        made = self._engine.request_json(operation, "POST", "containers/create", data=body)
        container = answers.identifier(answers.obj(made, operation).get("Id"), operation)
        try:
            return {name: self._file(container, f"/etc/{name}") for name in ("passwd", "group")}
        finally:
            self._engine.remove(container)

    def _remove_forgotten_probes(self) -> None:
        """Remove what a process that died in the middle left."""
        for probe in self._engine.containers({PROBE_LABEL: "1"}):
            since = _number(probe.labels.get(_SINCE_LABEL, "")) or 0
            if since < time.time() - _PROBE_SECONDS:
                self._engine.remove(probe.id)

    def _file(self, container: str, path: str) -> str:
        operation = f"read {path} of the image"
        try:
            answer = self._engine.request(
                operation,
                "GET",
                f"containers/{container}/archive",
                params={"path": path},
                max_bytes=_PASSWD_BYTES,
            )
        except ContainerNotFound:  # what is not found is the file
            return ""
        return _first_file(answer.content, operation)


def _quoted(reference: str) -> str:
    if {"", ".", ".."} & set(reference.split("/")):
        raise SpecError("image", f"{reference!r} is no reference; write [host/]name[:tag].")
    return quote(reference, safe="/:@")


def _first_file(content: bytes, operation: str) -> str:
    """Return the start of the first file of a tar archive, which may be made to do harm.

    Plain tar, a plain file and so many bytes only: a hole or a compressed one costs nothing to
    send, and a terabyte to read.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            member = archive.next()
            if member is None or not member.isreg():
                return ""
            file = archive.extractfile(member)
            return file.read(_PASSWD_BYTES).decode(errors="replace") if file else ""
    except (tarfile.TarError, ValueError, OverflowError, OSError) as error:
        raise UntrustedServiceError(
            f"{operation}: no sound tar archive came.", reason="protocol"
        ) from error


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def _pull_line(line: bytes, operation: str, progress: Callable[[str], None] | None) -> str | None:
    """Read one line of a pull: ``{stream}``, ``{error}`` or ``{id, images}``; return the id."""
    said = answers.obj(answers.parse_json(line, operation), operation)
    if said.get("error"):  # with HTTP 200
        raise PodmanError(answers.plain(str(said["error"])), operation=operation, status=200)
    if said.get("stream") and progress:
        progress(answers.plain(str(said["stream"])).strip())
    return answers.identifier(said["id"], operation) if said.get("id") else None


def _not_pulled(reference: str, why: str) -> ImageNotFound:
    return ImageNotFound(
        f"The image {reference} could not be pulled: {why}. Check its name and that the host "
        "reaches the registry, or load it for the account and set pull_policy to 'never'.",
        operation=f"pull image {reference}",
    )


def _look_up(table: str, name: str, option: str) -> tuple[int, int]:
    """Return third and fourth field of the line whose first (or third) is ``name``.

    ref: passwd(5), group(5).
    """
    for line in table.splitlines():
        fields = line.split(":")
        if len(fields) <= 3 or name not in (fields[0], fields[2]):  # noqa: PLR2004
            continue
        if (number := _number(fields[2])) is not None:
            return number, _number(fields[3]) or 0
    if (number := _number(name)) is not None:
        return number, 0
    raise SpecError(
        option,
        f"the server would run as {name!r}, whom the image does not have. Give the numbers: "
        "user_mapping = 'keep-id:uid=1000,gid=100', and container_user if it is set.",
    )
