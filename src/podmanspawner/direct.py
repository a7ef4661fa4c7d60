"""A listening socket of the account that the Hub holds, and the service behind it.

What systemd does for a ``podman.socket``, where there is no systemd: the account's own process
listens, and ``podman system service`` is started on that socket whenever a connection waits, be
it the Hub's or the account's own. The service ends itself when idle.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import shlex
import signal
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from . import metrics, privileges
from .account import make_runtime_dir
from .errors import PodmanSpawnerError, ServiceError
from .remedies import remedy, words
from .sockets import connect_pinned, open_socket_path

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .account import Account

log = logging.getLogger(__name__)

_CRASHES = 3
_CRASH_WINDOW = 10.0
_LAST_WORDS = """
crash='^(panic|fatal error):'
grep -qE "$crash" -- "$1" && exec grep -m1 -A40 -E "$crash" -- "$1"
exec tail -c 2000 -- "$1"
"""
"""A shell's: how a program in Go crashed, which says much after it, or else the end of a log."""
_SERVICES = 3
"""Of one account, at a time: of those that lost their socket the oldest is ended."""
_BACKLOG = 129
"""Connections that can wait; ref: listen(2), one more than asked for in ``_become.py``."""


class DirectService:
    """The service of one account, started by this process when there is work for it."""

    def __init__(
        self,
        account: Account,
        idle_seconds: int,
        env: Mapping[str, str],
        flags: Sequence[str],
        path: Path,
    ) -> None:
        """Remember what to start; see :class:`podmanspawner.activation.PodmanService`."""
        self._account = account
        self._path = path
        self._log_path = path.with_name("podmanspawner.log")
        if path != account.socket_path:
            self._log_path = path.with_suffix(".log")
        self._program = ["podman", *flags, "system", "service", f"--time={idle_seconds}"]
        self._idle_seconds = idle_seconds
        self._env = dict(env)
        self._listener: socket.socket | None = None
        self._path_descriptor = -1
        self._lock = threading.RLock()
        self._crashes: list[float] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.failure: ServiceError | None = None
        """Why the service ended at once, the last times that it was started, if it did."""

    @property
    def listening(self) -> bool:
        """Whether the account's socket is there, and not removed since."""
        with self._lock:
            return self._listener is not None and os.fstat(self._path_descriptor).st_nlink > 0

    def connect(self) -> socket.socket:
        """Return a connection; it waits in the socket's queue until a service takes it."""
        with self._lock:
            if not self.listening:
                self.close()
                self._listen_and_start()
            try:
                return connect_pinned(self._account, self._path_descriptor)
            except ConnectionRefusedError:  # the account has shut the socket down
                self.close()
                self._listen_and_start()
                return connect_pinned(self._account, self._path_descriptor)

    def close(self) -> None:
        """Let go of the socket; a service that runs ends itself when idle."""
        with self._lock:
            if self._listener is not None:
                _watcher.forget(self._listener)
                self._listener.close()
                os.close(self._path_descriptor)
                self._listener = None

    def _listen_and_start(self) -> None:
        _ensure_runtime_dir(self._account)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._start(listener, bind_to=str(self._path))
            self._path_descriptor = open_socket_path(self._account, self._path)
        except BaseException:
            listener.close()
            raise
        self._listener = listener

    def _start(self, listener: socket.socket, *, bind_to: str = "") -> None:
        """Start the service on the socket, and a thread that sees it end."""
        self.failure = None
        began = time.monotonic()
        process = privileges.serve(
            self._account,
            self._program,
            listener,
            bind_to=bind_to,
            log_path=str(self._log_path),
            extra_environment=self._env,
        )
        metrics.WAKEUPS.add(activation="direct")
        self._processes.append(process)
        for old in self._processes[:-_SERVICES]:  # its account may have it never go idle
            old.kill()
        _in_background(lambda: self._see_end(process, listener, began))

    def _see_end(
        self, process: subprocess.Popen[bytes], listener: socket.socket, began: float
    ) -> None:
        """Wait for the service's end; from then on a connection wakes it again."""
        code = process.wait()
        with self._lock:
            self._processes.remove(process)
            if self._listener is not listener:  # closed meanwhile
                return
            was_idle = code == 0 and time.monotonic() - began >= self._idle_seconds
            if not was_idle and self._crashes_again():
                self.failure = self._explain(code)
                log.warning("%s", self.failure)
                _refuse_waiting(listener)
                self.close()  # nobody but the Hub starts it again: the account could all day
                return
            _watcher.when_readable(listener, lambda: self._wake(listener))

    def _wake(self, listener: socket.socket) -> None:
        with self._lock:
            if self._listener is not listener:  # closed meanwhile
                return
            try:
                self._start(listener)
            except PodmanSpawnerError as problem:  # such as a runtime directory that was wiped
                self.failure = problem if isinstance(problem, ServiceError) else None
                log.warning("%s", problem)
                _refuse_waiting(listener)
                self.close()

    def _crashes_again(self) -> bool:
        """Whether it ended as often, in so short a time, that another start is no help."""
        now = time.monotonic()
        self._crashes = [*(at for at in self._crashes if at > now - _CRASH_WINDOW), now]
        return len(self._crashes) >= _CRASHES

    def _explain(self, code: int) -> ServiceError:
        try:
            output = privileges.run(
                self._account, ["sh", "-c", _LAST_WORDS, "sh", str(self._log_path)]
            )
        except PodmanSpawnerError as problem:
            output = str(problem)
        said = words(output)
        name = self._account.name
        if killer := _killer(code):
            how = f"was killed by {killer} {_CRASHES} times within {_CRASH_WINDOW:g} s"
            usual = (
                "Look for who did it: for lack of memory the kernel does ('journalctl -k' or "
                "'dmesg' tells), else a person or a program of this host. Then start again"
            )
        else:
            how = f"ended with code {code} as soon as it was started"
            usual = f"Run 'podman info' as {name} to see the same and mend it"
        what_to_do = remedy(output, self._account) or usual
        return ServiceError(
            f"'{shlex.join(self._program[:-1])}' of {name} {how}. "
            f"It said: {said or 'nothing'}. {what_to_do}.",
            socket=str(self._path),
            stderr=output,
        )


def _killer(code: int) -> str:
    """Return the signal that ended a service, such as ``signal 9 (SIGKILL)``; empty if none did.

    Podman's outer process, which is waited for, tells of its inner one by 128 and the signal.
    """
    number = -code if code < 0 else code - 128
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return ""


def _ensure_runtime_dir(account: Account) -> None:
    try:
        os.close(account.open_runtime_dir())
    except FileNotFoundError:
        make_runtime_dir(account)
        os.close(account.open_runtime_dir())


def _refuse_waiting(listener: socket.socket) -> None:
    """Close every connection that waits, so that nobody waits for a service that cannot start.

    So many and no more: the account could connect all day.
    """
    listener.setblocking(False)
    try:
        for _ in range(_BACKLOG):
            listener.accept()[0].close()
    except OSError as end:
        if end.errno not in (errno.EAGAIN, errno.EBADF, errno.EINVAL):
            raise
    finally:
        if listener.fileno() >= 0:
            listener.setblocking(True)


class _Watcher:
    """Waits, in one thread for all accounts, until somebody connects to a sleeping service."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._lock = threading.Lock()

    def when_readable(self, listener: socket.socket, callback: Callable[[], None]) -> None:
        """Call back, once, in a thread of its own: what it does for one user delays no other."""
        with self._lock:
            if self._epoll is None:  # not at import: whoever forks then would share it
                self._epoll = select.epoll()
                _in_background(partial(self._run, self._epoll))
            self._callbacks[listener.fileno()] = callback
            self._epoll.register(listener, select.EPOLLIN | select.EPOLLONESHOT)

    def forget(self, listener: socket.socket) -> None:
        """Call nobody back, because the socket is about to be closed."""
        with self._lock:
            if self._epoll and self._callbacks.pop(listener.fileno(), None):
                self._epoll.unregister(listener)

    def _run(self, epoll: select.epoll) -> None:
        while True:
            for descriptor, _ in epoll.poll():
                with self._lock:
                    callback = self._callbacks.pop(descriptor, None)
                    if callback:
                        epoll.unregister(descriptor)
                        _in_background(callback)


_watcher = _Watcher()


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="podmanspawner-activation", daemon=True).start()
