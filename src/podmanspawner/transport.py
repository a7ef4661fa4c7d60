"""The requests adapter whose connections are checked, bounded and timed.

It stands on requests-unixsocket's adapter and is mounted on podman-py's session. What it adds:
connections come from :meth:`PodmanService.connect`, which proves the peer; every call has one
deadline for the whole of it and one cap on all that is read, headers and informational answers
included; answers come unencoded and redirects are refused.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, cast

import requests_unixsocket
from requests_unixsocket.adapters import UnixHTTPConnection, UnixHTTPConnectionPool

from .errors import UntrustedServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests
    from typing_extensions import Buffer

KIB = 1024
MIB = 1024 * KIB
CALL_SECONDS = 30.0
CALL_BYTES = 1 * MIB
WORK_SECONDS = 0.1
REST = 50
REST_SECONDS = 0.5
"""At a time: so soon a call that is given up ends."""


class Pace:
    """How much work the answers of one account make, over all its calls.

    Python does one thing at a time: who answers in single bytes would keep the Hub from all other
    users. So whoever reads such an answer rests, beyond the first tenth of a second 50 seconds for
    each second of work. What a sound answer makes is too little to be noticed.
    """

    def __init__(self) -> None:
        self._owed = 0.0
        self._at = time.monotonic()
        self._turn = threading.Lock()

    def rest(self, worked: float) -> None:
        """Count seconds of work and rest for them; one call of the account at a time."""
        with self._turn:
            now = time.monotonic()
            self._owed = max(0.0, self._owed - (now - self._at) / REST) + worked
            self._at = now
            due = min((self._owed - WORK_SECONDS) * REST, REST_SECONDS)
            if due > 0:
                time.sleep(due)


class Allowance:
    """What one call may take: time for the whole of it, and bytes to read."""

    def __init__(
        self,
        seconds: float | None = CALL_SECONDS,
        max_bytes: int = CALL_BYTES,
        *,
        pace: Pace | None = None,
    ) -> None:
        """Start the clock.

        Args:
            seconds: for the whole call; None for a stream that the caller ends.
            max_bytes: of everything that is read, headers included.
            pace: of the account whose answers are read; None does not rest.
        """
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._max_bytes = self._bytes_left = max_bytes
        self._pace = pace
        self._received: float | None = None

    def seconds_left(self) -> float | None:
        """Return what is left of the time; None is without end.

        Raises:
            UntrustedServiceError: nothing is left.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.late()
        return left

    def take(self, count: int) -> None:
        """Count bytes that were read.

        Raises:
            UntrustedServiceError: they are too many.
        """
        self._received = time.thread_time()
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise UntrustedServiceError(
                f"The Podman service sent more than the {self._max_bytes} bytes that this call "
                "may read; the call was ended.",
                reason="size",
            )

    def shrink(self, max_bytes: int) -> None:
        """Let no more than so many bytes follow."""
        if self._bytes_left > max_bytes:
            self._max_bytes = self._bytes_left = max_bytes

    def rest(self) -> None:
        """Rest for the work with what was received last."""
        if self._pace and self._received is not None:
            self._pace.rest(time.thread_time() - self._received)

    def late(self) -> UntrustedServiceError:
        """Return the error of a call whose time is over."""
        return UntrustedServiceError(
            f"The Podman service did not finish its answer within {self.seconds:g} s. If the "
            "host is merely busy, try again; for a pull, raise pull_timeout.",
            reason="deadline",
        )


class _BoundedSocket(socket.socket):
    """A connected socket that obeys the allowance of the call that uses it now."""

    allowance: Allowance

    @classmethod
    def around(cls, connection: socket.socket, allowance: Allowance) -> _BoundedSocket:
        bounded = cls(fileno=connection.detach())
        bounded.allowance = allowance
        return bounded

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        self.allowance.rest()
        self.settimeout(self.allowance.seconds_left())
        try:
            count = super().recv_into(buffer, nbytes, flags)
        except TimeoutError:
            raise self.allowance.late() from None
        self.allowance.take(count)
        return count

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        self.settimeout(self.allowance.seconds_left())
        try:
            super().sendall(data, flags)  # its timeout is for all of the data
        except TimeoutError:
            raise self.allowance.late() from None


class _Connection(UnixHTTPConnection):  # type: ignore[misc]  # untyped package
    """A connection that is opened by the account's service."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__("http+unix://podman")
        self._open = connect
        self._allowance = Allowance()

    def connect(self) -> None:
        self.sock = _BoundedSocket.around(self._open(), self._allowance)

    def allow(self, allowance: Allowance) -> None:
        self._allowance = allowance
        if isinstance(self.sock, _BoundedSocket):
            self.sock.allowance = allowance

    def interrupt(self) -> None:
        if self.sock is not None:
            with contextlib.suppress(OSError):  # ended by itself meanwhile
                self.sock.shutdown(socket.SHUT_RDWR)


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]  # untyped package
    """The connections of one client; each takes the allowance of the call that gets it."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__("http+unix://podman")
        self._open = connect
        self._made: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self.allowance = Allowance()

    def _new_conn(self) -> _Connection:
        made = _Connection(self._open)
        self._made.add(made)
        return made

    def interrupt(self) -> None:
        for connection in tuple(self._made):
            connection.interrupt()

    def _get_conn(self, timeout: float | None = None) -> _Connection:
        connection = cast("_Connection", super()._get_conn(timeout))
        connection.allow(self.allowance)
        return connection


class VerifiedAdapter(requests_unixsocket.UnixAdapter):  # type: ignore[misc]  # untyped package
    """Send requests to one account's service and believe its answers within limits.

    One adapter serves one client in one thread, as a requests session does.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        """Use ``connect`` for every new connection; it must have checked the peer."""
        super().__init__(max_retries=0)
        self._connect = connect
        self._pool = _Pool(connect)
        self._next: Allowance | None = None

    @contextlib.contextmanager
    def allowing(self, allowance: Allowance) -> Iterator[None]:
        """Give the calls inside this allowance instead of the usual one."""
        self._next = allowance
        try:
            yield
        finally:
            self._next = None

    def get_connection(self, url: str, proxies: object = None) -> _Pool:  # noqa: ARG002
        """Return the one pool: whatever the URL's host, there is one place to go."""
        return self._pool

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request and return its answer, whose body is still to be read.

        Raises:
            UntrustedServiceError: too late, too long, encoded, or a redirect.
        """
        self._pool.allowance = self._next or Allowance()
        request.headers["Accept-Encoding"] = "identity"
        # the allowance is the only clock: one for the whole call, not for each packet
        response = cast("requests.Response", super().send(request, **{**kwargs, "timeout": None}))
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _refused(response, "an encoded body, which nobody asked for")
        if response.is_redirect:
            raise _refused(response, "a redirect")
        return response

    def interrupt(self) -> None:
        """End what is being read now, from another thread: it fails as a broken connection."""
        self._pool.interrupt()

    def close(self) -> None:
        """Close the connections, so that the service may go idle; a later call opens new ones."""
        self._pool.close()
        self._pool = _Pool(self._connect)
        super().close()


def socket_of(response: requests.Response) -> socket.socket:
    """Return the socket that an answer without a length comes from, to write to it as well.

    The HTTP packages have no name for it. ref: docker-py's ``_get_raw_response_socket``
    """
    raw: Any = response.raw
    return cast("socket.socket", raw._fp.fp.raw._sock)  # noqa: SLF001


def _refused(response: requests.Response, what: str) -> UntrustedServiceError:
    response.raw.close()
    return UntrustedServiceError(
        f"The Podman service answered with {what}. It is not a Podman service, or not a sound "
        "one; look at what listens on the account's socket.",
        reason="protocol",
    )
