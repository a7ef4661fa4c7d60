"""What a value of an option must be; each function names the option in its error.

Pure. What is refused here is refused before the engine is asked.
"""

from __future__ import annotations

import ipaddress
import re
import signal
from typing import TYPE_CHECKING

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PORT_MAX = 65535
_SIGNAL_MAX = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def signal_number(value: str | int) -> int:
    """Return the number of a signal; the engine takes no names.

    Args:
        value: ``"SIGINT"``, ``"int"``, ``"2"`` or ``2``.

    Raises:
        SpecError: there is no such signal.
    """
    text = str(value).upper()
    if text.isascii() and text.isdecimal():
        number = int(text)
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
    for word in value:
        if not isinstance(word, str) or "\0" in word:
            raise SpecError(option, f"{word!r} is no word; use texts without NUL characters")
    return tuple(value)


def image(reference: str) -> None:
    """Refuse what cannot be a reference or id of an image."""
    if (
        not reference
        or reference.startswith("-")
        or re.search(r"\s", reference)
        or _CONTROL.search(reference)
    ):
        raise SpecError(
            "image",
            f"{reference!r} is no image; name one such as 'quay.io/jupyterhub/singleuser:5'",
        )


def path(option: str, value: str) -> None:
    """Refuse what is no absolute, plain path."""
    if not value.startswith("/") or ".." in value.split("/"):
        raise SpecError(option, f"{value!r} must be an absolute path without '..'")
    if _CONTROL.search(value):
        raise SpecError(option, f"{value!r} has control characters; rename the folder")


def port(number: int) -> None:
    """Refuse what is no TCP port."""
    if not 1 <= number <= _PORT_MAX:
        raise SpecError("port", f"{number} is no TCP port; use 1 to {_PORT_MAX}")


def ip(address: str) -> None:
    """Refuse what is no literal IP address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise SpecError(
            "host_ip", f"{address!r} is no IP address; use a literal one such as '127.0.0.1'"
        ) from None


def environment(variables: Mapping[str, str]) -> None:
    """Refuse what cannot be a variable or its value."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name:
            raise SpecError("environment", f"{name!r} cannot name a variable; drop '=' and NUL")
        if not isinstance(value, str) or "\0" in value:
            raise SpecError("environment", f"the value of {name} must be a text without NUL")


def labels(texts: Mapping[str, str]) -> None:
    """Refuse names and values that are no texts."""
    for name, value in texts.items():
        if not name or not isinstance(name, str) or not isinstance(value, str):
            raise SpecError("extra_labels", f"{name!r}: names and values must be texts")
