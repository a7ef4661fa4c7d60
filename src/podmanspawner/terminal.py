"""A command in a container with a terminal of its own there: typed to, and read, as it goes."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from . import answers
from .transport import socket_of

if TYPE_CHECKING:
    from .rest import RestClient

_PIECE_BYTES = 64 * 1024


class Terminal:
    """What :meth:`UserPodman.terminal` opens.

    One thread may read while another one does the rest.
    """

    def __init__(self, engine: RestClient, session: str, answer: Any) -> None:
        """Take over the connection on which a session's start was answered."""
        self._engine = engine
        self._session = session
        self._answer = answer
        self._socket = socket_of(answer)  # not to be had any more once it has ended

    def read(self) -> bytes:
        """Return what it prints next, control sequences and all; nothing once it has ended."""
        return bytes(self._answer.raw.read1(_PIECE_BYTES))

    def write(self, typed: bytes) -> None:
        """Type something.

        Raises:
            OSError: it has ended.
        """
        self._socket.sendall(typed)

    def resize(self, lines: int, columns: int) -> None:
        """Tell it how large the window is that it is shown in."""
        self._engine.request(
            "resize a terminal",
            "POST",
            f"exec/{self._session}/resize",
            params={"h": lines, "w": columns},
        )

    def hang_up(self) -> None:
        """Let go of it, also of who reads; what runs there may go on."""
        with contextlib.suppress(OSError):  # it has ended
            self._socket.shutdown(socket.SHUT_RDWR)

    def exit_code(self) -> int:
        """Return the command's exit code, once nothing is left to read."""
        return exit_code(self._engine, self._session)


def exit_code(engine: RestClient, session: str) -> int:
    """Return the exit code of what was run in a container."""
    operation = "ask how a command ended"
    shown = engine.request_json(operation, "GET", f"exec/{session}/json")
    return answers.integer(answers.obj(shown, operation).get("ExitCode"), operation)
