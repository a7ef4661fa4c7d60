"""``PodmanSpawner``: the Hub's verbs. What they do to a container is in ``server``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import inspect
import itertools
import logging
import os
import pwd
import shlex
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from tornado import web
from traitlets import default
from traitlets.config import Application

from . import certs, checks, compat, flags, names, ports, server, sources
from .account import Account
from .activation import demand_own_service, service_for
from .answers import plain, quoted
from .builder import known_fields
from .client import UserPodman
from .credentials import Keyring
from .errors import AccountError, ContainerNotFound, PodmanError, PodmanSpawnerError, SpecError
from .flags import Changes
from .readiness import speaks_http
from .settings import ServerSettings
from .threads import in_thread
from .traits import PodmanOptions
from .transports import local_source

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from typing import TypeVar

    from .answers import Container
    from .watch import Watch

    T = TypeVar("T")

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104, recognised, not bound
_LOOPBACK = ("127.0.0.1", "localhost")
_TRY_SECONDS = 0.1
_TRIES_A_LOOK = 5
_HEALTH_SECONDS = 1.0
_POLL_TRIES = 3
_UNKNOWN_EXIT = 1
_NO_OPTIONS = ("engine", "container_port", "port_word", "secret_labels", "certificates")
"""Fields of the settings that are found out, or fixed."""


class PodmanSpawner(PodmanOptions, Spawner):  # type: ignore[misc]  # untyped package
    """Start each user's server as a container in that user's own rootless Podman."""

    container_id = ""
    """Id of the container; empty before the first start and after the end."""
    _starting = False
    _kept_id = ""
    """Id of a container that was kept from before this start."""
    _watch: Watch | None = None
    """The running server's process, if it can be held."""
    _port = 0
    """Where the running server listens; 0 if it was started by a Hub before this one."""
    _exit_code = 0
    """How the last server ended."""
    _telling: asyncio.Future[None] | None = None
    """The news of its end, on their way to the Hub."""

    @classmethod
    def class_own_traits(cls, **metadata: Any) -> dict[str, Any]:
        """Return the options of ``traits`` too: to an administrator they are this class's."""
        traits = cls.class_traits(**metadata).items()
        return {name: trait for name, trait in traits if getattr(Spawner, name, None) is not trait}

    def __init__(self, **options: Any) -> None:
        """Let the library's own messages appear in the Hub's log."""
        super().__init__(**options)
        self._stages: list[dict[str, Any]] = []
        self._stage_added = asyncio.Event()
        self._asking = asyncio.Lock()
        logging.getLogger(__package__).parent = self.log

    # state: the least that finds the server again after a restart of the Hub

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the container's id; all else is found by its name and labels."""
        super().load_state(state)
        self.container_id = state.get("container_id", "")

    def get_state(self) -> dict[str, Any]:
        """Save the container's id: it tells this very container from one that took its name."""
        state: dict[str, Any] = super().get_state()
        if self.container_id:
            state["container_id"] = self.container_id
        return state

    def clear_state(self) -> None:
        """Forget the container."""
        super().clear_state()
        self.container_id, self._port = "", 0
        self._let_go()

    # the Hub's verbs

    async def start(self) -> str:
        """Start the server and return its URL, once it answers there.

        Raises:
            tornado.web.HTTPError: with a text for the user; no container is left.
        """
        self._starting = True
        self._let_go()
        self._exit_code = 0
        self._stages.clear()
        try:
            return await self._start()
        except PodmanSpawnerError as error:
            await self._discard()
            raise _for_the_page(error) from error
        except BaseException:  # cancelled by the Hub's start_timeout, above all
            await self._discard()
            raise
        finally:
            self._starting = False
            self._stage_added.set()

    async def _start(self) -> str:
        certificates = self._certificates()  # before the Hub makes the user's next ones
        self._report(10, f"Waking Podman for {self._account_name}")
        if not self.remove:
            await self._take_kept_token()
        settings = await self._settings_now(await self._image())
        settings = dataclasses.replace(settings, certificates=certificates)
        keyring = await self._keyring(settings.image)
        loop = asyncio.get_running_loop()

        def report(percent: int, message: str) -> None:
            loop.call_soon_threadsafe(self._report, percent, message)

        launch = partial(
            server.launch,
            settings=settings,
            pull_policy=self._original.pull_policy(self.pull_policy),
            pull_seconds=self.pull_timeout,
            keyring=keyring,
            keep=not self.remove,
            report=report,
        )
        await self._pull_first(settings.image, keyring)
        started = await self._with_podman(launch)
        self.container_id, self._port = started.id, started.port
        await self._run_post_start(started.id)
        self._report(80, "Waiting for the server to answer")
        await self._answers(started)
        await self._is_healthy(started)
        self._notice_the_end()
        proto = "https" if certificates else "http"
        return f"{proto}://{_url_host(self._reach_ip)}:{started.port}"

    async def poll(self) -> int | None:
        """Return None while the server runs, else its exit code (0 before the first start).

        While its process is held, nobody is asked for that.
        """
        if self._starting or (self._watch and self._watch.fine):
            return None
        async with self._asking:  # one of two who ask buries it, the other is told the same
            self._let_go()
            return await self._ask() if self.container_id else self._exit_code

    async def _ask(self) -> int | None:
        """Return what the engine says; else judge by what is seen without it."""
        port = self._port or (self.server.port if self.server else 0)
        for attempt in range(_POLL_TRIES):
            try:
                found = await self._with_podman(partial(self._look, port=port))
            except PodmanSpawnerError as error:
                self.log.warning("Cannot ask for the state of %s: %s", self._log_name, error)
                await asyncio.sleep(attempt / 2)
            else:
                return self._take(found)
        return await in_thread(self._account_name, partial(self._state_without_engine, port))

    async def stop(self, now: bool = False) -> None:
        """Stop the server; remove its container, unless ``remove`` is False.

        Args:
            now: without the grace period.
        """
        self._let_go()
        await self._with_podman(partial(self._stop, seconds=0 if now else self._grace_period))
        self.container_id = ""

    async def delete_forever(self) -> None:
        """Remove what the server leaves, because it is deleted, alone or with its user."""
        try:
            deleted = await self._with_podman(
                partial(sources.delete, server=self._server_name, volumes=self.delete_volumes)
            )
        except AccountError as error:  # nor is there anything of it
            self.log.info("Nothing to delete of %s: %s", self._log_name, error)
            return
        self.log.info(
            "Deleted with %s: containers: %s; volumes: %s. Volumes that stay: %s",
            self._log_name,
            *(", ".join(found) or "none" for found in dataclasses.astuple(deleted)),
        )

    async def rename(self, old_name: str, new_name: str) -> None:
        """Remove a container that was kept under the old name: its labels cannot be changed.

        Volumes of the old name stay, and are not mounted any more.

        Args:
            old_name: the server's name now.
            new_name: its name from now on.
        """
        self.log.info("Server %r of %s becomes %r", old_name, self.user.name, new_name)
        with contextlib.suppress(AccountError):  # nor is there anything of it
            await self._with_podman(self._remove_kept)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the stages of the start as they come; the Hub may ask before the start begins."""
        told = 0
        while True:
            self._stage_added.clear()
            for stage in self._stages[told:]:
                told += 1
                yield stage
            if not self._starting and (self._stages or not self._spawn_pending):
                return
            if told == len(self._stages):
                await self._stage_added.wait()

    def _report(self, percent: int, message: str) -> None:
        self._stages.append({"progress": percent, "message": plain(message)})
        self._stage_added.set()

    # what the verbs consist of

    @property
    def _account_name(self) -> str:
        return names.expand(
            self.account_template, {"username": self.user.name}, option="account_template"
        )

    @property
    def _server_name(self) -> names.ServerName:
        return names.ServerName(self.hub_id, self.user.name, self.name)

    @property
    def _container_name(self) -> str:
        return self._server_name.container(self.prefix, self.name_template)

    @property
    def _reach_ip(self) -> str:
        """Address at which the Hub and the proxy find the server's port."""
        return "127.0.0.1" if self.host_ip in _EVERYWHERE else self.host_ip

    @property
    def _grace_seconds(self) -> int:
        """Seconds between the stop signal and SIGKILL, by whichever name they are set."""
        seconds: int | None = self.stop_timeout
        return self.delete_grace_period if seconds is None else seconds

    @default("ssl_alt_names")
    def _default_ssl_alt_names(self) -> list[str]:
        return [*self.trusted_alt_names, f"IP:{self._reach_ip}"]

    def _certificates(self) -> certs.Certificates | None:
        """Read what the Hub has just made; not in ``move_certs``, which a wrapper keeps back."""
        if not self.internal_ssl:
            return None
        return certs.Certificates.read(self.cert_paths, self.user.settings["internal_ssl_cert"])

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.internal_ssl:
            return None
        known = self.user.settings
        return certs.hub_context(
            known["internal_ssl_key"], known["internal_ssl_cert"], known["internal_ssl_ca"]
        )

    async def _with_podman(self, work: Callable[[UserPodman], T]) -> T:
        """Do blocking work with the account's Podman, off the event loop."""
        opened: list[UserPodman] = []

        def run() -> T:
            account = Account.lookup(self._account_name)
            service = service_for(
                account,
                activation=self.activation,
                idle_seconds=self.service_idle_seconds,
                environment=self._service_environment,
                flags=self._service_flags,
            )
            with contextlib.closing(UserPodman(service)) as podman:
                opened.append(podman)
                podman.ping()
                return work(podman)

        def cancel() -> None:
            for podman in opened:
                podman.cancel()

        return await in_thread(self._account_name, run, cancel=cancel)

    async def _image(self) -> str:
        """Return the image: the administrator's template filled in, or what the function says."""
        if isinstance(self.image, str):
            return await self._filled_in(self.image, "image")
        image = await _result(self.image(self))
        if not isinstance(image, str):
            raise SpecError("image", f"the function returned {type(image).__name__}, not a text")
        return image

    async def _keyring(self, image: str) -> Keyring:
        """Return where credentials are found; the function is asked only if there is a pull."""
        given: Any = {}
        if self.registry_credentials is not None and local_source(image) is None:
            policy: Any = self._original.pull_policy(self.pull_policy)
            if await self._with_podman(lambda podman: podman.images.must_pull(image, policy)):
                given = await _result(self.registry_credentials(self))
        authfile = await self._filled_in(self.authfile, "authfile")
        return Keyring(given=given, authfile=authfile, hub_authfile=self.hub_authfile)

    async def _filled_in(self, template: str, option: str) -> str:
        """Return a template of the administrator's with what is known before the image is."""
        if not {*"{}"} & {*template}:
            return template
        name = self._account_name
        account = await in_thread(name, partial(Account.lookup, name))
        fields = known_fields(self._server_name, self.prefix, account)
        return names.expand(template, fields, option=option)

    @property
    def _original(self) -> compat.Original:
        return compat.Original.of(self)

    @property
    def _flags(self) -> Changes:
        """What ``podman_additional_cmds`` say; what they say wrong is said at the start alone."""
        try:
            return self._original.changes
        except SpecError:
            return Changes()

    @property
    def _grace_period(self) -> int:
        seconds: int = self._flags.fields.get("delete_grace_period", self._grace_seconds)
        return seconds

    @property
    def _service_environment(self) -> dict[str, str]:
        if self.activation == "existing":
            return {}
        return {**self._original.service_environment, **self.service_environment}

    @property
    def _service_flags(self) -> tuple[str, ...]:
        if self.activation == "existing":
            return ()
        return (*(f"--hooks-dir={path}" for path in self.hooks_dir), *self._flags.service_flags)

    def _demand_own_service(self) -> None:
        """Refuse what only a service can honour that the Hub starts."""
        for path in self.hooks_dir:
            checks.path("hooks_dir", path)
        told = {
            "hooks_dir": self.hooks_dir,
            "service_environment": self.service_environment,
            "https_proxy": self._original.service_environment,
            flags.OPTION: self._flags.service_flags,
        }
        demand_own_service(self.activation, told)

    async def _settings_now(self, image: str) -> ServerSettings:
        """Return the settings, with what the original's say."""
        original = self._original
        self._demand_own_service()
        original.tell(self.log)
        variables: dict[str, str] = {}
        if files := original.changes.env_files:
            name = self._account_name
            read = lambda: compat.read_variables(Account.lookup(name), files)  # noqa: E731
            variables = await in_thread(name, read)
        settings = dataclasses.replace(self._settings(), image=image)
        return original.settings(settings, variables)

    async def _pull_first(self, image: str, keyring: Keyring) -> None:
        """Pull what ``pull_image`` names, if the original's settings ask for it."""
        if first := self._original.pull_first(image):
            self._report(20, f"Pulling the image {first}")
            pull = partial(_pull, image=first, seconds=self.pull_timeout, keyring=keyring)
            await self._with_podman(pull)

    def _settings(self) -> ServerSettings:
        """Return the options as they are configured, but for those that take some work."""
        environment = self._environment()
        values: dict[str, Any] = {
            "server": self._server_name,
            "environment": environment,
            "cmd": tuple(self.cmd) if self.cmd else None,
            "args": tuple(self.get_args()),
            "hub_port": _loopback_port(environment["JUPYTERHUB_API_URL"]),
            "hub_everywhere": self.hub_connect_url is None and self.hub.ip in _EVERYWHERE,
            "mem_limit": self._limit("mem_limit", int),
            "cpu_limit": self._limit("cpu_limit", float),
            "mem_guarantee": self._limit("mem_guarantee", int),
            "cpu_guarantee": self._limit("cpu_guarantee", float),
            "modify_spec": self._modify_spec,
            "secrets": tuple(map(self._secret, self.secrets)),
            "delete_grace_period": self._grace_seconds,
        }
        for option in dataclasses.fields(ServerSettings):
            if option.name not in values and option.name not in _NO_OPTIONS:
                values[option.name] = getattr(self, option.name)
        return ServerSettings(**values)

    @property
    def _modify_spec(self) -> Callable[[dict[str, Any]], object] | None:
        hook: Callable[..., object] | None = self.modify_spec_hook
        return partial(hook, self) if hook else None

    def _secret(self, entry: Any) -> Any:
        """Return an entry of ``secrets`` whose function, if it has one, knows its spawner."""
        if not isinstance(entry, dict) or not callable(entry.get("value")):
            return entry
        return {**entry, "value": partial(entry["value"], self)}

    def _limit(self, option: str, kind: Callable[[Any], Any]) -> Any:
        value = getattr(self, option)
        return None if value is None else kind(value)

    def _environment(self) -> dict[str, Any]:
        """Return the Hub's environment; a Hub that listens everywhere is met on the loopback.

        By its own name it may not be: Debian's /etc/hosts has the host's name at 127.0.1.1.
        """
        environment: dict[str, Any] = self.get_env()
        if self.hub_connect_url is None and self.hub.ip in _EVERYWHERE:
            for key in ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"):
                parts = urlsplit(environment[key])
                environment[key] = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
        return environment

    async def _take_kept_token(self) -> None:
        """Let a kept container keep its token, if the Hub knows it as this user's."""
        kept = await self._with_podman(
            lambda podman: server.find(podman, self._server_name, self._container_name)
        )
        self._kept_id = kept.id if kept else ""
        token = server.kept_token(kept) if kept else ""
        known = orm.APIToken.find(self.user.db, token) if token else None
        if known is not None and known.user is self.user.orm_user:
            self.api_token = token

    async def _answers(self, started: server.Started) -> None:
        """Return once the server answers at its port, which is proved to be the account's.

        The engine is asked now and then whether the server still runs, not at every try.
        """
        context = self._ssl_context()
        for attempt in itertools.count():
            answered = await speaks_http(
                self._reach_ip, started.port, self.server.base_url, context
            )
            asked = answered or attempt % _TRIES_A_LOOK == 0
            if (
                asked
                and await self._with_podman(partial(self._listens, started=started))
                and answered
            ):
                return
            await asyncio.sleep(_TRY_SECONDS)

    def _listens(self, podman: UserPodman, *, started: server.Started) -> bool:
        """Whether the account listens at the server's port; then its process is held."""
        place = (self._reach_ip, started.port)
        found = server.listening(podman, started.id, *place)
        if found and self._watch is None:
            self._watch = server.watch(podman, found, *place)
        return found is not None

    def _post_start_words(self) -> list[str]:
        command: str | list[str] = self.post_start_cmd
        try:
            return shlex.split(command) if isinstance(command, str) else command
        except ValueError as error:
            raise SpecError("post_start_cmd", f"{command!r}: {error}; or write a list") from error

    async def _run_post_start(self, container: str) -> None:
        """Run ``post_start_cmd``; whatever becomes of it is told in the log."""
        words = self._post_start_words()
        if not words:
            return
        try:
            done = await self._with_podman(
                partial(
                    UserPodman.exec,
                    container=container,
                    command=words,
                    seconds=float(self.start_timeout),
                )
            )
        except PodmanError as error:
            self.log.warning("post_start_cmd of %s could not run: %s", self._log_name, error)
            return
        self.log.log(
            logging.WARNING if done.exit_code else logging.INFO,
            "post_start_cmd of %s ended with exit code %i. It printed:\n%s",
            self._log_name,
            done.exit_code,
            quoted(done.output),
        )

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

    def _found(self, podman: UserPodman) -> Container | None:
        """Return the server's container: by its id, whatever it is called now, or by its name."""
        if self.container_id:
            with contextlib.suppress(ContainerNotFound):
                return podman.inspect(self.container_id)
        return server.find(podman, self._server_name, self._container_name)

    def _look(self, podman: UserPodman, *, port: int) -> Watch | int | None:
        """Ask the engine; bury what has died, since the Hub will not."""
        try:
            found, listens = server.look(podman, self.container_id, self._reach_ip, port)
            if found.state.running and not listens:
                self.log.error(
                    "The server %s is ended: it does not listen at port %i any more, where "
                    "somebody else could be taken for it",
                    self._log_name,
                    port,
                )
                podman.stop(found.id, seconds=0)
                found = podman.inspect(found.id)
            if found.state.running:
                return server.watch(podman, found, self._reach_ip, port)
            return self._bury(podman, found)
        except ContainerNotFound:
            return _UNKNOWN_EXIT

    def _bury(self, podman: UserPodman, found: Container) -> int:
        last_lines = server.last_words(podman, found.id)
        self.log.warning(
            "The server %s ended with exit code %i%s. Its last lines:\n%s",
            self._log_name,
            found.state.exit_code,
            ", out of memory" if found.state.oom_killed else "",
            quoted(last_lines),
        )
        if self.remove:
            server.remove(podman, found)
        return found.state.exit_code

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
            await asyncio.sleep(_TRY_SECONDS)
        if self.container_id == container:
            await self.poll_and_notify()

    def _let_go(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None

    def _state_without_engine(self, port: int) -> int | None:
        """Judge by the kernel's word alone: somebody of the account listens where it should."""
        try:
            account = Account.lookup(self._account_name)
        except AccountError:  # it has been deleted
            return _UNKNOWN_EXIT
        uids = ports.listener_uids(self._reach_ip, port) if port else ()
        return None if uids and all(map(account.owns, uids)) else _UNKNOWN_EXIT

    def _stop(self, podman: UserPodman, *, seconds: int) -> None:
        found = self._found(podman)
        if found is None:
            return
        if found.state.running:
            podman.stop(found.id, seconds=seconds)
        if self.remove:
            server.remove(podman, found)

    def _remove_kept(self, podman: UserPodman) -> None:
        if found := server.find(podman, self._server_name, self._container_name):
            server.remove(podman, found)

    async def _discard(self) -> None:
        """Remove what a failed start left; what was kept from before is only stopped."""
        self._let_go()
        self.container_id = ""

        def discard(podman: UserPodman) -> None:
            found = server.find(podman, self._server_name, self._container_name)
            if found and found.id == self._kept_id:
                podman.stop(found.id, seconds=0)
            elif found:
                server.remove(podman, found)
            elif self.secrets or self.token_as_secret:
                server.forget_secrets(podman, self._server_name)

        try:
            await self._with_podman(discard)
        except PodmanSpawnerError as error:
            self.log.info("Nothing to remove of %s: %s", self._log_name, error)


async def _result(value: Any) -> Any:
    """Return what a function of the administrator's returned, or what comes of it."""
    return await value if inspect.isawaitable(value) else value


def _pull(podman: UserPodman, image: str, seconds: float, keyring: Keyring) -> None:
    podman.images.ensure(image, "always", seconds=seconds, keyring=keyring)


def _loopback_port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port if parts.hostname in _LOOPBACK else None


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _for_the_page(error: PodmanSpawnerError) -> web.HTTPError:
    """Return an error whose text the Hub's page shows, whatever the Hub's version."""
    text = plain(str(error), 4000)
    shown = web.HTTPError(500, "%s", text)
    shown.jupyterhub_message = text  # type: ignore[attr-defined]  # the Hub looks for it
    return shown


def check_at_startup() -> None:
    """Say at the Hub's start, not at a user's first visit, whom it cannot serve.

    Called whenever somebody asks the package for the class: the Hub does so while it reads its
    configuration, hence the look at it a moment later.
    """
    if os.geteuid() != 0:
        with contextlib.suppress(RuntimeError):  # no event loop: no Hub is starting
            asyncio.get_running_loop().call_soon(_warn_without_root)


@functools.cache
def _warn_without_root() -> None:
    if not Application.initialized():
        return
    application = Application.instance()
    template = PodmanSpawner.account_template.default_value
    for section in ("Spawner", "PodmanSpawner"):
        template = application.config[section].get("account_template", template)
    own = pwd.getpwuid(os.geteuid()).pw_name
    if template != own:
        application.log.warning(
            "This Hub runs as %s, not as root: it can start servers in the account %s only, and "
            "account_template is %r. Run the Hub as root, or set c.PodmanSpawner.account_template "
            "= %r to serve all its users in that account.",
            *(own, own, template, own),
        )
