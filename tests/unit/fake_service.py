"""A fake Podman service at the wire: it listens on a Unix socket and sends what it was taught.

Each answer is raw bytes or a function that writes to the connection itself, so that a test can say
exactly what comes, when, and how it breaks off. A request that was not taught fails the test.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podmanspawner import Account, UserPodman
from podmanspawner.sockets import demand_peer

if TYPE_CHECKING:
    from pathlib import Path

Answer = bytes | Callable[[socket.socket], None]

ME = Account(name="me", uid=os.getuid(), gid=os.getgid(), home="/nonexistent")


def http(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole answer, as a sound service sends it."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def http_json(value: object, status: str = "200 OK") -> bytes:
    return http(json.dumps(value).encode(), status=status)


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PING = {"GET _ping": http(b"OK", "Libpod-API-Version: 4.3.1")}


def endlessly(piece: bytes, *, after: bytes = b"", pause: float = 0) -> Answer:
    """Return an answer without end: ``after`` once, then ``piece`` until nobody listens."""

    def send(connection: socket.socket) -> None:
        connection.sendall(after)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return send


def cut_off(start: bytes) -> Answer:
    """Return an answer that begins so, and then the connection is closed."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.shutdown(socket.SHUT_RDWR)

    return send


@dataclass
class Request:
    method: str
    path: str
    """Below ``/libpod/``, or the version of Docker's API, without the query."""
    query: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class FakeService:
    """What a client sees of a ``PodmanService``: an account and a way to connect."""

    failure = None
    crash_loop = None

    def __init__(
        self,
        folder: Path,
        answers: dict[str, Answer],
        *,
        account: Account = ME,
        deaf: bool = False,
        name: str = "fake.sock",
    ) -> None:
        self.path = folder / name
        self.account = account
        self.answers = answers
        self.requests: list[Request] = []
        self.unknown: list[str] = []
        self.connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        if not deaf:
            self._acceptor.start()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self.path))
            demand_peer(connection, self.account)
        except BaseException:
            connection.close()
            raise
        return connection

    def podman(self, *, awake: bool = True) -> UserPodman:
        """Return a client; one that has not met the service awake asks for that first."""
        made = UserPodman(self)
        made._awake = awake
        return made

    def close(self) -> None:
        """End, and fail if something came that was not expected."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._acceptor.is_alive():
            self._acceptor.join(1)
        self.drop_connections()
        for connection, thread in zip(self.connections, self._threads, strict=True):
            thread.join(1)
            connection.close()
        assert not self.unknown, f"the fake was not taught: {self.unknown}"

    def answer_to(self, request: Request) -> Answer | None:
        """Return what is sent, or None if that was not taught."""
        return self.answers.get(f"{request.method} {request.path}")

    def wait_for_end(self) -> None:
        """Return once a client has come and gone."""
        deadline = time.monotonic() + 5
        while not self._threads or any(thread.is_alive() for thread in self._threads):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def drop_connections(self) -> None:
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as stream:
            while request := _read_request(stream):
                self.requests.append(request)
                answer = self.answer_to(request)
                if answer is None:
                    self.unknown.append(f"{request.method} {request.path}")
                    connection.sendall(http(b"not taught", status="501 Not Implemented"))
                elif callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)


def _read_request(stream) -> Request | None:
    start = stream.readline()
    if not start:
        return None
    method, target, _ = start.decode().split()
    path, _, query = target.partition("?")
    request = Request(method, re.sub(r"^/v[\d.]+/(libpod/)?", "", path), query)
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        request.headers[name.lower()] = value
    request.body = stream.read(int(request.headers.get("content-length", 0)))
    return request
