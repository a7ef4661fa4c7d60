"""The Hub's configuration, and spawners as the Hub makes them, without a Hub."""

from __future__ import annotations

import logging
import os
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.objects import Server
from jupyterhub.user import User
from traitlets import TraitError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader
from traitlets.utils.importstring import import_item

from podmanspawner.account import Account
from podmanspawner.client import UserPodman
from podmanspawner.errors import PodmanSpawnerError, SpecError
from podmanspawner.spawner import PodmanSpawner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podmanspawner.credentials import Keyring
    from podmanspawner.images import PullPolicy
    from podmanspawner.names import ServerName
    from podmanspawner.settings import ServerSettings

PLACES = (Path("jupyterhub_config.py"), Path("/etc/jupyterhub/jupyterhub_config.py"))
"""Where a configuration is looked for, the first one first."""


class ConfigurationError(PodmanSpawnerError):
    """The Hub's configuration cannot be read, or makes no Hub with this spawner."""


@dataclass(frozen=True)
class Intent:
    """What a start of a server would be made from."""

    settings: ServerSettings
    keyring: Keyring
    pull_policy: PullPolicy


class Lone(PodmanSpawner):
    """A spawner of a configuration, with the Hub's objects around it but no Hub."""

    def account(self) -> Account:
        """Return the account behind the user, with or without subordinate ids.

        Raises:
            AccountError: there is none, or it must not be served.
        """
        return Account.lookup(self.account_name, demand_ids=False)

    @property
    def account_name(self) -> str:
        """Name of the account behind the user, be there one or not."""
        return self._account_name

    def podman(self, account: Account) -> UserPodman:
        """Return the account's Podman, reached as the Hub reaches it; a context manager."""
        return UserPodman(self._service(account))

    @property
    def server_name(self) -> ServerName:
        """The server, as its container's labels tell it."""
        return self._server_name

    @property
    def grace_period(self) -> int:
        """Seconds between the stop signal and SIGKILL."""
        return self._grace_period

    async def images(self) -> list[str]:
        """Return the images that the user may get, the one without a choice first.

        Raises:
            PodmanSpawnerError: what is offered is not well-formed.
        """
        menu = await self._menu()
        found = [(await self.intent()).settings.image, *menu.images.values()]
        for profile in menu.profiles:
            choices = [choice for option in profile.options for choice in option.choices]
            sets = (profile.overrides, *(choice.overrides for choice in choices))
            images = (overrides.get("image") for overrides in sets)
            found += [image for image in images if isinstance(image, str)]
        return list(dict.fromkeys([await self._filled_in(image, "image") for image in found]))

    def demand_stores(self) -> None:
        """Refuse shared stores that do not serve; see ``image_stores``."""
        self._demand_stores()

    async def intent(self) -> Intent:
        """Return what a start would be made from, if the user makes no choice.

        Raises:
            PodmanSpawnerError: an option makes no server.
        """
        with self._overridden(await self._chosen()):
            image = await self._image()
            return Intent(
                await self._settings_now(image),
                await self._keyring(image),
                self._original.pull_policy(self.pull_policy),
            )


@dataclass(frozen=True)
class Offer:
    """One way to a server of this spawner: the Hub's own class, or a profile of a wrapper's."""

    name: str
    """Key of the profile; empty without profiles."""
    spawner_class: type[PodmanSpawner]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the profile."""
    wrapper: Any = None
    """The wrapper's class."""


@dataclass
class HubConfiguration:
    """The Hub's configuration, read once."""

    path: Path | None
    """None for the options' own defaults."""
    config: Config
    app: Any
    """JupyterHub with this configuration, which never runs."""
    offers: list[Offer]

    @cached_property
    def users(self) -> list[str]:
        """Names of users that the configuration lets in."""
        found: set[str] = set()
        for section, options in self.config.items():
            if section.endswith("Authenticator") and isinstance(options, dict):
                for option in ("allowed_users", "admin_users"):
                    value = options.get(option, ())
                    found |= set(value) if isinstance(value, (set, list, tuple)) else set()
        return sorted(map(str, found))

    def spawner(self, username: str, offer: Offer, *, name: str = "", **options: Any) -> Lone:
        """Return a spawner of a user, made as the Hub makes it.

        Args:
            username: as the Hub knows the user; there need not be such a user.
            offer: which way to a server.
            name: of the server.
            options: in place of what is configured.

        Raises:
            ConfigurationError: an option has a value that it cannot have.
        """
        try:
            return self._spawner(username, offer, name, {**offer.options, **options})
        except (TraitError, SpecError) as error:
            raise ConfigurationError(f"{error}. Correct it in {self.where}") from error

    @property
    def hub_id(self) -> str:
        """What tells this Hub's containers from others; empty if no configuration was found."""
        if self.path is None:
            return ""
        return str(self.spawner("", self.offers[0]).hub_id)

    @cached_property
    def _db(self) -> Any:
        """A database in memory, for the Hub's own objects; the Hub's stays as it is."""
        return orm.new_session_factory("sqlite:///:memory:")()

    @property
    def where(self) -> str:
        """The file, in words."""
        return str(self.path) if self.path else "the configuration"

    def _spawner(self, username: str, offer: Offer, name: str, options: dict[str, Any]) -> Lone:
        own = offer.spawner_class
        bases = (Lone,) if issubclass(Lone, own) else (Lone, own)
        cls = Lone if bases == (Lone,) else type(f"Lone{own.__name__}", bases, {})
        db = self._db
        orm_user = orm.User.find(db, username) or orm.User(name=username)
        db.add(orm_user)
        orm_spawner = orm_user.orm_spawners.get(name) or orm.Spawner(name=name, user=orm_user)
        orm_spawner.server = orm.Server(base_url=f"{self.app.base_url}user/{username}/{name}")
        db.add(orm_spawner)
        db.commit()
        user = User(orm_user, {"hub": self.app.hub, "base_url": self.app.base_url}, db)
        given = {
            "user": user,
            "orm_spawner": orm_spawner,
            "hub": self.app.hub,
            "authenticator": SimpleNamespace(),
            "oauth_client_id": f"client-{username}",
        }
        made: Lone = cls(**given, config=self.config, **options)
        made.server = Server(orm_server=orm_spawner.server)
        made.api_token = "0" * 32
        if offer.wrapper:
            _take_over(offer.wrapper(**given, config=self.config), made, but=options)
        return made


def _take_over(wrapper: Any, spawner: Lone, *, but: Mapping[str, Any]) -> None:
    """Set the options that every spawner has to the wrapper's values, as the wrapper does."""
    own = set(spawner.trait_names(config=True)) - set(but)
    for option in own & set(wrapper.trait_names(config=True)):
        setattr(spawner, option, getattr(wrapper, option))


def read(path: Path | None) -> HubConfiguration:
    """Read a configuration of the Hub's; without a path the one that is found, or none.

    Raises:
        ConfigurationError: it cannot be read, or is none of this spawner.
    """
    if path is None:
        path = next((place for place in PLACES if place.is_file()), None)
    return _hub(load(path), path) if path else defaults()


def defaults() -> HubConfiguration:
    """Return what a Hub with this spawner is without a configuration."""
    return _hub(Config({"JupyterHub": {"spawner_class": PodmanSpawner}}), None)


def _hub(config: Config, path: Path | None) -> HubConfiguration:
    app = JupyterHub(log_level=logging.ERROR)
    try:
        app.update_config(config)
        app.init_hub()
        spawner_class = app.spawner_class
    except (TraitError, ValueError, ImportError) as error:
        raise ConfigurationError(f"{path}: {error}. Correct it there") from error
    return HubConfiguration(path, config, app, _offers(spawner_class, config, path))


def load(path: Path) -> Config:
    """Run a configuration file and return what it sets.

    Raises:
        ConfigurationError: it is not there, not to be trusted, or fails.
    """
    _demand_own(path)
    loader = PyFileConfigLoader(path.name, path=str(path.parent.absolute()))
    try:
        return loader.load_config()
    except (Exception, SystemExit) as error:
        lines = traceback.extract_tb(error.__traceback__)
        line = next((at.lineno for at in reversed(lines) if at.filename.endswith(path.name)), 0)
        if isinstance(error, SyntaxError):
            line = error.lineno or 0
        raise ConfigurationError(
            f"{path}, line {line}: {type(error).__name__}: {error}. Correct the file; it is run "
            "as the Hub runs it, with the variables of this shell"
        ) from error


def _demand_own(path: Path) -> None:
    """Refuse a file that somebody else can write: whoever reads a configuration runs it."""
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}. Name the Hub's configuration with -f FILE"
        ) from error
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002:
        raise ConfigurationError(
            f"{path} belongs to uid {status.st_uid} with mode {status.st_mode & 0o777:04o}, and "
            "would be run with your rights. Run the command as whom the Hub runs as, or let the "
            "file belong to you or root and nobody else write to it"
        )


def _offers(spawner_class: Any, config: Config, path: Path | None) -> list[Offer]:
    if issubclass(spawner_class, PodmanSpawner):
        return [Offer("", spawner_class)]
    found = []
    if hasattr(spawner_class, "child_class"):  # wrapspawner's
        wrapper = spawner_class(config=config)
        profiles = getattr(wrapper, "profiles", None)
        if profiles is None:
            profiles = [("", "", wrapper.child_class, wrapper.child_config)]
        for _, key, child, options in profiles:
            child_class = import_item(child) if isinstance(child, str) else child
            if issubclass(child_class, PodmanSpawner):
                found.append(Offer(key, child_class, options, spawner_class))
    if not found:
        raise ConfigurationError(
            f"{path or 'The configuration'} starts servers with {spawner_class.__name__}, which "
            "is not this package's. Set c.JupyterHub.spawner_class = 'podman'"
        )
    return found
