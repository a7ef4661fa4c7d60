"""What a value of a flag may be; each function returns it as the spawner has it, or refuses it."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from podmanspawner import checks
from podmanspawner.identity import UserMapping
from podmanspawner.mounts import Mount, shortest
from podmanspawner.network import NetworkChoice, Port
from podmanspawner.secrets import Secret

from .changes import OPTION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?) ?([bkmgtp]?)(?:i?b)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)(ns|us|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")


def parts(value: str) -> list[str]:
    """Return the values of a text in which commas are between them, as in a CSV file."""
    try:
        return next(csv.reader([value], strict=True), [])
    except csv.Error as error:
        wrong(f"its quotes do not match ({error})")


def wrong(message: str) -> NoReturn:
    """Refuse a value; whoever reads the flag adds its name."""
    raise ValueError(message)


def literal(text: str) -> str:
    """Return a text as a template that says just that."""
    return text.replace("{", "{{").replace("}", "}}")


def checked(check: Callable[..., object], *first: object) -> Callable[[str], str]:
    """Return what passes a value on that a check of ours, given what comes first, lets through."""

    def convert(value: str) -> str:
        check(*first, value)
        return value

    return convert


def switch(value: str) -> bool:
    """Return what a switch is set to."""
    if value not in (*_TRUE, *FALSE):
        wrong("it is true or false")
    return value in _TRUE


def whole(value: str) -> int:
    """Return a whole number."""
    if not re.fullmatch(r"-?[0-9]{1,19}", value):
        wrong("it must be a whole number")
    return int(value)


def cores(value: str) -> float:
    """Return a number of cores."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?|\.[0-9]+", value):
        wrong("it must be a number of cores, such as 1.5")
    return float(value)


def size(value: str) -> int:
    """Return bytes of a text such as ``512m``; units are powers of 1024."""
    match = _SIZE.fullmatch(value)
    if not match:
        wrong("it must be a size, such as 512m or 2g")
    return int(float(match[1]) * 1024 ** _exponent(match[2]))


def _exponent(unit: str) -> int:
    return "bkmgtp".index(unit.lower() or "b")


def decimal_size(value: str) -> int:
    """Return bytes of a text such as ``10m``; units are powers of 1000, as for logs."""
    match = _SIZE.fullmatch(value)
    if not match:
        wrong("it must be a size, such as 10m")
    return int(float(match[1]) * 1000 ** _exponent(match[2]))


def size_or_all(value: str) -> int:
    """Return bytes; -1 is no limit."""
    return -1 if value == "-1" else size(value)


def duration(value: str) -> int:
    """Return nanoseconds of a text such as ``1m30s``."""
    if value in ("0", "disable"):
        return 0
    found = list(_DURATION.finditer(value))
    if not found or "".join(part[0] for part in found) != value:
        wrong("it must be a duration, such as 30s or 1m30s")
    return sum(int(float(part[1]) * _NANOSECONDS[part[2]]) for part in found)


def of(*values: str) -> Callable[[str], str]:
    """Return what passes on one of some words."""

    def convert(value: str) -> str:
        if value not in values:
            wrong(f"it must be one of {', '.join(values)}")
        return value

    return convert


def absolute(value: str) -> str:
    """Return an absolute path."""
    checks.path(OPTION, value)
    return value


def pair(value: str, separator: str = "=") -> tuple[str, str]:
    """Return name and value of ``NAME=VALUE``."""
    name, found, text = value.partition(separator)
    if not name or not found:
        wrong(f"it must be NAME{separator}VALUE")
    return name, text


def capability(value: str) -> str:
    """Return a capability as the engine writes it."""
    return checks.capabilities(OPTION, [value])[0]


def volume(value: str) -> dict[str, Any]:
    """Return an entry of ``mounts`` for ``SOURCE:TARGET[:OPTIONS]``."""
    source, *rest = value.split(":")
    if not rest or len(rest) > 2:  # noqa: PLR2004, target and options
        wrong("it must be SOURCE:TARGET[:OPTIONS], SOURCE a path or the name of a volume")
    options = checks.commas(rest[1]) if len(rest) > 1 else ()
    kind = "bind" if source.startswith("/") else "volume"
    if "O" in options:
        kind = "overlay"
    return entry(kind, source, rest[0], options)


def mount(value: str) -> dict[str, Any]:
    """Return an entry of ``mounts`` for ``type=…,source=…,target=…``."""
    given = dict(word.partition("=")[::2] for word in parts(value))
    names = {"src": "source", "dst": "target", "destination": "target"}
    given = {names.get(key, key): text for key, text in given.items()}
    kind, source = given.pop("type", "volume"), given.pop("source", "")
    target = given.pop("target", "")
    if kind == "volume" and not source:
        wrong("give the volume a name (source=NAME)")
    if not target:
        wrong("say where in the container (target=PATH)")
    options = [option for key, text in given.items() for option in mount_option(key, text)]
    if kind == "image" and "rw" not in options:
        options.append("ro")
    return entry(kind, source, target, options)


def mount_option(key: str, text: str) -> list[str]:
    """Return what a key of ``--mount`` is among the options of ``-v``."""
    if key in ("ro", "readonly", "rw", "readwrite"):
        return ["ro" if switch(text or "true") is (key in ("ro", "readonly")) else "rw"]
    if key in ("U", "chown"):
        return ["U"] if switch(text or "true") else []
    if key == "relabel":
        return [{"shared": "z", "private": "Z"}[of("shared", "private")(text)]]
    if key == "bind-propagation":
        return [text]
    if key == "bind-nonrecursive":
        return ["bind"] if switch(text or "true") else []
    if key in ("tmpfs-size", "tmpfs-mode"):
        return [f"{key.removeprefix('tmpfs-')}={text}"]
    if key == "consistency":  # of macOS
        return []
    return [f"{key}={text}" if text else key]


def entry(kind: Any, source: str, target: str, options: Sequence[str]) -> dict[str, Any]:
    """Return an entry of ``mounts``, once it is one that can be had."""
    own = tuple(word for word in options if word not in ("ro", "rw", "O"))
    read_only = "ro" in options
    Mount(source, shortest(target), read_only=read_only, kind=kind, options=own, named_by=OPTION)
    return {
        "type": kind,
        "source": literal(source),
        "target": literal(target),
        "read_only": read_only,
        "options": list(own),
    }


def tmpfs(value: str) -> tuple[str, str]:
    """Return target and options of ``TARGET[:OPTIONS]``."""
    target, _, options = value.partition(":")
    words = checks.commas(options)
    entry("tmpfs", "", target, words)
    return literal(target), ",".join(words)


def hosts(value: str) -> dict[str, str]:
    """Return the address of each host of ``NAME[;NAME…]:ADDRESS``."""
    names, _, address = value.partition(":")
    checks.host_address(OPTION, address)
    for name in names.split(";"):
        checks.hostname(OPTION, name)
    return dict.fromkeys(names.split(";"), address)


def label(value: str) -> tuple[str, str]:
    """Return name and value of ``NAME[=VALUE]``."""
    name, _, text = value.partition("=")
    checks.labels(OPTION, {name: text})
    return name, text


def gpu(value: str) -> str:
    """Return the CDI name of a GPU: ``all``, or one of them."""
    return checked(checks.device)(f"nvidia.com/gpu={value}")


def ulimit(value: str) -> tuple[str, tuple[int, int]]:
    """Return name and limits of ``NAME=SOFT[:HARD]``."""
    if value == "host":
        wrong("name the limits, such as nofile=1024:4096")
    name, limits = pair(value)
    soft, _, hard = limits.partition(":")
    return name, checks.ulimits({name: (whole(soft), whole(hard or soft))})[name]


def user_mapping(value: str) -> str:
    """Return ``user_mapping`` of a value of ``--userns``."""
    if value in ("", "host"):
        return "root"
    mode, _, options = value.partition(":")
    if mode == "auto" and re.fullmatch("(size=[0-9]+)?", options):
        return value.replace("auto", "auto-userns")
    if mode != "keep-id":
        wrong("use keep-id, keep-id:uid=U,gid=G, auto or host, or the option user_mapping")
    return value if not options else keep_id(dict(map(pair, options.split(","))))


def keep_id(ids: dict[str, str]) -> str:
    """Return the mapping that keeps these ids."""
    text = f"keep-id:uid={ids.get('uid', '')},gid={ids.get('gid', '')}"
    UserMapping.parse(text)
    if ids.keys() - {"uid", "gid"}:
        wrong("keep-id has uid and gid")
    return text


def entrypoint(value: str) -> tuple[str, ...]:
    """Return the words of a list in JSON, or the one word that it is."""
    try:
        words = json.loads(value)
    except (ValueError, RecursionError):
        words = [value]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        words = [value]
    return tuple(words)


def network(value: str) -> str:
    """Return ``network`` of a value of ``--network``."""
    network = "private" if value in ("", "default") else value
    NetworkChoice.parse(network)
    return network


def port(value: str) -> str:
    """Return an entry of ``extra_ports``."""
    Port.parse(value)
    return value


def secret(value: str) -> dict[str, Any]:
    """Return an entry of ``secrets`` of ``NAME[,type=…][,target=…][,uid=…][,gid=…][,mode=…]``."""
    first, *rest = parts(value)
    given: dict[str, Any] = {"source": first.removeprefix("source="), **dict(map(pair, rest))}
    if given.keys() - {"source", "type", "target", "uid", "gid", "mode"}:
        wrong("it may have type, target and, for a mount, uid, gid and mode")
    for name in given.keys() & {"uid", "gid"}:
        given[name] = whole(given[name])
    if "mode" in given:
        given["mode"] = int(checks.octal(OPTION, given["mode"]), 8)
    kind: Any = given.get("type", "mount")
    Secret(**{"kind": kind, **{key: part for key, part in given.items() if key != "type"}})
    return {**given, "source": literal(given["source"])}


def health_test(value: str) -> list[str]:
    """Return the ``Test`` of a health check, from a shell's command or a list in JSON."""
    if value == "none":
        return ["NONE"]
    words = list(entrypoint(value))
    if not words:
        wrong("it must be a command")
    if words[0] in ("CMD", "CMD-SHELL", "NONE"):
        return words
    return ["CMD", *words] if len(words) > 1 else ["CMD-SHELL", value]


def seconds(value: str) -> int:
    """Return 0 or more seconds."""
    number = whole(value)
    if number < 0:
        wrong("it must be 0 or more seconds")
    return number


def log_driver(value: str) -> str:
    """Return a driver whose logs can be read again."""
    if value in ("none", "passthrough", "passthrough-tty"):
        wrong("the spawner shows a server's last lines; use k8s-file, json-file or journald")
    return value


def device_number(name: str, convert: Callable[[str], int] = whole) -> Callable[..., Any]:
    """Return what reads ``/dev/NAME:NUMBER``."""

    def read(value: str) -> tuple[str, dict[str, int]]:
        device, number = pair(value, ":")
        checks.device(device)
        return device, {name: convert(number)}

    return read


def on_failure(value: str) -> int:
    """Return what is done with a container that is not healthy.

    ref: libpod/define/healthchecks.go, HealthCheckOnFailureAction
    """
    actions = {"none": 0, "kill": 2, "restart": 3, "stop": 4}
    return actions[of(*actions)(value)]


def image_volume(value: str) -> str:
    """Return what is done with volumes of the image."""
    return "anonymous" if of("bind", "anonymous", "tmpfs", "ignore")(value) == "bind" else value
