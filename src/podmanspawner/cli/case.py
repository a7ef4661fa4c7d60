"""What the checks of one user look at: asked for when it is needed, and once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from podmanspawner import builder, fitting, ports
from podmanspawner.transports import name_here
from podmanspawner.users import probe_labels

if TYPE_CHECKING:
    from podmanspawner.account import Account
    from podmanspawner.answers import EngineInfo, Image
    from podmanspawner.client import UserPodman
    from podmanspawner.settings import ImageFacts, ServerSettings
    from podmanspawner.spec import ContainerSpec

    from .hub import HubConfiguration, Intent, Lone, Offer


@dataclass
class Case:
    """One user with one way to a server."""

    hub: HubConfiguration
    username: str
    offer: Offer

    @cached_property
    def spawner(self) -> Lone:
        """The user's spawner, which leaves the account as it is."""
        return self.hub.spawner(self.username, self.offer, enable_linger=False)

    @cached_property
    def configured(self) -> Lone:
        """The user's spawner as the Hub has it."""
        return self.hub.spawner(self.username, self.offer)

    @cached_property
    def account(self) -> Account:
        """The account behind the user."""
        return self.spawner.account()

    @cached_property
    def podman(self) -> UserPodman:
        """The account's Podman, awake; :meth:`close` closes it."""
        podman = self.spawner.podman(self.account)
        podman.ping()
        return podman

    @cached_property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""
        return self.podman.info()

    @cached_property
    def intent(self) -> Intent:
        """What a start would be made from."""
        return asyncio.run(self.spawner.intent())

    @cached_property
    def image(self) -> Image | None:
        """The server's image; None if the account does not have it."""
        name = name_here(self.intent.settings.image)
        return self.podman.images.inspect(name) if self.podman.images.exists(name) else None

    @cached_property
    def settings(self) -> ServerSettings:
        """The settings, with what the engine decides."""
        return fitting.for_engine(self.intent.settings, self.podman)

    def facts(self, image: Image) -> ImageFacts:
        """Return what is known of the image and of its user."""
        return fitting.image_facts(self.podman, image, self.intent.settings.container_user)

    def bare(self, image: Image, settings: ServerSettings) -> ContainerSpec:
        """Return a container as a server's, without anything that is the user's own.

        It is labelled as one that may be forgotten, and has no name.
        """
        settings = replace(
            settings,
            volumes={},
            read_only_volumes={},
            mounts=(),
            home_target="",
            working_dir="/",
            secrets=(),
            token_as_secret=False,
            extra_ports=(),
            healthcheck={"cmd": "none"},
        )
        settings = fitting.enforceable(settings, self.account)
        port = ports.free_port(settings.host_ip)
        spec = builder.build(settings, self.facts(image), self.account, port=port)
        return replace(spec, name=None, labels=probe_labels())

    def close(self) -> None:
        """Let go of the account's Podman."""
        if "podman" in vars(self):
            self.podman.close()
