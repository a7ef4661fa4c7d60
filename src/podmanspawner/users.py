"""Who the user of an image is, by numbers, which may have to be looked up in the image."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import answers
from .errors import ContainerNotFound, SpecError, UntrustedServiceError
from .transport import KIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from .account import Account
    from .answers import Container, Image

PROBE_LABEL = "podmanspawner.probe"
"""On a container that is only made to look into an image."""
_SINCE_LABEL = "podmanspawner.since"
_BY_LABEL = "podmanspawner.by"
"""Which process made it: the namespace of its number, and its number."""
_PROBE_SECONDS = 600
_FILE_BYTES = 256 * KIB
_NAME_CHARACTERS = 100
_READS = 64
"""A header, what belongs to it and the file's content are one each; sound archives have ten."""
_OF_TARS = (tarfile.TarError, ValueError, ArithmeticError, LookupError)
"""What the reader of tars lets out of it, when a tar is none."""


class Engine(Protocol):
    """What this module and ``images`` need of the client."""

    @property
    def account(self) -> Account:
        """Whose Podman it is."""

    @property
    def cancelled(self) -> bool:
        """Whether what is done has been given up."""

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


def ids(engine: Engine, image: Image, user: str = "") -> tuple[int, int]:
    """Return uid and gid of the user of an image, see :meth:`Images.user_ids`."""
    option = "container_user" if user else "user_mapping"
    user, _, group = (user or image.user).partition(":")
    if not user:
        return 0, 0
    number, group_number = _number(user), _number(group)
    if number is not None and (group_number is not None or number == 0):
        return number, group_number or 0
    files = ("passwd", "group") if group and group_number is None else ("passwd",)
    passwd, *groups = _tables(engine, image, files)
    uid, gid = _look_up(passwd, user, option)
    if group_number is not None:
        gid = group_number
    elif group:
        gid = _look_up(groups[0], group, option)[0]
    return uid, gid


def _tables(engine: Engine, image: Image, files: tuple[str, ...]) -> list[str]:
    operation = f"read the users of image {image.id[:12]}"
    _remove_forgotten_probes(engine)
    body = json.dumps({"image": image.id, "labels": probe_labels()})
    made = engine.request_json(operation, "POST", "containers/create", data=body)
    container = answers.identifier(answers.obj(made, operation).get("Id"), operation)
    try:
        return [_file(engine, container, f"/etc/{name}") for name in files]
    finally:
        engine.remove(container)


def _remove_forgotten_probes(engine: Engine) -> None:
    """Remove what a process that died in the middle left."""
    for probe in engine.containers({PROBE_LABEL: "1"}):
        since = _number(probe.labels.get(_SINCE_LABEL, "")) or 0
        if since < time.time() - _PROBE_SECONDS or _has_died(probe.labels.get(_BY_LABEL, "")):
            engine.remove(probe.id)


def _file(engine: Engine, container: str, path: str) -> str:
    operation = f"read {path} of the image"
    try:
        answer = engine.request(
            operation,
            "GET",
            f"containers/{container}/archive",
            params={"path": path},
            max_bytes=_FILE_BYTES,
        )
    except ContainerNotFound:  # what is not found is the file
        return ""
    return first_file(answer.content, operation)


def probe_labels() -> dict[str, str]:
    """Return the labels of a container by which it is known as forgotten, if it ever is."""
    return {
        PROBE_LABEL: "1",
        _SINCE_LABEL: str(int(time.time())),
        _BY_LABEL: f"{_namespace()} {os.getpid()}",
    }


class _FewReads(io.BytesIO):
    """Content that is read in few pieces.

    Headers that announce one another are read by recursion, and at the end of the interpreter's
    stack finalizers that run meanwhile would fail, anybody's.
    """

    _left = _READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read once more."""
        self._left -= 1
        if self._left < 0:
            raise tarfile.ReadError(f"more than {_READS} pieces")
        return super().read(size)


def first_file(content: bytes, operation: str) -> str:
    """Return the start of the first file of a tar archive, which may be made to do harm.

    Plain tar, a plain file and so many bytes only: a hole or a compressed one costs nothing to
    send, and a terabyte to read.
    """
    try:
        with tarfile.open(fileobj=_FewReads(content), mode="r:") as archive:
            member = archive.next()
            if member is None or not member.isreg():
                return ""
            file = archive.extractfile(member)
            return file.read(_FILE_BYTES).decode(errors="replace") if file else ""
    except (*_OF_TARS, OSError) as error:
        raise UntrustedServiceError(
            f"{operation}: no sound tar archive came.", reason="protocol"
        ) from error


def _namespace() -> str:
    """Return the name of the namespace of processes' numbers that this process is in."""
    return str(Path("/proc/self/ns/pid").readlink())


def _has_died(process: str) -> bool:
    """Whether a process is known to be no more."""
    namespace, _, number = process.rpartition(" ")
    pid = _number(number)
    if not pid or namespace != _namespace():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


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
    shown = answers.one_line(name, _NAME_CHARACTERS)
    raise SpecError(
        option,
        f"the server would run as {shown!r}, whom the image does not have. Give the numbers: "
        "user_mapping = 'keep-id:uid=1000,gid=100', and container_user if it is set.",
    )
