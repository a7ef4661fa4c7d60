"""The socket-activation helper: find, wake or start ``podman system service`` for an account.

Three ways, tried in this order by ``activation="auto"``:

``existing``
    The account's socket answers already: its own ``podman.socket`` or service.
``systemd``
    The account's user manager is made to run and to listen, with its ``podman.socket``.
``direct``
    The account's own process listens; the Hub keeps the descriptor and starts the service on it
    whenever a connection waits, as systemd would. The service goes away by itself when idle.

In each the peer is proved to be the account before a byte is sent. A service that is to have flags
or variables of its own gets a socket of its own, and is started directly: what exists at the usual
one lacks them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Literal, get_args

from . import metrics, privileges, systemd
from .direct import DirectService
from .errors import PodmanSpawnerError, ServiceError, SpecError, UntrustedServiceError
from .sockets import connect_pinned, open_socket_path

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from .account import Account

Activation = Literal["auto", "existing", "systemd", "direct"]
"""How an account's service is reached."""
STARTED_ELSEWHERE: tuple[Activation, ...] = ("existing", "systemd")
"""Ways to a service that cannot be told anything: its flags and variables come from elsewhere."""

log = logging.getLogger(__name__)


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
        enable_linger: bool = True,
        environment: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Remember how to reach the service; nothing is started yet.

        Args:
            account: whose Podman it is.
            activation: the way to it, see the module.
            idle_seconds: a service that is started directly ends itself after so many seconds
                without a request.
            enable_linger: on a host with systemd, whether the account is made to linger, which
                stays so, unless ``activation`` is ``existing`` or ``direct``.
            environment: variables the service gets on top of an environment made from nothing.
            flags: global flags of ``podman`` for the service, such as ``--hooks-dir=DIR``.

        Raises:
            ServiceError: there is no such way, or a service that exists already is asked for and
                told how to be.
        """
        if activation not in get_args(Activation):
            ways = ", ".join(get_args(Activation))
            raise ServiceError(f"activation: there is no way {activation!r}; choose from {ways}.")
        own = [*flags, *sorted((environment or {}).items())]
        if own and activation in STARTED_ELSEWHERE:
            raise ServiceError(
                f"activation: {activation!r} is a service that got its flags and variables "
                "elsewhere; choose 'auto' or 'direct', or see to them where it is started."
            )
        self.account = account
        self._activation = activation
        self._linger = enable_linger and activation in ("auto", "systemd")
        self._path = account.socket_path
        self._is_told = bool(own)
        if own:
            name = hashlib.sha256(repr(own).encode()).hexdigest()[:12]
            self._path = self._path.with_name(f"podmanspawner-{name}.sock")
        self._direct = DirectService(account, idle_seconds, environment or {}, flags, self._path)
        self._lock = threading.Lock()
        self._way = ""

    def connect(self) -> socket.socket:
        """Return a connected socket whose peer is the account; wake the service if it sleeps.

        Raises:
            AccountError: the runtime directory is not the account's own, or this process is
                neither root nor the account.
            ServiceError: nothing answers and nothing could be started.
            UntrustedServiceError: the peer, or the owner of the path, is somebody else.
        """
        privileges.demand_may_become(self.account)
        with self._lock:
            if self._activation == "direct" or self._direct.listening:
                return self._direct.connect()
            self._let_linger()
            try:
                connection = self._connect_existing()
            except (FileNotFoundError, ConnectionRefusedError, UntrustedServiceError) as problem:
                return self._start(problem)
            self._say(f"using the one at {self._path}")
            return connection

    def _let_linger(self) -> None:
        """Once, also where a socket answers: it may be there for the length of a login only."""
        if self._linger and systemd.booted():
            try:
                systemd.enable_linger(self.account)
            except ServiceError as refusal:
                if self._activation == "systemd":
                    raise
                log.warning("%s", refusal)
            self._linger = False

    def _start(self, problem: Exception) -> socket.socket:
        """Have something listen where nothing does, for the reason given."""
        if self._activation == "existing":
            raise self._nothing_there(problem) from problem
        if isinstance(problem, UntrustedServiceError):
            metrics.REFUSED.add(reason=problem.reason)
        if self._activation == "systemd" or systemd.booted():
            try:
                if not self._is_told:
                    return self._connect_through_systemd()
                systemd.start_manager(self.account)  # for the runtime directory
            except (ServiceError, UntrustedServiceError) as refusal:
                if self._activation == "systemd":
                    raise
                log.warning("Not through systemd: %s", refusal)
                problem = refusal
        self._say(f"starting it directly, as there is none ({problem})")
        return self._direct.connect()

    def _connect_through_systemd(self) -> socket.socket:
        if not systemd.booted():
            raise ServiceError(
                "This host does not run systemd. Set activation to 'auto' or 'direct'."
            )
        systemd.start_manager(self.account)
        how: Literal["start", "restart"]
        for how in ("start", "restart"):
            systemd.bring_up(self.account, how)
            metrics.WAKEUPS.add(activation="systemd")
            try:
                connection = self._connect_existing()
            except (FileNotFoundError, ConnectionRefusedError, UntrustedServiceError) as error:
                problem = error
                continue
            self._say(f"{systemd.SOCKET} of its user manager has been started")
            return connection
        raise ServiceError(
            f"{systemd.SOCKET} of {self.account.name} is active, but it is not what listens at "
            f"{self.account.socket_path} ({problem}). Look at it as {self.account.name}: "
            f"'systemctl --user cat {systemd.SOCKET}' must listen on %t/podman/podman.sock.",
            socket=str(self.account.socket_path),
            unit=systemd.SOCKET,
        ) from problem

    def _say(self, way: str) -> None:
        """Tell which way is taken, when it changes."""
        if way != self._way:
            log.info("Podman's service of %s: %s", self.account.name, way)
            self._way = way

    @property
    def failure(self) -> ServiceError | None:
        """Why the service that was started last ended at once, if it did; takes some ms."""
        if self._direct.failure or self._direct.listening:
            return self._direct.failure
        return systemd.service_failure(self.account)

    @property
    def crash_loop(self) -> ServiceError | None:
        """Why a service that owes an answer has none to give, if it never lives to; takes 3 s."""
        return None if self._direct.listening else systemd.crash_loop(self.account)

    def close(self) -> None:
        """Let go of the socket; a service that runs ends itself when idle."""
        with self._lock:
            self._direct.close()

    def _connect_existing(self) -> socket.socket:
        path_descriptor = open_socket_path(self.account, self._path)
        try:
            return connect_pinned(self.account, path_descriptor)
        finally:
            os.close(path_descriptor)

    def _nothing_there(self, problem: Exception) -> PodmanSpawnerError:
        if isinstance(problem, PodmanSpawnerError):
            return problem
        return ServiceError(
            f"No Podman service answers at {self._path} ({problem}). Start one as "
            f"{self.account.name}: 'systemctl --user enable --now podman.socket', or set "
            "activation to 'auto'.",
            socket=str(self._path),
        )


_services: dict[tuple[object, ...], PodmanService] = {}
_services_lock = threading.Lock()


def service_for(
    account: Account,
    *,
    activation: Activation = "auto",
    idle_seconds: int = 5,
    enable_linger: bool = True,
    environment: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> PodmanService:
    """Return the one service of an account that this process knows, for all who need it.

    Arguments as :class:`PodmanService`.
    """
    env = tuple(sorted((environment or {}).items()))
    key = (account.uid, activation, idle_seconds, enable_linger, env, tuple(flags))
    with _services_lock:
        service = _services.get(key)
        if service is None or service.account != account:
            service = _services[key] = PodmanService(
                account,
                activation=activation,
                idle_seconds=idle_seconds,
                enable_linger=enable_linger,
                environment=environment,
                flags=flags,
            )
        return service


def demand_own_service(activation: Activation, told: Mapping[str, object]) -> None:
    """Refuse options that only a service can honour that is started here.

    Args:
        activation: how services are reached.
        told: name of each such option, to its value; an empty one asks for nothing.

    Raises:
        SpecError: one of them is set, and nothing is started here.
    """
    for option, value in told.items():
        if value and activation in STARTED_ELSEWHERE:
            raise SpecError(
                option,
                f"activation is {activation!r}, so that the accounts' own services decide; write "
                'it into [engine] of their containers.conf (hooks_dir = ["/path"], env = '
                '["https_proxy=http://proxy"], runtime = "crun"), or set activation to \'auto\'',
            )
