"""What a server is made from: the spawner's options and facts, as plain values.

Everything that has to be looked up (the image, the account, the engine) comes in as plain facts,
so that every rule of the builder can be read from a table of a test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from . import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .certs import Certificates
    from .network import Network

_PASTA_SINCE = (4, 4)


@dataclass(frozen=True)
class Engine:
    """What of the account's engine decides how a container is made."""

    version: tuple[int, ...]
    """Version of Podman, such as ``(5, 4, 2)``."""
    pasta: bool = False
    """Whether the program pasta is installed."""
    one_owner: bool = False
    """Whether every file of an image belongs to the account, whoever owns it in the image."""

    @property
    def private_network(self) -> Network:
        """``pasta`` where the engine has it, which can open one port of the host alone."""
        return "pasta" if self.pasta and self.version >= _PASTA_SINCE else "slirp4netns"


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What is known of the image, from its configuration and, where read, its passwd file."""

    id: str = ""
    """Hex id; a kept container of another image is thereby seen to be out of date."""
    user: str = ""
    """As configured: ``""``, ``"jovyan"``, ``"1000"``, ``"1000:100"``; or ``container_user``."""
    working_dir: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    entrypoint: Sequence[str] = ()
    uid: int | None = None
    """Number of the user, from the image's passwd; None if it was not read."""
    gid: int | None = None
    """Number of the user's group, likewise."""
    home: str = ""
    """Home of the user, likewise."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The spawner's options, each under its own name, and what the Hub says about the server."""

    image: str
    server: names.ServerName
    environment: Mapping[str, Any] = field(default_factory=dict)
    """The Hub's environment for the server. Numbers become texts; None leaves a name out."""
    cmd: Sequence[str] | None = None
    """None for the image's own command."""
    args: Sequence[str] = ()
    """Words after the command, be it the image's."""
    entrypoint: Sequence[str] = ()
    """Empty for the image's own."""
    container_user: str = ""
    """Empty for the image's own, or the mapping's."""
    port_word: str = ""
    """Text in ``cmd`` that stands for the port on which the server listens."""
    prefix: str = names.DEFAULT_PREFIX
    name_template: str = names.DEFAULT_TEMPLATE
    extra_labels: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    """Template; empty for the image's own."""
    volumes: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    """Host path or name of a volume to container path or ``{"bind": path, "mode": "ro,z"}``;
    templates."""
    read_only_volumes: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    tmpfs: Mapping[str, str | int] = field(default_factory=dict)
    """Container path, a template, to a size or to options."""
    mounts: Sequence[Mapping[str, Any]] = ()
    """As ``podman run --mount`` has them; source and target are templates."""
    home_target: str = "{image_home}"
    """Template of where the home is mounted; empty for nowhere."""
    home_source: str = "{home}"
    """Template of the home on the host."""
    one_account: bool = False
    """Whether the servers of all users run in one account."""
    create_sources: bool = False
    """Whether folders to be mounted for writing are made where they are missing."""
    user_mapping: str = "auto"
    supplemental_gids: Sequence[int | str] = ()
    image_stores: Sequence[str] = ()
    network: str = "private"
    engine: Engine = Engine((4, 3))
    hub_port: int | None = None
    """Port of the Hub on the host's 127.0.0.1; None if it listens elsewhere."""
    hub_everywhere: bool = False
    """Whether it listens on all addresses of the host."""
    host_ip: str = "127.0.0.1"
    port: int = 0
    """Port of the host that the administrator chose; 0 for one that is free."""
    port_range: tuple[int, int] | None = None
    """First and last of the host's ports to choose from; None for the kernel's choice."""
    extra_ports: Sequence[str | int] = ()
    """As ``podman run --publish`` has them; without an address on ``host_ip``."""
    container_port: int = 8888
    mem_limit: int | None = None
    """Bytes."""
    cpu_limit: float | None = None
    """Cores."""
    mem_guarantee: int | None = None
    """Bytes."""
    cpu_guarantee: float | None = None
    """Cores."""
    memswap_limit: int | None = None
    """Bytes of memory and swap together."""
    pids_limit: int | None = None
    unenforced_limits: Literal["error", "warn"] = "error"
    shm_size: int | None = None
    """Bytes."""
    ulimits: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    hostname: str = ""
    """Template; empty for a part of the container's id."""
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    devices: Sequence[str] = ()
    gpus: int | str | Sequence[int | str] | None = None
    umask: str = ""
    extra_annotations: Mapping[str, str] = field(default_factory=dict)
    keep_groups: bool = False
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    no_new_privileges: bool = True
    seccomp_profile: str = ""
    """Path on the host or ``"unconfined"``; empty for the engine's own."""
    selinux_opts: Sequence[str] = ()
    masked_paths: Sequence[str] = ()
    unmasked_paths: Sequence[str] = ()
    secrets: Sequence[str | Mapping[str, Any]] = ()
    """As ``podman run --secret`` has them; ``source`` is a template. With ``value``, a text or a
    function without arguments, the secret is made for the server."""
    token_as_secret: Literal[False, "env", "file"] = False
    secret_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that tell of secrets made for the server."""
    read_only: bool = False
    init: bool = True
    stop_signal: str | int = ""
    """Name or number; empty for the image's own."""
    delete_grace_period: int | None = None
    """Seconds."""
    remove: bool = True
    """Whether the container goes when the server stops; else it is kept."""
    healthcheck: Mapping[str, Any] = field(default_factory=dict)
    """As ``podman run --health-*`` has them, times in seconds."""
    extra_spec: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the engine's request, merged in last."""
    certificates: Certificates | None = None
    """With ``internal_ssl``."""
    modify_spec: Callable[[dict[str, Any]], object] | None = None
    """Given the engine's request, returns it as it shall be."""
