"""What comes back from a service, parsed once into types, or refused.

The service belongs to its account and may answer anything. What has not the expected form raises
:class:`UntrustedServiceError` with reason ``"protocol"``; unknown fields are ignored, and fields
that differ between engine versions are read tolerantly where they are not needed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import UntrustedServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1024
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,12})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
_NEVER = "0001-01-01T00:00:00Z"
_IDENTIFIER = re.compile(r"[0-9a-f]{12,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_BYTES = 64 * KIB
_PIECE_BYTES = 64 * KIB
_FRAME_HEADER = 8
_QUOTE = "    | "
_MESSAGE_CHARACTERS = 2000
_VALUES = 50_000
"""A megabyte of sound answers has fewer; a megabyte of ``[],`` takes 25 in memory."""
_LEVELS = 100
"""Sound answers have ten."""
_STEPS = dict(zip(b"[{]}", (1, 1, -1, -1), strict=True))
_NO_SIGNS = bytes({*range(256)} - {*_STEPS, *b'"'})
"""All but brackets and quotation marks."""


@dataclass(frozen=True)
class ContainerState:
    """How a container is."""

    status: str
    """The engine's word: ``created``, ``running``, ``exited``, …"""
    running: bool
    exit_code: int
    pid: int
    """Process id on the host; 0 if none."""
    started_at: float
    """Unix time of its last start; a large negative number if it was never started."""
    oom_killed: bool
    error: str
    """Why the runtime could not start it."""
    health: str = ""
    """What the last health check printed."""

    @classmethod
    def parse(cls, value: object, where: str) -> ContainerState:
        """Read the ``State`` of an inspect answer."""
        raw = obj(value, where)
        return cls(
            status=string(raw.get("Status"), where),
            running=raw.get("Running") is True,
            exit_code=integer(raw.get("ExitCode", 0), where),
            pid=integer(raw.get("Pid", 0), where),
            started_at=timestamp(raw.get("StartedAt", _NEVER), where),
            oom_killed=raw.get("OOMKilled") is True,
            error=one_line(string(raw.get("Error") or "", where)),
            health=_last_output(raw.get("Health") or raw.get("Healthcheck") or {}, where),
        )


@dataclass(frozen=True)
class Container:
    """What the engine says of a container."""

    id: str
    name: str
    image_id: str
    labels: dict[str, str]
    environment: dict[str, str]
    command: tuple[str, ...]
    """Arguments of the entry point, or the program itself where the image has none."""
    state: ContainerState
    runtime: str
    """Program that runs it, such as ``crun``, or its path."""
    memory_limit: int = 0
    """Bytes; 0 is no limit."""
    stop_signal: str = ""
    """Number or name of the signal by which it is asked to end."""
    entrypoint: tuple[str, ...] = ()
    """What the command is given to, if anything."""

    @classmethod
    def parse(cls, value: object, where: str) -> Container:
        """Read an inspect answer."""
        raw = obj(value, where)
        config = obj(raw.get("Config"), where)
        host_config = obj(raw.get("HostConfig") or {}, where)
        return cls(
            id=identifier(raw.get("Id"), where),
            name=one_line(string(raw.get("Name"), where)).lstrip("/"),
            image_id=identifier(raw.get("Image"), where),
            labels=string_map(config.get("Labels"), where),
            environment=environment_map(config.get("Env"), where),
            command=tuple(strings(config.get("Cmd"), where)),
            state=ContainerState.parse(raw.get("State"), where),
            runtime=one_line(string(raw.get("OCIRuntime") or "", where)),
            memory_limit=integer(host_config.get("Memory") or 0, where),
            # a number in Podman 4, a name in 5
            stop_signal=one_line(str(config.get("StopSignal") or "")),
            entrypoint=tuple(strings(config.get("Entrypoint"), where)),
        )


def listed(value: object, where: str) -> Container:
    """Read one entry of a list, which says less."""
    raw = obj(value, where)
    status = one_line(string(raw.get("State"), where))
    return Container(
        id=identifier(raw.get("Id"), where),
        name=one_line(next(iter(strings(raw.get("Names"), where)), "")),
        image_id=identifier(raw.get("ImageID"), where),
        labels=string_map(raw.get("Labels"), where),
        environment={},
        command=tuple(strings(raw.get("Command"), where)),
        state=ContainerState(
            status=status,
            running=status == "running",
            exit_code=integer(raw.get("ExitCode") or 0, where),
            pid=integer(raw.get("Pid") or 0, where),
            started_at=float(integer(raw.get("StartedAt") or 0, where)),
            oom_killed=False,
            error="",
        ),
        runtime="",
    )


@dataclass(frozen=True)
class Image:
    """What the engine says of an image."""

    id: str
    user: str
    """As the image has it: a name, a number, ``user:group``, or empty for root."""
    working_dir: str
    environment: dict[str, str]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    labels: dict[str, str]
    names: tuple[str, ...] = ()
    """Every name and tag that the account has for it."""
    size: int = 0
    """Bytes that its layers take."""

    @classmethod
    def parse(cls, value: object, where: str) -> Image:
        """Read an image's inspect answer."""
        raw = obj(value, where)
        config = obj(raw.get("Config") or {}, where)
        return cls(
            id=identifier(raw.get("Id"), where),
            user=string(config.get("User") or raw.get("User") or "", where),
            working_dir=string(config.get("WorkingDir") or "", where),
            environment=environment_map(config.get("Env"), where),
            command=tuple(strings(config.get("Cmd"), where)),
            entrypoint=tuple(strings(config.get("Entrypoint"), where)),
            labels=string_map(config.get("Labels"), where),
            names=tuple(strings(raw.get("RepoTags"), where)),
            size=integer(raw.get("Size") or 0, where),
        )


@dataclass(frozen=True)
class EngineInfo:
    """What the engine says of itself and of its host."""

    storage_driver: str
    """Such as ``overlay`` or ``vfs``."""
    storage_root: str
    """Folder of images and containers."""
    storage_free: int
    """Bytes that are free where that folder is."""
    cgroup_version: str
    """``v1`` or ``v2``."""
    runtime: str
    """Name of the program that runs containers, such as ``crun``."""
    selinux: bool
    """Whether containers are confined by SELinux."""
    apparmor: bool
    """Whether containers are confined by AppArmor."""

    @classmethod
    def parse(cls, value: object, where: str) -> EngineInfo:
        """Read an info answer."""
        raw = obj(value, where)
        host, store = obj(raw.get("host"), where), obj(raw.get("store"), where)
        security = obj(host.get("security") or {}, where)
        size = integer(store.get("graphRootAllocated") or 0, where)
        return cls(
            storage_driver=one_line(string(store.get("graphDriverName"), where)),
            storage_root=one_line(string(store.get("graphRoot"), where)),
            storage_free=size - integer(store.get("graphRootUsed") or 0, where),
            cgroup_version=one_line(string(host.get("cgroupVersion"), where)),
            runtime=one_line(
                string(obj(host.get("ociRuntime") or {}, where).get("name") or "", where)
            ),
            selinux=security.get("selinuxEnabled") is True,
            apparmor=security.get("apparmorEnabled") is True,
        )


@dataclass(frozen=True)
class Event:
    """Something that happened to a container."""

    action: str
    """Such as ``create``, ``start``, ``died``, ``remove``."""
    id: str
    name: str
    time: int
    """Unix time in seconds."""
    exit_code: int | None
    """With ``died``: how it ended."""

    @classmethod
    def parse(cls, line: bytes, where: str) -> Event:
        """Read one line of the stream of events."""
        raw = obj(parse_json(line, where), where)
        actor = obj(raw.get("Actor"), where)
        attributes = string_map(actor.get("Attributes"), where)
        action = one_line(string(raw.get("Action"), where))
        code = attributes.get("containerExitCode", "") if action.endswith("died") else ""
        return cls(
            action=action,
            id=identifier(actor.get("ID"), where),
            name=one_line(attributes.get("name", "")),
            time=integer(raw.get("time"), where),
            exit_code=int(code) if re.fullmatch(r"-?\d{1,4}", code) else None,
        )


@dataclass(frozen=True)
class ExecResult:
    """How a command inside a container ended."""

    exit_code: int
    output: str
    """What it printed, standard error included."""


@dataclass(frozen=True)
class RunResult:
    """How a container ended."""

    exit_code: int
    output: str
    """The last 64 KiB that it printed, standard error included."""


def parse_json(text: bytes, where: str) -> object:
    """Read JSON of no more values, and no deeper, than an engine has reason to send.

    At the end of the interpreter's stack, finalizers that run meanwhile would fail, anybody's.
    """
    opened = text.count(b"[") + text.count(b"{")
    if opened + text.count(b",") > _VALUES:
        raise _unexpected(where, f"JSON of more than {_VALUES} values")
    if opened > _LEVELS and _is_deep(text):
        raise _unexpected(where, f"JSON of more than {_LEVELS} levels")
    try:
        return json.loads(text.decode())  # by itself it would take other encodings too
    except ValueError as error:
        raise _unexpected(where, f"no JSON ({type(error).__name__})") from error


def _is_deep(text: bytes) -> bool:
    """Whether JSON, as far as it is JSON, is nested too deeply; nothing that grows is kept."""
    kept = text.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_SIGNS)
    level, in_text = 0, False
    for sign in kept:
        if sign not in _STEPS:
            in_text = not in_text
        elif not in_text:
            level += _STEPS[sign]
            if level > _LEVELS:
                return True
    return False


def obj(value: object, where: str) -> dict[str, Any]:
    """Demand a JSON object."""
    if not isinstance(value, dict):
        raise _unexpected(where, f"{type(value).__name__} instead of an object")
    return value


def array(value: object, where: str) -> list[Any]:
    """Demand a JSON array; null is an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise _unexpected(where, f"{type(value).__name__} instead of a list")
    return value


def string(value: object, where: str) -> str:
    """Demand a string."""
    if not isinstance(value, str):
        raise _unexpected(where, f"{type(value).__name__} instead of a string")
    return value


def strings(value: object, where: str) -> list[str]:
    """Demand a list of strings; null is an empty one, a bare string its words.

    Engines before 5 give an entry point as one string.
    """
    if isinstance(value, str):
        return value.split()
    return [string(item, where) for item in array(value, where)]


def string_map(value: object, where: str) -> dict[str, str]:
    """Demand an object of strings; null is an empty one."""
    return {key: string(item, where) for key, item in obj(value or {}, where).items()}


def environment_map(value: object, where: str) -> dict[str, str]:
    """Demand a list of ``NAME=value``."""
    pairs = (item.partition("=") for item in strings(value, where))
    return {name: text for name, _, text in pairs}


def integer(value: object, where: str) -> int:
    """Demand a whole number that 64 bits can hold."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
        raise _unexpected(where, "something else instead of a whole number")
    return value


def timestamp(value: object, where: str) -> float:
    """Demand a time as the engine writes it, such as ``2026-01-31T12:00:00.123456789+01:00``."""
    match = _TIME.fullmatch(string(value, where))
    if not match:
        raise _unexpected(where, "something else instead of a time")
    seconds, fraction, zone = match.groups()
    try:
        time = datetime.fromisoformat(f"{seconds}{'+00:00' if zone == 'Z' else zone}")
        return time.timestamp() + float(fraction or 0)
    except (ValueError, OverflowError) as error:
        raise _unexpected(where, "a time that is none") from error


def identifier(value: object, where: str) -> str:
    """Demand the id of a container, image or session: it may stand in a path."""
    text = string(value, where).removeprefix("sha256:")
    if not _IDENTIFIER.fullmatch(text):
        raise _unexpected(where, "something else instead of an id")
    return text


def version(text: str) -> tuple[int, ...]:
    """Read a version's leading numbers; what is none of them is left out."""
    found = re.match(r"\d{1,4}(\.\d{1,4}){0,2}", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def plain(text: str, limit: int = _MESSAGE_CHARACTERS) -> str:
    """Return text that can be shown to people: no control characters, and not too long.

    Nor half a surrogate pair, which JSON can spell and UTF-8 cannot.
    """
    return _CONTROL.sub("", text[: 2 * limit])[:limit]


def one_line(text: str, limit: int = _MESSAGE_CHARACTERS) -> str:
    """Return text of the account's as one line: what is logged then forges none."""
    return " ".join(plain(text, limit).split())


def quoted(text: str) -> str:
    """Return text of the account's for a log: each line is seen to be quoted, none forged."""
    return "\n".join(f"{_QUOTE}{each}" for each in plain(text).splitlines())


def is_quoted(line: str) -> bool:
    """Whether a line is one that :func:`quoted` made."""
    return line.startswith(_QUOTE)


def unquoted(line: str) -> str:
    """Return the line that was quoted."""
    return line.removeprefix(_QUOTE)


def error_message(content: bytes) -> str:
    """Return what an error answer says, in whatever form it comes."""
    try:
        said = obj(parse_json(content, ""), "")["message"]
    except (UntrustedServiceError, KeyError):
        said = content.decode(errors="replace")
    return one_line(said if isinstance(said, str) else str(said))


def frames(stream: Any) -> Iterator[bytes]:
    """Yield the pieces of a multiplexed stream of standard output and standard error.

    ref: the Docker API's attach: a header of 8 bytes, its last four the length, then the text.
    """
    while header := stream.read(_FRAME_HEADER):
        if len(header) < _FRAME_HEADER:
            raise _unexpected("read a stream", "half a header")
        left = int.from_bytes(header[4:], "big")
        while left and (piece := stream.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece


def lines(stream: Any) -> Iterator[bytes]:
    """Yield the lines of a stream as they come."""
    rest = b""
    while piece := stream.read1(_PIECE_BYTES):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line.strip())
        if len(rest) > _LINE_BYTES:
            raise _unexpected("read a stream", "a line without end")
    if rest.strip():
        yield rest


def _last_output(health: object, where: str) -> str:
    checks = array(obj(health, where).get("Log"), where)
    last = obj(checks[-1], where) if checks else {}
    return one_line(string(last.get("Output") or "", where))


def _unexpected(where: str, what: str) -> UntrustedServiceError:
    return UntrustedServiceError(
        f"The Podman service answered with {what} ({where}). It is not a Podman service, or not "
        "a sound one; look at what listens on the account's socket.",
        reason="protocol",
    )
