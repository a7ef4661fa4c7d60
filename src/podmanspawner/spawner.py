"""``PodmanSpawner``: the Hub's verbs. What they do to a container is in ``server``."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import pwd
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyterhub import orm
from jupyterhub.spawner import Spawner
from tornado import web
from traitlets import TraitError, default
from traitlets.config import Application

from . import metrics, server, sources
from .answers import plain, quoted
from .client import UserPodman
from .errors import (
    AccountError,
    ChoiceError,
    ContainerNotFound,
    PodmanError,
    PodmanSpawnerError,
    SpecError,
)
from .failure import failure_page
from .launching import launch
from .sweep import Sweep
from .threads import in_thread
from .vigil import Vigil

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .answers import Container
    from .credentials import Keyring
    from .watch import Watch

_STOP_SECONDS = 60.0
"""Beside the grace period."""
_DELETE_SECONDS = 300.0
"""Volumes may be large."""

metrics.publish()


class PodmanSpawner(Sweep, Vigil, Spawner):  # type: ignore[misc]  # untyped package
    """Start each user's server as a container in that user's own rootless Podman."""

    _kept_id = ""
    """Id of a container that was kept from before this start."""

    @classmethod
    def class_own_traits(cls, **metadata: Any) -> dict[str, Any]:
        """Return the options of ``traits`` too: to an administrator they are this class's."""
        traits = cls.class_traits(**metadata).items()
        return {name: trait for name, trait in traits if getattr(Spawner, name, None) is not trait}

    def __init__(self, **options: Any) -> None:
        """Let the library's own messages appear in the Hub's log."""
        super().__init__(**options)
        self._stages: list[dict[str, Any]] = []
        self._stage_clock = metrics.StageClock()
        self._stage_added = asyncio.Event()
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
        self._starting, self._unseen, self._starved = True, False, False
        self._let_go()
        self._exit_code = 0
        self._stages.clear()
        try:
            await self._undisturbed()
            with self._overridden(await self._chosen()):
                url = await self._start()
        except ChoiceError as error:
            self._forget_choice()
            raise self._refusal(error) from error
        except PodmanSpawnerError as error:
            if self.container_id or getattr(error, "answered", True):  # else nothing was made
                await self._discard()
            raise _for_the_page(error) from error
        except BaseException:  # cancelled by the Hub's start_timeout, above all
            await self._discard()
            raise
        else:
            self._stage_clock.leave("success")
            self._search_once()
            return url
        finally:
            self._stage_clock.leave("failure")
            self._starting = False
            self._stage_added.set()

    async def _start(self) -> str:
        certificates = self._certificates()  # before the Hub makes the user's next ones
        self._post_start_words()
        self._report(10, f"Waking Podman for {self._account_name}")
        if self.image_stores:
            await in_thread(self._account_name, self._demand_stores)
        if not self.remove:
            await self._take_kept_token()
        settings = await self._settings_now(await self._image())
        settings = dataclasses.replace(settings, certificates=certificates)
        keyring = await self._keyring(settings.image)
        loop = asyncio.get_running_loop()

        def report(percent: int, message: str) -> None:
            loop.call_soon_threadsafe(self._report, percent, message)

        start = partial(
            launch,
            settings=settings,
            pull_policy=self._original.pull_policy(self.pull_policy),
            pull_seconds=self.pull_timeout,
            keyring=keyring,
            report=report,
        )
        await self._pull_first(settings.image, keyring)
        started = await self._with_podman(start, heavy=True)
        self.container_id, self._port = started.id, started.port
        self._hold(started)
        await self._run_post_start(started.id)
        self._report(80, "Waiting for the server to answer")
        await self._answers(started)
        await self._is_healthy(started)
        self._notice_the_end()
        proto = "https" if certificates else "http"
        return f"{proto}://{_url_host(self._reach_ip)}:{started.port}"

    async def stop(self, now: bool = False) -> None:
        """Stop the server; remove its container, unless ``remove`` is False.

        Args:
            now: without the grace period.
        """
        watch, self._watch = self._watch, None
        self._let_go()
        if watch:
            watch.be_silent()
        seconds = 0 if now else self._grace_period
        try:
            stop = partial(self._stop, seconds=seconds, watch=watch)
            await self._surely(stop, seconds=seconds + _STOP_SECONDS)
        except PodmanSpawnerError as error:
            await self._end_without_engine(error, seconds=seconds)
        finally:
            if watch:
                watch.close()
        self.container_id = ""

    async def delete_forever(self) -> None:
        """Remove what the server leaves, because it is deleted, alone or with its user."""
        try:
            deleted = await self._surely(self._delete, seconds=_DELETE_SECONDS)
        except AccountError as error:  # nor is there anything of it
            self.log.info("Nothing to delete of %s: %s", self._log_name, error)
            return
        self.log.info(
            "Deleted with %s: containers: %s; volumes: %s. Volumes that stay: %s. Secrets: %s",
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
            await self._surely(self._remove_kept)

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
        self._stage_clock.enter(percent)
        self._stages.append({"progress": percent, "message": plain(message)})
        self._stage_added.set()

    # what the verbs consist of

    @default("ssl_alt_names")
    def _default_ssl_alt_names(self) -> list[str]:
        return [*self.trusted_alt_names, f"IP:{self._reach_ip}"]

    @default("env_keep")
    def _default_env_keep(self) -> list[str]:
        """Keep what JupyterHub 6 keeps; 5.0 has the Hub's own PATH in it, useless in an image."""
        return ["JUPYTERHUB_SINGLEUSER_APP"]

    async def _pull_first(self, image: str, keyring: Keyring) -> None:
        """Pull what ``pull_image`` names, if the original's settings ask for it."""
        if first := self._original.pull_first(image):
            self._report(20, f"Pulling the image {first}")
            pull = partial(_pull, image=first, seconds=self.pull_timeout, keyring=keyring)
            await self._with_podman(pull)

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

    def _found(self, podman: UserPodman) -> Container | None:
        """Return the server's container: by its id, whatever it is called now, or by its name."""
        if self.container_id:
            with contextlib.suppress(ContainerNotFound):
                return podman.inspect(self.container_id)
        return server.find(podman, self._server_name, self._container_name)

    def _stop(self, podman: UserPodman, *, seconds: int, watch: Watch | None) -> None:
        found = self._found(podman)
        self._end_container(podman, found, seconds=seconds, watch=watch)
        if found and self.remove:
            self._remove(podman, found)

    def _end_container(
        self,
        podman: UserPodman,
        found: Container | None,
        *,
        seconds: int,
        watch: Watch | None = None,
    ) -> None:
        """End what runs of the server, whatever its engine knows of that."""
        if found and found.state.running:
            asked = bool(watch and seconds) and server.ask_to_end(podman, found)
            ended = watch and asked and watch.wait(seconds)
            if not (ended and self.remove):  # a kept one the engine must know as ended
                server.stop(podman, found.id, seconds=0 if asked else seconds)
        else:
            names = [self._container_name, *filter(None, [self.container_id])]
            server.end_forgotten(podman, *names, seconds=seconds)

    def _delete(self, podman: UserPodman) -> sources.Deleted:
        deleted = sources.delete(podman, self._server_name, volumes=self.delete_volumes)
        secrets = server.forget_secrets(podman, self._server_name)
        return dataclasses.replace(deleted, secrets=secrets)

    def _remove_kept(self, podman: UserPodman) -> None:
        if found := server.find(podman, self._server_name, self._container_name):
            server.remove(podman, found)

    async def _discard(self, *, keep: bool = False) -> None:
        """Remove what a failed start left; what is to be kept, or was before, is only stopped."""
        self._let_go()
        self.container_id = ""

        def discard(podman: UserPodman) -> None:
            found = server.find(podman, self._server_name, self._container_name)
            self._end_container(podman, found, seconds=0)
            if found and not keep and found.id != self._kept_id:
                server.remove(podman, found)
            elif not found and (self.secrets or self.token_as_secret):
                server.forget_secrets(podman, self._server_name)

        try:
            await self._surely(discard)
        except PodmanSpawnerError as error:
            self.log.info("Nothing to remove of %s: %s", self._log_name, error)


def _pull(podman: UserPodman, image: str, seconds: float, keyring: Keyring) -> None:
    podman.images.ensure(image, "always", seconds=seconds, keyring=keyring)


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _for_the_page(error: PodmanSpawnerError) -> web.HTTPError:
    """Return an error whose text the Hub's page shows, whatever the Hub's version."""
    text = plain(str(error), 4000)
    shown = web.HTTPError(500, "%s", text)
    # the Hub looks for them: the one is for programs and its log, the other for people
    shown.jupyterhub_message = text  # type: ignore[attr-defined]
    shown.jupyterhub_html_message = failure_page(text)  # type: ignore[attr-defined]
    return shown


def check_at_startup() -> None:
    """Say at the Hub's start whom it cannot serve, and have what no server owns looked for.

    Called whenever somebody asks the package for the class: the Hub does so while it reads its
    configuration, hence all this a moment later: when it has opened its database, and before it
    looks at the servers in it.
    """
    with contextlib.suppress(RuntimeError):  # no event loop: no Hub is starting
        asyncio.get_running_loop().call_soon(_at_startup)


@functools.cache
def _at_startup() -> None:
    if not Application.initialized():
        return
    application: Any = Application.instance()
    if os.geteuid() != 0:
        _warn_without_root(application)
    if getattr(application, "db", None) is not None:  # the Hub itself, not one of its tools
        configured = application.spawner_class
        ours = issubclass(configured, PodmanSpawner)  # else it is a wrapper's child
        spawner_class = configured if ours else PodmanSpawner
        if _is_configured(spawner_class, application):
            spawner_class.sweep_at_startup(application)


def _is_configured(spawner_class: type[PodmanSpawner], application: Application) -> bool:
    """Whether the options have values that they can have; the Hub would first look at a login."""
    try:
        spawner_class(config=application.config)
    except TraitError as error:
        application.log.critical(
            "The configuration of %s is wrong: %s Until that is mended, no server of it starts, "
            "and users who have none cannot log in.",
            *(spawner_class.__name__, f"{str(error).rstrip('.')}."),
        )
        return False
    return True


def _warn_without_root(application: Application) -> None:
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
