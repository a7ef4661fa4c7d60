"""What a start is given: the options, the Hub's environment, and what is made of them.

The verbs that do something with it are in ``vigil`` and ``spawner``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import certs, checks, compat, flags, metrics, names, stores
from .account import Account
from .activation import STARTED_ELSEWHERE, demand_own_service, service_for
from .builder import known_fields
from .client import UserPodman
from .credentials import Keyring
from .errors import ServiceError, SpecError, UntrustedServiceError
from .flags import Changes
from .settings import ServerSettings
from .threads import in_thread
from .traits import PodmanOptions
from .transports import local_source

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import TypeVar

    from .activation import PodmanService

    T = TypeVar("T")

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104, recognised, not bound
_LOOPBACK = ("127.0.0.1", "localhost")
_TRIES = 3
_NO_OPTIONS = ("engine", "container_port", "port_word", "secret_labels", "certificates")
"""Fields of the settings that are found out, or fixed."""


class Given(PodmanOptions):
    """What is known of a server before anything is done."""

    # what the Hub's own class has
    cert_paths: Any
    cmd: Any
    get_args: Any
    get_env: Any
    hub_connect_url: Any
    internal_ssl: Any
    name: Any
    user: Any

    @property
    def _account_name(self) -> str:
        return self._account_of(self.user.name)

    def _account_of(self, username: str) -> str:
        return names.expand(
            self.account_template, {"username": username}, option="account_template"
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

    @property
    def _grace_period(self) -> int:
        seconds: int = self._flags.fields.get("delete_grace_period", self._grace_seconds)
        return seconds

    async def _with_podman(
        self,
        work: Callable[[UserPodman], T],
        account_name: str = "",
        *,
        heavy: bool = False,
        end_by: float | None = None,
    ) -> T:
        """Do blocking work with the account's Podman, or another's, off the event loop."""
        name = account_name or self._account_name
        opened: list[UserPodman] = []

        def run() -> T:
            account = Account.lookup(name)
            with contextlib.closing(UserPodman(self._service(account))) as podman:
                opened.append(podman)
                if end_by is not None:
                    podman.end_by(end_by)
                try:
                    return work(podman)
                except UntrustedServiceError as error:
                    metrics.REFUSED.add(reason=error.reason)
                    raise

        def cancel() -> None:
            for podman in opened:
                podman.cancel()

        return await in_thread(name, run, cancel=cancel, heavy=heavy)

    async def _surely(self, work: Callable[[UserPodman], T], *, seconds: float = 60.0) -> T:
        """Do as :meth:`_with_podman`, and once more from the beginning if the service dies.

        Args:
            work: what is to be done.
            seconds: limit for all that is asked of the service.
        """
        with_podman = partial(self._with_podman, work, end_by=time.monotonic() + seconds)
        for _ in range(_TRIES - 1):
            try:
                return await with_podman()
            except ServiceError as error:
                self.log.warning("Trying again: %s", error)
        return await with_podman()

    def _service(self, account: Account) -> PodmanService:
        return service_for(
            account,
            activation=self.activation,
            idle_seconds=self.service_idle_seconds,
            environment=self._service_environment,
            flags=self._service_flags(account),
            enable_linger=self.enable_linger,
        )

    def _demand_stores(self) -> None:
        """Refuse stores that do not serve before a service is started that stumbles over them."""
        if self.activation in STARTED_ELSEWHERE:
            raise SpecError(
                "image_stores",
                "a service that exists already is told nothing. Name the stores in the account's "
                "~/.config/containers/storage.conf (additionalimagestores) and leave image_stores "
                "empty, or set activation to 'auto'; see docs/how-to/shared-images.md",
            )
        stores.check(Account.lookup(self._account_name), self.image_stores)

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

    @property
    def _service_environment(self) -> dict[str, str]:
        if self.activation in STARTED_ELSEWHERE:
            return {}
        driver = stores.environment(self.image_stores)
        return {**driver, **self._original.service_environment, **self.service_environment}

    def _service_flags(self, account: Account) -> tuple[str, ...]:
        if self.activation in STARTED_ELSEWHERE:
            return ()
        hooks = (f"--hooks-dir={path}" for path in self.hooks_dir)
        return (*stores.flags(account, self.image_stores), *hooks, *self._flags.service_flags)

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

    def _settings(self) -> ServerSettings:
        """Return the options as they are configured, but for those that take some work."""
        environment = self._environment()
        values: dict[str, Any] = {
            "server": self._server_name,
            "environment": environment,
            "one_account": "{username}" not in self.account_template,
            "cmd": tuple(self.cmd) if self.cmd else None,
            "args": tuple(self.get_args()),
            "hub_port": _loopback_port(environment["JUPYTERHUB_API_URL"]),
            "hub_everywhere": self._hub_everywhere,
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
    def _hub_everywhere(self) -> bool:
        """Whether the Hub listens on all addresses, and nobody says by which one it is met."""
        said = self.hub_connect_url is not None or self.hub.connect_url
        return not said and self.hub.ip in _EVERYWHERE and self.hub.connect_ip in ("", *_LOOPBACK)

    def _environment(self) -> dict[str, Any]:
        """Return the Hub's environment; a Hub that listens everywhere is met on the loopback.

        By its own name it may not be: Debian's /etc/hosts has the host's name at 127.0.1.1.
        """
        environment: dict[str, Any] = self.get_env()
        if self.hub_connect_url is None and self.hub.url.startswith("http+unix:"):
            raise SpecError(
                "hub_connect_url",
                "the Hub listens on a Unix socket, which no container sees. Let it listen on an "
                "address (c.JupyterHub.hub_bind_url), or set the URL by which containers reach it",
            )
        if self._hub_everywhere:
            for key in ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"):
                parts = urlsplit(environment[key])
                environment[key] = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
        return environment

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


async def _result(value: Any) -> Any:
    """Return what a function of the administrator's returned, or what comes of it."""
    return await value if inspect.isawaitable(value) else value


def _loopback_port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port if parts.hostname in _LOOPBACK else None
