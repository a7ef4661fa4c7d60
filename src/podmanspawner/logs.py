"""What a container printed: its last lines, or all that comes."""

from __future__ import annotations

import io
import re
from collections import deque
from typing import TYPE_CHECKING, Any

from . import answers
from .errors import UntrustedServiceError
from .rest import STREAM_BYTES, segment
from .transport import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .rest import RestClient

_KEPT_BYTES = 64 * KIB
_READ_BYTES = 64 * MIB
_LINE_BYTES = 64 * KIB
_WHOLE_TAIL = (4, 7)
"""Before it, last lines lack what was printed in pieces. ref: containers/podman#19545"""
_PIECES_SECONDS = 2.0
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})\d*([+-]\d\d:\d\d|Z) ", re.MULTILINE)
"""To the millisecond: what was read at once has the same time, and Podman gives what is later."""


def read(engine: RestClient, container: str, tail: int | None) -> str:
    """Return what a container printed, see :meth:`UserPodman.logs`."""
    text = _text(engine, container, tail=tail, paced=tail is not None)
    if tail is not None and engine.engine_version < _WHOLE_TAIL:
        text = _with_pieces(engine, container, tail, text)
    return "".join(deque(io.StringIO(text, newline="\n"), maxlen=tail))


def follow(engine: RestClient, container: str, tail: int | None) -> Iterator[str]:
    """Yield what a container prints, see :meth:`UserPodman.follow_logs`."""
    for part in _stream(engine, container, tail=tail, follow=True, paced=tail is not None):
        yield part.decode(errors="replace")


def _with_pieces(engine: RestClient, container: str, tail: int, text: str) -> str:
    """Return the last lines anew, with what was printed in pieces, or as they are.

    The whole log since the line before them is read, as it has the pieces.
    """
    stamp = None
    if text.count("\n") >= tail:
        dated = _text(engine, container, tail=tail + 1, timestamps=True)
        stamp = _STAMP.search(dated)
    since = "".join(stamp.groups()) if stamp else None
    try:
        return _text(engine, container, since=since, seconds=_PIECES_SECONDS)
    except UntrustedServiceError:  # too much of it
        return text


def _text(engine: RestClient, container: str, **options: Any) -> str:
    text = bytearray()
    for part in _stream(engine, container, follow=False, **options):
        text += part
        del text[:-_KEPT_BYTES]
    return text.decode(errors="replace")


def _stream(
    engine: RestClient,
    container: str,
    *,
    follow: bool,
    tail: int | None = None,
    since: str | None = None,
    timestamps: bool = False,
    seconds: float = 30.0,
    paced: bool = True,
) -> Iterator[bytes]:
    params = {
        "stdout": True,
        "stderr": True,
        "follow": follow,
        "tail": "all" if tail is None else tail,
        "timestamps": timestamps,
        **({"since": since} if since else {}),
    }
    with engine.streaming(
        f"read the log of {container}",
        "GET",
        f"containers/{segment(container)}/logs",
        params=params,
        seconds=None if follow else seconds,
        max_bytes=STREAM_BYTES if follow else _bytes(tail),
        paced=paced,
    ) as answer:
        yield from answers.frames(answer.raw)


def _bytes(tail: int | None) -> int:
    """Return how much is read of a log, of so many lines at most."""
    return _READ_BYTES if tail is None else min((tail + 1) * _LINE_BYTES, _READ_BYTES)
