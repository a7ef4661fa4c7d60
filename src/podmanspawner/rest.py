"""One account's service over HTTP: one way to ask, and errors of our own.

This is the only module that imports ``podman``. Every request goes through one call that logs it,
bounds it and turns what can go wrong into the project's errors.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import podman.errors
import requests
import urllib3

import podman

from . import answers, metrics
from .errors import (
    ContainerNotFound,
    PodmanError,
    PodmanSpawnerError,
    ServiceError,
    UntrustedServiceError,
)
from .remedies import remedy
from .transport import MIB, Allowance, Pace, VerifiedAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from .activation import PodmanService

log = logging.getLogger(__name__)

STREAM_BYTES = 1024 * MIB
_WAKE_SECONDS = 30.0
_WAKE_TRIES = 3
_DROP_SECONDS = 5.0
_OK = range(200, 300)
_NOT_MODIFIED = 304  # started or stopped already
_NOT_FOUND = 404
_CAUSE_CHARACTERS = 300
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_paces: dict[int, Pace] = {}


class RestClient:
    """Requests to the service of one account, from one thread.

    A context manager. Connections are kept while it is open and closed at its end, so that the
    service may go idle.
    """

    def __init__(self, service: PodmanService) -> None:
        """Use a service; the first call connects."""
        self.account = service.account
        """Whose Podman it is."""
        self.engine_version: tuple[int, ...] = ()
        """Version of the engine, such as ``(4, 3, 1)``; known once it has answered."""
        self._service = service
        self._awake = False
        self._cancelled = False
        self._end: float | None = None
        self._reading = False
        self._turn = threading.Lock()
        self._pace = _paces.setdefault(self.account.uid, Pace())
        self._adapter = VerifiedAdapter(service.connect)
        self.raw = podman.PodmanClient(base_url=f"http+unix://{service.account.socket_path}")
        """The podman-py client on the same checked connections, for all that is not here."""
        self.raw.api.mount("http://", self._adapter)
        self.raw.api.mount("https://", self._adapter)

    def __enter__(self) -> Self:
        """Wake the service, so that all that follows finds it."""
        self.ping()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.raw.close()  # type: ignore[no-untyped-call]
        self._adapter.close()

    @property
    def cancelled(self) -> bool:
        """Whether somebody has given up what is done with this client."""
        return self._cancelled

    def cancel(self) -> None:
        """Give up, from another thread: no further call begins, and one that only reads ends.

        A call that changes something is let finish, so that it is known what there is to undo.
        """
        with self._turn:
            self._cancelled = True
            if self._reading:
                self._adapter.interrupt()

    def end_by(self, end: float) -> None:
        """Let no call last beyond this moment of ``time.monotonic``, and none begin after it."""
        self._end = end

    def ping(self) -> tuple[int, ...]:
        """Wake the service and return the engine's version.

        Raises:
            ServiceError: it does not answer.
            UntrustedServiceError: what answers is not the account's.
        """
        self._awake = False
        self.request("wake up", "GET", "_ping", seconds=_WAKE_SECONDS)
        return self.engine_version

    def request(self, operation: str, method: str, path: str, **options: Any) -> Any:
        """Send one request to the engine's API and return its answer, read within its limits.

        The first one wakes the service, and its answer tells the engine's version. One that
        changes something is sent to a service that is awake.

        Args:
            operation: what it is for, in words that follow "could not".
            method: HTTP method.
            path: below ``/libpod/``, or below the version where ``compatible``.
            options: as :meth:`_ask`.

        Raises:
            ServiceError: the service cannot be reached.
            UntrustedServiceError: the answer is too late, too long or no HTTP.
            PodmanError: the engine answered with an error.
        """
        if not self._awake and method != "GET":
            self.ping()
        if self._awake:
            return self._ask(operation, method, path, **options)
        began = time.monotonic()
        try:
            return self._wake(operation, method, path, **options)
        finally:
            status = "success" if self._awake else "failure"
            metrics.ANSWERS.observe(time.monotonic() - began, status=status)

    def _wake(self, operation: str, method: str, path: str, **options: Any) -> Any:
        """Send the first request: a service that goes idle this moment drops it, not the next.

        One that drops it later would have a call last several times as long as it may.
        """
        end = time.monotonic() + _DROP_SECONDS
        for _ in range(_WAKE_TRIES - 1):
            try:
                return self._ask(operation, method, path, **options)
            except ServiceError as error:
                dropped = isinstance(error.__cause__, podman.errors.APIError)
                if not dropped or self._service.failure or time.monotonic() > end:
                    raise
        return self._ask(operation, method, path, **options)

    def _ask(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        seconds: float | None = 30.0,
        max_bytes: int = MIB,
        paced: bool = True,
        stream: bool = False,
        only_reads: bool = False,
        compatible: bool = False,
        headers: Mapping[str, str] | None = None,
        missing: type[PodmanError] = ContainerNotFound,
    ) -> Any:
        """Send one request once.

        Args:
            operation: as :meth:`request`.
            method: as :meth:`request`.
            path: as :meth:`request`.
            params: of the query.
            data: body, as JSON text or a file.
            seconds: limit for the whole call; None for a stream that the caller ends.
            max_bytes: limit for all that is read.
            paced: whether the call rests when what comes makes much work.
            stream: leave the body to be read by the caller, see :meth:`streaming`.
            only_reads: of a POST, whether :meth:`cancel` may end it.
            compatible: ask Docker's API, which the engine speaks too.
            headers: besides the usual ones; they are never logged.
            missing: the error that a status of 404 stands for.
        """
        self._begin(operation, only_reads=stream or only_reads or method == "GET")
        began = time.monotonic()
        seconds = self._in_time(operation, seconds)
        allowance = Allowance(seconds, max_bytes, pace=self._pace if paced else None)
        try:
            with self._adapter.allowing(allowance):
                answer = self.raw.api._request(  # noqa: SLF001, its verbs differ in parameters
                    method,
                    path,
                    params=params,
                    data=data,
                    headers={"Content-Type": "application/json", **(headers or {})},
                    stream=stream,
                    compatible=compatible,
                )
        except podman.errors.APIError as error:
            raise self._broken(operation, error) from error
        except UntrustedServiceError as error:
            error.answered = self._awake
            if error.reason == "deadline" and (failure := self._service.crash_loop):
                raise failure from error
            raise
        log.debug(
            "%s: %s: %s in %.1f ms",
            self.account.name,
            operation,
            answer.status_code,
            1000 * (time.monotonic() - began),
        )
        if not self._awake:
            self._awake = True
            self.engine_version = answers.version(answer.headers.get("Libpod-API-Version", ""))
        if answer.status_code in _OK or answer.status_code == _NOT_MODIFIED:
            return answer
        allowance.shrink(MIB)  # an error is no stream
        kind = missing if answer.status_code == _NOT_FOUND else PodmanError
        raise self._refused(operation, answer, kind)

    def _refused(self, operation: str, answer: Any, kind: type[PodmanError]) -> PodmanError:
        """Return the error that an answer tells."""
        try:
            said = answers.error_message(answer.content)
        except requests.RequestException as error:  # of a stream it has not been read yet
            raise _unsound(operation, error) from error
        what_to_do = remedy(said, self.account)
        return kind(
            f"Podman could not {operation}: {said}" + (f". {what_to_do}" if what_to_do else ""),
            operation=operation,
            status=answer.status_code,
        )

    def _begin(self, operation: str, *, only_reads: bool) -> None:
        """Let a call begin, unless :meth:`cancel` was first; tell it whether it may be ended."""
        with self._turn:
            if self._cancelled:
                raise ServiceError(f"Given up before: {operation}.")
            self._reading = only_reads

    def _in_time(self, operation: str, seconds: float | None) -> float | None:
        """Return how long a call may take, with what is left for all of them."""
        if self._end is None:
            return seconds
        left = self._end - time.monotonic()
        if left <= 0:
            raise UntrustedServiceError(
                f"The Podman service of {self.account.name} took too long for what it was asked "
                f"before; given up before: {operation}. If the host is merely busy, try again.",
                reason="deadline",
            )
        return left if seconds is None else min(seconds, left)

    def request_json(self, operation: str, method: str, path: str, **options: Any) -> object:
        """Do as :meth:`request` and return the answer's JSON."""
        return answers.parse_json(
            self.request(operation, method, path, **options).content, operation
        )

    @contextmanager
    def streaming(self, operation: str, method: str, path: str, **options: Any) -> Iterator[Any]:
        """Do as :meth:`request`, for an answer that is read piece by piece inside the block."""
        options = {"max_bytes": STREAM_BYTES, **options}
        answer = self.request(operation, method, path, stream=True, **options)
        try:
            yield answer
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _unsound(operation, error) from error
        finally:
            answer.close()

    def _broken(self, operation: str, error: Exception) -> PodmanSpawnerError:
        """Return what a call without an answer means: a service that is gone, or no sound one."""
        cause = error.__cause__ or error
        gone = (ConnectionError, FileNotFoundError)
        if not any(isinstance(step, gone) for step in _chain(cause)):
            return _unsound(operation, cause)
        return self._service.failure or ServiceError(
            f"The Podman service of {self.account.name} did not answer ({operation}): {cause}. "
            f"Try again; if it stays so, run 'podman info' as {self.account.name}.",
            socket=str(self.account.socket_path),
        )


def segment(container: str) -> str:
    """Return a name or id that is one segment of a path.

    Raises:
        ContainerNotFound: what is neither names no container.
    """
    if not _NAME.fullmatch(container):
        raise ContainerNotFound(
            f"{container!r} is neither name nor id of a container.",
            operation=f"find container {container!r}",
        )
    return container


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unsound(operation: str, error: BaseException) -> UntrustedServiceError:
    return UntrustedServiceError(
        f"The answer of the Podman service broke off or is no HTTP ({operation}): "
        f"{answers.one_line(str(error), _CAUSE_CHARACTERS)}. Try again; if it stays so, look at "
        "what listens on the account's socket.",
        reason="protocol",
    )
