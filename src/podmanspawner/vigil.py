"""Watch over a server: from the first sign that it answers to what there is to say of its end."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from . import leftovers, metrics, ports, server
from .account import Account
from .answers import quoted
from .errors import AccountError, ContainerNotFound, PodmanError, PodmanSpawnerError
from .given import Given
from .readiness import speaks_http
from .threads import in_thread

if TYPE_CHECKING:
    from .answers import Container
    from .client import UserPodman
    from .watch import Watch

_TELL_SECONDS = 0.1
_TRY_SECONDS = (0.01, 0.1)
"""Least and most."""
_TRY_SHARE = 0.05
"""Of what the server has taken so far: so much is lost at most by looking now and then."""
_LOOK_SECONDS = 0.5
_HEALTH_SECONDS = 1.0
_POLL_TRIES = 3
_UNKNOWN_EXIT = 1


class Vigil(Given):
    """Whether a server runs."""

    container_id = ""
    """Id of the container; empty before the first start and after the end."""
    _starting = False
    _unseen = True
    """Whether this Hub does not know how the server's last start went."""
    _watch: Watch | None = None
    """The running server's process, if it can be held."""
    _port = 0
    """Where the running server listens; 0 if it was started by a Hub before this one."""
    _exit_code = 0
    """How the last server ended."""
    _starved = False
    """Whether the kernel killed processes of the server for lack of memory, while it was held."""
    _telling: asyncio.Future[None] | None = None
    """The news of its end, on their way to the Hub."""

    # what the Hub's own class has, and the spawner
    pending: Any
    poll_and_notify: Any
    server: Any
    _discard: Any
    _report: Any

    def __init__(self, **options: Any) -> None:
        """Let one ask at a time."""
        super().__init__(**options)
        self._asking = asyncio.Lock()

    async def poll(self) -> int | None:
        """Return None while the server runs, else its exit code (0 before the first start).

        While its process is held, nobody is asked for that.
        """
        if self._starting:
            return None
        if self._watch and self._watch.fine:
            self._tell_of_kills(self._watch)
            return None
        async with self._asking:  # one of two who ask buries it, the other is told the same
            has_ended = self._watch is not None and not self._watch.running
            if self._watch:
                self._watch.new_kills()  # not told: it may be its end, which tells it
                self._starved = self._watch.starved
            self._let_go()
            if self.container_id:
                return await self._ask(has_ended)
            if self._unseen and self.server:  # a Hub died in the middle of its start
                self._unseen = False
                await self._discard(keep=not self.remove)
            return self._exit_code

    def _tell_of_kills(self, watch: Watch) -> None:
        """Log each time that processes of the server, such as kernels, were killed for memory."""
        kills = watch.new_kills()
        if kills:
            metrics.MEMORY_KILLS.add(kills)
            self.log.warning(
                "Out of memory in the server %s, %s: %i of its processes killed; it goes on",
                self._log_name,
                server.memory_limit(watch.memory_limit),
                kills,
            )

    async def _ask(self, has_ended: bool) -> int | None:
        """Return what the engine says; else judge by what is seen without it."""
        port = self._known_port
        for attempt in range(_POLL_TRIES):
            try:
                found = await self._with_podman(
                    partial(self._look, port=port, has_ended=has_ended)
                )
            except PodmanSpawnerError as error:
                self.log.warning("Cannot ask for the state of %s: %s", self._log_name, error)
                await asyncio.sleep(attempt / 2)
            else:
                return self._take(found)
        if has_ended:
            metrics.DEATHS.add(cause="missed")
            return self._take(_UNKNOWN_EXIT)
        state = await in_thread(self._account_name, partial(self._state_without_engine, port))
        if state is not None:
            metrics.DEATHS.add(cause="gone")
        return state

    def _hold(self, started: server.Started) -> None:
        """Hold the process of a server that has just been started."""
        if started.found.state.running:
            place = (self._reach_ip, started.port)
            self._watch = server.watch(started.account, started.found, *place)

    async def _answers(self, started: server.Started) -> None:
        """Return once the server answers at its port, which is proved to be the account's.

        The engine is asked if something is wrong; where the process cannot be held, also whether
        the server still runs, not at every try.
        """
        context = self._ssl_context()
        began, asked = time.monotonic(), -math.inf
        while True:
            now = time.monotonic()
            answered = await speaks_http(
                self._reach_ip, started.port, self.server.base_url, context
            )
            if answered and self._watch and self._watch.fine:
                return
            has_ended = self._watch is not None and not self._watch.running
            unknown = self._watch is None and now > asked + _LOOK_SECONDS
            if answered or has_ended or unknown:
                asked = now
                listens = await self._with_podman(
                    partial(self._listens, started=started, has_ended=has_ended)
                )
                if listens and answered:
                    return
            least, most = _TRY_SECONDS
            await asyncio.sleep(min(max((now - began) * _TRY_SHARE, least), most))

    def _listens(self, podman: UserPodman, *, started: server.Started, has_ended: bool) -> bool:
        """Whether the account listens at the server's port, by the engine's and kernel's word."""
        place = (self._reach_ip, started.port)
        return server.listening(podman, started.id, *place, has_ended=has_ended)

    async def _is_healthy(self, started: server.Started) -> None:
        """Return once the health check says so, if it is to be waited for."""
        if not self.healthy_timeout:
            return
        self._report(90, "Waiting until the server is healthy")
        look = partial(server.complaint, started=started, host=self._reach_ip)
        end = time.monotonic() + self.healthy_timeout
        while (printed := await self._with_podman(look)) is not None:
            if time.monotonic() > end:
                raise PodmanError(
                    f"The server is not healthy after {self.healthy_timeout:g} s. Correct it, or "
                    "set healthcheck or healthy_timeout otherwise. Its check printed last:\n"
                    + quoted(printed)
                )
            await asyncio.sleep(_HEALTH_SECONDS)

    def _look(self, podman: UserPodman, *, port: int, has_ended: bool) -> Watch | int | None:
        """Ask the engine; bury what has died, since the Hub will not."""
        try:
            found, is_well = server.look(
                podman, self.container_id, self._reach_ip, port, has_ended
            )
            cut_short = found.state.running and not is_well
            cause = ""
            if cut_short:
                cause = self._tell_of_loss(port, has_ended)
                server.stop(podman, found.id, seconds=0)
                found = podman.inspect(found.id)
            if found.state.running:
                return server.watch(podman.account, found, self._reach_ip, port)
            if not has_ended:
                cut_short |= server.end_forgotten(podman, found.id)
            if self._starved:  # a busy engine may have missed it
                found = replace(found, state=replace(found.state, oom_killed=True))
            code = self._bury(podman, found)
            metrics.DEATHS.add(cause=cause or server.cause_of_end(found))
        except ContainerNotFound:
            server.end_forgotten(podman, self.container_id)
            metrics.DEATHS.add(cause="gone")
            return _UNKNOWN_EXIT
        # without conmon the engine takes any end for a good one
        return code or (_UNKNOWN_EXIT if cut_short else 0)

    def _tell_of_loss(self, port: int, has_ended: bool) -> str:
        """Log why a server is ended that runs, as Podman says; return the metrics' word for it."""
        if has_ended:
            self.log.error("The server %s has ended, and Podman missed it", self._log_name)
            return "missed"
        self.log.error(
            "The server %s is ended: it does not listen at port %i any more, where somebody "
            "else could be taken for it",
            self._log_name,
            port,
        )
        return "lost_port"

    def _bury(self, podman: UserPodman, found: Container) -> int:
        last_lines = server.last_words(podman, found.id)
        self.log.log(
            logging.WARNING if found.state.exit_code else logging.INFO,
            "The server %s ended with %s. Its last lines:\n%s",
            self._log_name,
            server.how_it_ended(found),
            quoted(last_lines),
        )
        if self.remove:
            self._remove(podman, found)
        return found.state.exit_code

    def _remove(self, podman: UserPodman, found: Container) -> None:
        """Remove the container of a server that has ended; else the next start does."""
        try:
            server.remove(podman, found)
        except PodmanError as error:
            self.log.warning(
                "The container of %s, which has ended, stays until the next start: %s",
                self._log_name,
                error,
            )

    def _take(self, found: Watch | int | None) -> int | None:
        """Hold on to a server that was found running, or remember how it ended; return that."""
        if isinstance(found, int):
            self.container_id, self._exit_code = "", found
            return found
        self._watch = found
        self._notice_the_end()
        return None

    def _notice_the_end(self) -> None:
        if self._watch:
            self._watch.on_end(partial(self._ended, self.container_id))

    def _ended(self, container: str) -> None:
        """Tell the Hub at once, not at its next poll."""
        self._telling = asyncio.ensure_future(self._tell_the_hub(container))

    async def _tell_the_hub(self, container: str) -> None:
        while self.pending:  # noqa: ASYNC110, the Hub has no event for it; who to tell comes later
            await asyncio.sleep(_TELL_SECONDS)
        if self.container_id == container:
            await self.poll_and_notify()

    def _let_go(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None

    @property
    def _known_port(self) -> int:
        """Where the server listens; 0 if that is not known."""
        return self._port or (self.server.port if self.server else 0)

    async def _end_without_engine(self, error: PodmanSpawnerError, *, seconds: int) -> None:
        """End the server where its engine could not, or raise why the engine could not.

        By its id alone: whose a name is, only the engine can tell.
        """
        if not self.container_id or isinstance(error, AccountError):
            raise error

        def end() -> bool:
            account = Account.lookup(self._account_name)
            return leftovers.end(
                account, self.container_id, seconds=seconds, port=self._known_port
            )

        if not await in_thread(self._account_name, end):
            raise error
        self.log.warning(
            "The server %s is ended without Podman, which could not do it: %s Its container stays "
            "until the next start.",
            self._log_name,
            error,
        )

    def _state_without_engine(self, port: int) -> int | None:
        """Judge by the kernel's word alone: somebody of the account listens where it should."""
        try:
            account = Account.lookup(self._account_name)
        except AccountError:  # it has been deleted
            return _UNKNOWN_EXIT
        uids = ports.listener_uids(self._reach_ip, port) if port else ()
        return None if uids and all(map(account.owns, uids)) else _UNKNOWN_EXIT
