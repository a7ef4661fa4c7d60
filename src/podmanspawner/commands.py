"""Commands in a running container: to their end, or with a terminal of their own there."""

from __future__ import annotations

import contextlib
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import answers
from .answers import ExecResult
from .rest import segment
from .transport import MIB, socket_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .rest import RestClient

_PIECE_BYTES = 64 * 1024
_OUTPUT_BYTES = 4 * MIB


def run(
    engine: RestClient,
    container: str,
    command: Sequence[str],
    fields: Mapping[str, Any],
    *,
    seconds: float | None,
) -> ExecResult:
    """Run a command to its end, see :meth:`UserPodman.exec`.

    Args:
        engine: the account's Podman.
        container: name or id.
        command: program and arguments.
        fields: of the engine's request, besides.
        seconds: limit for the whole of it.
    """
    with _started(
        engine, container, command, fields, tty=False, seconds=seconds, max_bytes=_OUTPUT_BYTES
    ) as (session, answer):
        output = b"".join(answers.frames(answer.raw))
    code = _exit_code(engine, session)
    return ExecResult(exit_code=code, output=output.decode(errors="replace"))


@contextmanager
def terminal(
    engine: RestClient, container: str, command: Sequence[str], fields: Mapping[str, Any]
) -> Iterator[Terminal]:
    """Run a command with a terminal of its own, see :meth:`UserPodman.terminal`.

    Arguments as :func:`run`.
    """
    with_terminal = {"AttachStdin": True, "Tty": True, **fields}
    with _started(engine, container, command, with_terminal, tty=True, seconds=None) as (
        session,
        answer,
    ):
        yield Terminal(engine, session, answer)


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
        return _exit_code(self._engine, self._session)


@contextmanager
def _started(
    engine: RestClient,
    container: str,
    command: Sequence[str],
    fields: Mapping[str, Any],
    *,
    tty: bool,
    **limits: Any,
) -> Iterator[tuple[str, Any]]:
    """Start a command in a container; give its session's id, and the answer that it prints to."""
    operation = f"exec in container {container}"
    body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **fields}
    path = f"containers/{segment(container)}/exec"
    made = engine.request_json(operation, "POST", path, data=json.dumps(body))
    session = answers.identifier(answers.obj(made, operation).get("Id"), operation)
    data = json.dumps({"Detach": False, "Tty": tty})
    path = f"exec/{session}/start"
    with engine.streaming(operation, "POST", path, data=data, paced=False, **limits) as answer:
        yield session, answer


def _exit_code(engine: RestClient, session: str) -> int:
    """Return the exit code of what was run in a container."""
    operation = "ask how a command ended"
    shown = engine.request_json(operation, "GET", f"exec/{session}/json")
    return answers.integer(answers.obj(shown, operation).get("ExitCode"), operation)
