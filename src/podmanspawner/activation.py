"""The socket-activation helper: find, wake or start ``podman system service`` for an account.

Two ways, tried in this order by ``activation="auto"``:

``existing``
    The account's socket answers already: its own ``podman.socket`` or service.
``direct``
    The account's own process listens; the Hub keeps the descriptor and starts the service on it
    whenever a connection waits, as systemd would. The service goes away by itself when idle.

Whoever connects does it through a descriptor of the very socket file that was checked, so that a
path swapped later changes nothing, and the peer is proved to be the account before a byte is sent.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import stat
import struct
import threading
import time
from typing import TYPE_CHECKING, Literal, get_args

from . import privileges
from .account import make_runtime_dir
from .errors import PodmanSpawnerError, ServiceError, UntrustedServiceError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from .account import Account

Activation = Literal["auto", "existing", "direct"]
"""How an account's service is reached."""

log = logging.getLogger(__name__)

_LOG_NAME = "podmanspawner.log"
_CONNECT_SECONDS = 5.0
_CRASHES = 3
_CRASH_WINDOW = 10.0


class PodmanService:
    """The Podman REST service of one account: reached, or started, when it is needed.

    Safe to use from several threads. Descriptors are kept until :meth:`close`.
    """

    def __init__(
        self,
        account: Account,
        *,
        activation: Activation = "auto",
        idle_seconds: int = 5,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Remember how to reach the service; nothing is started yet.

        Args:
            account: whose Podman it is.
            activation: the way to it, see the module.
            idle_seconds: the service ends itself after so many seconds without a request.
            environment: variables the service gets on top of an environment made from nothing.

        Raises:
            ServiceError: there is no such way.
        """
        if activation not in get_args(Activation):
            ways = ", ".join(get_args(Activation))
            raise ServiceError(f"activation: there is no way {activation!r}; choose from {ways}.")
        self.account = account
        self._activation = activation
        self._direct = _DirectService(account, idle_seconds, environment or {})
        self._lock = threading.Lock()

    def connect(self) -> socket.socket:
        """Return a connected socket whose peer is the account; wake the service if it sleeps.

        Raises:
            AccountError: the runtime directory is not the account's own.
            ServiceError: nothing answers and nothing could be started.
            UntrustedServiceError: the peer, or the owner of the path, is somebody else.
        """
        with self._lock:
            if self._direct.listening:
                return self._direct.connect()
            if self._activation == "direct":
                return self._direct.connect()
            try:
                return self._connect_existing()
            except (FileNotFoundError, ConnectionRefusedError, UntrustedServiceError) as problem:
                if self._activation == "existing":
                    raise self._nothing_there(problem) from problem
                log.info(
                    "%s: no service at %s (%s); starting one directly",
                    self.account.name,
                    self.account.socket_path,
                    problem,
                )
                return self._direct.connect()

    @property
    def failure(self) -> ServiceError | None:
        """Why the service that was started last ended at once, if it did."""
        return self._direct.failure

    def close(self) -> None:
        """Let go of the socket; a service that runs ends itself when idle."""
        with self._lock:
            self._direct.close()

    def _connect_existing(self) -> socket.socket:
        path_descriptor = _open_socket_path(self.account)
        try:
            return _connect_pinned(self.account, path_descriptor)
        finally:
            os.close(path_descriptor)

    def _nothing_there(self, problem: Exception) -> PodmanSpawnerError:
        if isinstance(problem, PodmanSpawnerError):
            return problem
        path = self.account.socket_path
        return ServiceError(
            f"No Podman service answers at {path} ({problem}). Start one as {self.account.name}: "
            "'systemctl --user enable --now podman.socket', or set activation to 'auto'.",
            socket=str(path),
        )


class _DirectService:
    """A listening socket of the account that the Hub holds, and the service behind it."""

    def __init__(self, account: Account, idle_seconds: int, env: Mapping[str, str]) -> None:
        self._account = account
        self._program = ["podman", "system", "service", f"--time={idle_seconds}"]
        self._env = dict(env)
        self._listener: socket.socket | None = None
        self._path_descriptor = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._process_lock = threading.Lock()
        self._crashes: list[float] = []
        self.failure: ServiceError | None = None

    @property
    def listening(self) -> bool:
        """Whether the account's socket has been made."""
        return self._listener is not None

    def connect(self) -> socket.socket:
        """Connect first, then see to a service: whatever happens to it, the call is queued."""
        if self._listener is None:
            self._listen_and_start()
        connection = _connect_pinned(self._account, self._path_descriptor)
        with self._process_lock:
            if self._process is None:
                try:
                    self._start(self._demand_listener())
                except PodmanSpawnerError:  # such as a runtime directory that was wiped
                    connection.close()
                    self.close()
                    raise
        return connection

    def close(self) -> None:
        """Close the descriptors."""
        if self._listener is not None:
            self._listener.close()
            os.close(self._path_descriptor)
            self._listener = None

    def _demand_listener(self) -> socket.socket:
        if self._listener is None:
            raise ServiceError(f"The Podman service of {self._account.name} has been closed.")
        return self._listener

    def _listen_and_start(self) -> None:
        _ensure_runtime_dir(self._account)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with self._process_lock:
                self._start(listener, bind_to=str(self._account.socket_path))
            self._path_descriptor = _open_socket_path(self._account)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def _start(self, listener: socket.socket, *, bind_to: str = "") -> None:
        """Start the service on the socket and a thread that sees it end. Hold the lock."""
        self.failure = None
        self._process = privileges.serve(
            self._account,
            self._program,
            listener,
            bind_to=bind_to,
            log_path=str(self._account.socket_path.with_name(_LOG_NAME)),
            extra_environment=self._env,
        )
        threading.Thread(
            target=self._see_end,
            args=(self._process, listener),
            name=f"podman-service-{self._account.name}",
            daemon=True,
        ).start()

    def _see_end(self, process: subprocess.Popen[bytes], listener: socket.socket) -> None:
        """Wait for the service's end; start it again if a connection came in meanwhile."""
        code = process.wait()
        with self._process_lock:
            self._process = None
            if not _connection_waits(listener):
                return
            if not self._crashes_again(code):
                try:
                    self._start(listener)
                except PodmanSpawnerError as problem:
                    log.warning("%s", problem)
                else:
                    return
            self.failure = self._explain(code)
            log.warning("%s", self.failure)
            _refuse_waiting(listener)

    def _crashes_again(self, code: int) -> bool:
        """Whether it crashed as often, in so short a time, that another start is no help."""
        now = time.monotonic()
        if code != 0:  # 0 is how it ends when idle
            self._crashes = [*(at for at in self._crashes if at > now - _CRASH_WINDOW), now]
        return len(self._crashes) >= _CRASHES

    def _explain(self, code: int) -> ServiceError:
        path = self._account.socket_path
        try:
            output = privileges.run(
                self._account, ["tail", "-c", "2000", str(path.with_name(_LOG_NAME))]
            )
        except PodmanSpawnerError as problem:
            output = str(problem)
        return ServiceError(
            f"'podman system service' of {self._account.name} ended with code {code} as soon as "
            f"it was started. It said: {output.strip() or 'nothing'}. Run 'podman info' as "
            f"{self._account.name} to see the same and mend it.",
            socket=str(path),
            stderr=output,
        )


def _ensure_runtime_dir(account: Account) -> None:
    try:
        os.close(account.open_runtime_dir())
    except FileNotFoundError:
        make_runtime_dir(account)
        os.close(account.open_runtime_dir())


def _open_socket_path(account: Account) -> int:
    """Return an O_PATH descriptor of the account's socket file, no symlink followed on the way.

    ref: open(2), O_PATH and O_NOFOLLOW; each part below the runtime directory is the account's to
    change at any time, so each is opened and then looked at, never looked at and then opened.
    """
    runtime = account.open_runtime_dir()
    try:
        folder = os.open("podman", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=runtime)
    except NotADirectoryError:
        raise _foreign(account, "its folder is a symlink or no folder") from None
    finally:
        os.close(runtime)
    try:
        found = os.open("podman.sock", os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)
    status = os.fstat(found)
    if stat.S_ISSOCK(status.st_mode) and status.st_uid == account.uid:
        return found
    os.close(found)
    if stat.S_ISLNK(status.st_mode):
        raise _foreign(account, "it is a symlink")
    raise _foreign(account, f"it is no socket of the account (owner uid {status.st_uid})")


def _connect_pinned(account: Account, path_descriptor: int) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_SECONDS)
    try:
        connection.connect(f"/proc/self/fd/{path_descriptor}")
        demand_peer(connection, account)
    except BlockingIOError as error:  # the backlog is full
        connection.close()
        raise ServiceError(
            f"The Podman service of {account.name} takes no more connections.",
            socket=str(account.socket_path),
        ) from error
    except BaseException:
        connection.close()
        raise
    return connection


def demand_peer(connection: socket.socket, account: Account) -> None:
    """Raise UntrustedServiceError unless the account's own process listens at the other end.

    ref: unix(7), SO_PEERCRED: the credentials of whoever called listen(2).
    """
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", raw)
    if uid != account.uid:
        raise _foreign(account, f"uid {uid} listens on it")


def _foreign(account: Account, why: str) -> UntrustedServiceError:
    return UntrustedServiceError(
        f"The socket {account.socket_path} is not {account.name}'s own: {why}. Remove it as "
        f"{account.name}, then start the server again.",
        reason="peer",
    )


def _connection_waits(listener: socket.socket) -> bool:
    try:
        ready, _, _ = select.select([listener], [], [], 0)
    except (OSError, ValueError):  # closed meanwhile
        return False
    return bool(ready)


def _refuse_waiting(listener: socket.socket) -> None:
    """Close every connection that waits, so that nobody waits for a service that cannot start."""
    listener.setblocking(False)
    try:
        while True:
            listener.accept()[0].close()
    except OSError as end:
        if end.errno not in (errno.EAGAIN, errno.EBADF):
            raise
    finally:
        if listener.fileno() >= 0:
            listener.setblocking(True)


_services: dict[tuple[int, str, int, tuple[tuple[str, str], ...]], PodmanService] = {}
_services_lock = threading.Lock()


def service_for(
    account: Account,
    *,
    activation: Activation = "auto",
    idle_seconds: int = 5,
    environment: Mapping[str, str] | None = None,
) -> PodmanService:
    """Return the one service of an account that this process knows, for all who need it.

    Arguments as :class:`PodmanService`.
    """
    env = tuple(sorted((environment or {}).items()))
    key = (account.uid, activation, idle_seconds, env)
    with _services_lock:
        service = _services.get(key)
        if service is None or service.account != account:
            service = _services[key] = PodmanService(
                account,
                activation=activation,
                idle_seconds=idle_seconds,
                environment=environment,
            )
        return service
