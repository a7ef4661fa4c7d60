"""What a value of an option must be; each function names the option in its error.

Pure. What is refused here is refused before the engine is asked.
"""

from __future__ import annotations

import difflib
import ipaddress
import posixpath
import re
import signal
from typing import TYPE_CHECKING

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORT_MAX = 65535
_SIGNAL_MAX = 64
_SIGRTMIN = 34
_REAL_TIME = re.compile(r"(?:SIG)?RT(?:MIN\+([0-9]|1[0-5])|MAX-([0-9]|1[0-4]))")
_HOSTNAME_LENGTH = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OCTAL = re.compile(r"0?[0-7]{3}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DNS_OPTION = re.compile(r"[a-z][a-z0-9-]*(:[0-9]+)?")
_SELINUX = re.compile(r"disable|nested|(type|level|user|role|filetype):[a-zA-Z0-9_.,:-]+")
_USER = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?")
_DEVICE = re.compile(r"/dev/[^\s:]+(:/[^\s:]+)?(:[rwm]{1,3})?")
_CDI = re.compile(r"[a-zA-Z][\w.-]*/[a-zA-Z][\w.-]*=[\w.:-]+", re.ASCII)
ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
"""ref: getrlimit(2)"""
CAPABILITIES = (
    *("AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE"),
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER"),
    *("KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN"),
    *("NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP"),
    *("SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE"),
    *("SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG"),
    "WAKE_ALARM",
)
"""ref: capabilities(7)"""


def signal_number(value: str | int) -> int:
    """Return the number of a signal; the engine takes no names.

    Args:
        value: ``"SIGINT"``, ``"int"``, ``"2"`` or ``2``.

    Raises:
        SpecError: there is no such signal.
    """
    text = str(value).upper()
    real_time = _REAL_TIME.fullmatch(text)
    if text.isascii() and text.isdecimal():
        number = int(text)
    elif real_time:  # ref: signal(7); systemd in a container stops by SIGRTMIN+3
        number = _SIGRTMIN + int(real_time[1]) if real_time[1] else _SIGNAL_MAX - int(real_time[2])
    else:
        name = text if text.startswith("SIG") else f"SIG{text}"
        number = int(getattr(signal.Signals, name, 0))
    if not 1 <= number <= _SIGNAL_MAX:
        raise SpecError("stop_signal", f"{value!r} is no signal; use a name such as 'SIGTERM'")
    return number


def words(option: str, value: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return own words of a list of them; None stays None."""
    if value is None:
        return None
    if isinstance(value, str):
        raise SpecError(option, f"{value!r} is one text; write a list of words: [{value!r}]")
    if not isinstance(value, (list, tuple)):
        raise SpecError(option, f"{value!r} is no list; write a list of words")
    for word in value:
        if not isinstance(word, str) or "\0" in word:
            raise SpecError(option, f"{word!r} is no word; use texts without NUL characters")
    return tuple(value)


def image(reference: str, *, option: str = "image") -> None:
    """Refuse what cannot be a reference or id of an image."""
    if (
        not reference
        or reference.startswith("-")
        or re.search(r"\s", reference)
        or _CONTROL.search(reference)
    ):
        raise SpecError(
            option,
            f"{reference!r} is no image; name one such as 'quay.io/jupyterhub/singleuser:5'",
        )


def path(option: str, value: str) -> None:
    """Refuse what is no absolute, plain path."""
    if not value.startswith("/") or ".." in value.split("/"):
        raise SpecError(option, f"{value!r} must be an absolute path without '..'")
    if _CONTROL.search(value):
        raise SpecError(option, f"{value!r} has control characters; rename the folder")


def mount_point(option: str, value: str) -> None:
    """Refuse what is no place in a container where something can be mounted."""
    path(option, value)
    if value != posixpath.normpath(value) or not value.strip("/"):
        raise SpecError(
            option,
            f"{value!r} is no place for a mount; name a folder below '/' in its shortest form, "
            "such as /data",
        )


def port(number: int) -> None:
    """Refuse what is no port."""
    if not 1 <= number <= PORT_MAX:
        raise SpecError("port", f"{number} is no port; use 1 to {PORT_MAX}")


def ip(option: str, address: str) -> None:
    """Refuse what is no literal IP address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise SpecError(
            option, f"{address!r} is no IP address; use a literal one such as '127.0.0.1'"
        ) from None


def host_address(option: str, address: str) -> None:
    """Refuse what is no address of a host for the container's ``/etc/hosts``."""
    if address == "host-gateway":  # Podman 4.3's API writes it there as it is
        raise SpecError(
            option,
            f"{address!r} is not had through Podman's service; the host is known to the container "
            "as host.containers.internal without it",
        )
    ip(option, address)


def environment(variables: Mapping[str, str], *, option: str = "environment") -> None:
    """Refuse what cannot be a variable or its value."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name:
            raise SpecError(option, f"{name!r} cannot name a variable; drop '=' and NUL")
        if not isinstance(value, str) or "\0" in value:
            raise SpecError(option, f"the value of {name} must be a text without NUL")


def labels(option: str, texts: Mapping[str, str]) -> None:
    """Refuse names and values that are no texts."""
    for name, value in texts.items():
        if not name or not isinstance(name, str) or not isinstance(value, str):
            raise SpecError(option, f"{name!r}: names and values must be texts")


def commas(value: str) -> tuple[str, ...]:
    """Return the words of a text in which commas are between them."""
    return tuple(word for word in value.split(",") if word)


def octal(option: str, value: str) -> str:
    """Return four octal digits of a text such as ``"027"``."""
    if not _OCTAL.fullmatch(value):
        raise SpecError(option, f"{value!r} is no file mode; use octal digits, such as '0027'")
    return value.zfill(4)


def dns_option(option: str, value: str) -> None:
    """Refuse what is no option of the resolver; ref: resolv.conf(5)."""
    if not _DNS_OPTION.fullmatch(value):
        raise SpecError(option, f"{value!r} is no option; use one such as 'ndots:2' or 'rotate'")


def hostname(option: str, value: str) -> None:
    """Refuse what is no name of a host.

    ref: RFC 1123, 2.1; the kernel takes no more than 64 characters.
    """
    if len(value) > _HOSTNAME_LENGTH or not _HOSTNAME.fullmatch(value):
        raise SpecError(
            option,
            f"{value!r} is no host name; use letters, digits and hyphens, parts joined by dots, "
            f"at most {_HOSTNAME_LENGTH} characters",
        )


def user(option: str, value: str) -> None:
    """Refuse what is no ``user`` or ``user:group``, each a name or a number."""
    if not _USER.fullmatch(value):
        raise SpecError(
            option, f"{value!r} is no user; use a name or number, and a group, such as '1000:100'"
        )


def group(option: str, value: str) -> None:
    """Refuse what is neither the name nor the number of a group."""
    if ":" in value or not _USER.fullmatch(value):
        raise SpecError(option, f"{value!r} is no group; use a number or a name, such as 100")


def selinux(option: str, value: str) -> None:
    """Refuse what is no option of a label; ref: podman-run(1), --security-opt label."""
    if not _SELINUX.fullmatch(value):
        raise SpecError(
            option,
            f"{value!r} is no option of a label; use 'disable', 'nested' or one such as "
            "'type:container_t', 'level:s0:c1,c2', 'user:', 'role:' or 'filetype:'",
        )


def capabilities(option: str, value: Sequence[str]) -> tuple[str, ...]:
    """Return the capabilities as the engine writes them, such as ``CAP_NET_RAW``."""
    return tuple(_capability(option, word) for word in words(option, value) or ())


def _capability(option: str, word: str) -> str:
    name = word.upper().removeprefix("CAP_")
    if name == "ALL":
        return name
    if name not in CAPABILITIES:
        near = difflib.get_close_matches(name, CAPABILITIES, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see capabilities(7)"
        raise SpecError(option, f"{word!r} is no capability; {hint}")
    return f"CAP_{name}"


def ulimits(value: Mapping[str, int | Sequence[int]]) -> dict[str, tuple[int, int]]:
    """Return soft and hard limit of each name; -1 is no limit."""
    limits = {}
    for name, limit in value.items():
        pair = tuple(limit) if isinstance(limit, list | tuple) else (limit, limit)
        numbers = all(type(number) is int and number >= -1 for number in pair)
        if name not in ULIMITS:
            raise SpecError("ulimits", f"{name!r} is no limit; known: {', '.join(ULIMITS)}")
        if len(pair) != 2 or not numbers:  # noqa: PLR2004
            raise SpecError(
                "ulimits", f"{name}: {limit!r} must be a number, or (soft, hard); -1 is no limit"
            )
        if pair[1] != -1 and not -1 < pair[0] <= pair[1]:
            raise SpecError("ulimits", f"{name}: the soft limit {pair[0]} is above {pair[1]}")
        limits[name] = (pair[0], pair[1])
    return limits


def device(value: str) -> None:
    """Refuse what is neither a device file nor the name of a CDI device."""
    is_path = _DEVICE.fullmatch(value) and ".." not in re.split("[:/]", value)
    if not is_path and not _CDI.fullmatch(value):
        raise SpecError(
            "devices",
            f"{value!r} is no device; use a path such as '/dev/fuse', with a path in the "
            "container and permissions if needed ('/dev/sda:/dev/disk:r'), or a CDI name such "
            "as 'nvidia.com/gpu=all'",
        )


def image_stores(paths: Sequence[str]) -> None:
    """Refuse what cannot be the folder of an image store in the engine's list of options."""
    for path in paths:
        if not posixpath.isabs(path) or posixpath.normpath(path) != path:
            raise SpecError("image_stores", f"{path!r} is no absolute path of a store's folder")
        if "," in path or path != path.strip() or _CONTROL.search(path):
            raise SpecError("image_stores", f"{path!r}: the engine takes no such characters")


def bytes_at_least(option: str, value: int, least: int) -> None:
    """Refuse a size that is too small."""
    if value < least:
        raise SpecError(
            option, f"{value} bytes are too few; give at least {least} (a size such as '1G')"
        )
