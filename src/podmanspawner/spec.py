"""``ContainerSpec``: what one container is to be; frozen, validated, no I/O.

A spec that exists can be posted: whatever no container can have is refused when the object is
made, with the name of the option to change. ``to_json()`` is the engine's SpecGenerator.

ref: https://docs.podman.io/en/latest/_static/api.html, ContainerCreateLibpod
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from . import checks, extra
from .errors import SpecError
from .identity import UserMapping
from .mounts import FIELDS, Mount
from .network import NETWORKS, Network, Port
from .resources import Resources
from .secrets import Secret  # noqa: TC001, ContainerSpec is public: its types can be looked up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .health import HealthCheck

FINGERPRINT_LABEL = "podmanspawner.spec"

LOG_BYTES = 10 * 1024 * 1024
"""A container's log is a file in the account's own storage, started anew at this size: whoever
fills it fills no log of the host's, and the last lines are there as soon as a process has ended,
which the journal's are not. ref: podman-run(1), --log-driver and --log-opt
"""
SHM_MIN = 4096
"""Bytes; a page of memory."""
_NO_LIMIT = 2**64 - 1

_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """Everything the engine is told about one container.

    Raises:
        SpecError: an option has a value that no container can have.
    """

    image: str
    """Reference or id of an image that the account has."""
    name: str | None = None
    """Name of the container; the engine invents one for None."""
    command: Sequence[str] | None = None
    """Replaces the image's command; the image's entry point stays before it."""
    entrypoint: Sequence[str] | None = None
    """Replaces the image's entry point."""
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    """Absolute path in the container; it must exist there."""
    user: str | None = None
    """User (and group) of the process in the container, such as ``"1000:100"``."""
    groups: Sequence[str] = ()
    """Further groups of it, numbers or names of the container."""
    mounts: Sequence[Mount] = ()
    ports: Sequence[Port] = ()
    network: Network = "private"
    """``private`` is whatever the engine prefers for an account."""
    network_options: Sequence[str] = ()
    """Options of pasta or slirp4netns, as the program itself takes them."""
    networks: Sequence[str] = ()
    """With ``bridge``: names of networks that the account has; empty for the engine's own."""
    user_mapping: UserMapping = UserMapping()  # noqa: RUF009, it is frozen
    resources: Resources = Resources()  # noqa: RUF009, likewise
    shm_size: int | None = None
    """Bytes of ``/dev/shm``; None for the engine's 64 MB."""
    ulimits: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    """Name, such as ``nofile``, to the limit or to (soft, hard); -1 is no limit."""
    hostname: str | None = None
    """Name of the host inside; None for a part of the id."""
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    """Name to address: lines of the container's ``/etc/hosts``."""
    dns: Sequence[str] = ()
    """Addresses of name servers, instead of the host's."""
    dns_search: Sequence[str] = ()
    """Domains in which names are looked up; ``"."`` for none, instead of the host's."""
    dns_options: Sequence[str] = ()
    """Such as ``"ndots:2"``; ref: resolv.conf(5)."""
    devices: Sequence[str] = ()
    """Paths of device files (``"/dev/fuse"``, ``"/dev/a:/dev/b:rw"``) or CDI names."""
    umask: str | None = None
    """Octal; None for the engine's ``0022``."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Told to the runtime and its hooks."""
    cap_add: Sequence[str] = ()
    """Capabilities, such as ``"NET_RAW"``, besides the engine's default ones."""
    cap_drop: Sequence[str] = ()
    """Capabilities to take away; ``"ALL"`` for all."""
    seccomp_profile: str | None = None
    """Path of a profile on the host, or ``"unconfined"``; None for the engine's own."""
    selinux_opts: Sequence[str] = ()
    """Such as ``"disable"``, ``"type:container_t"``, ``"level:s0:c1,c2"``."""
    masked_paths: Sequence[str] = ()
    """Paths of the container that are covered, besides those that the engine covers."""
    unmasked_paths: Sequence[str] = ()
    """Those of the engine's that are not covered; ``"ALL"`` for all."""
    secrets: Sequence[Secret] = ()
    no_new_privileges: bool = False
    """Whether no process can gain privileges, through sudo or a setuid program."""
    read_only: bool = False
    """Whether the root file system is read-only; mounts have their own."""
    init: bool = False
    """Whether a small init process passes on signals and reaps children."""
    stop_signal: str | int | None = None
    """Name or number; None for the image's own."""
    healthcheck: HealthCheck | None = None
    stop_timeout: int | None = None
    """Seconds between the stop signal and SIGKILL; None for the engine's 10."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the engine's request as it has them, merged in last; None takes one out."""

    def __post_init__(self) -> None:
        checks.image(self.image)
        if self.name is not None and not _CONTAINER_NAME.fullmatch(self.name):
            raise SpecError("name", f"{self.name!r} must match {_CONTAINER_NAME.pattern}")
        self._freeze()
        checks.environment(self.environment)
        checks.labels("extra_labels", self.labels)
        if self.working_dir is not None:
            checks.path("working_dir", self.working_dir)
        self._check_mounts()
        self._check_network()
        self._check_identity()
        self._check_security()
        if self.stop_signal is not None:
            checks.signal_number(self.stop_signal)
        if self.stop_timeout is not None and self.stop_timeout < 0:
            raise SpecError("stop_timeout", f"{self.stop_timeout} s; give 0 or more seconds")

    def _freeze(self) -> None:
        """Keep own read-only copies, so that nobody changes them after they were checked."""
        own: dict[str, Any] = {
            "command": checks.words("cmd", self.command),
            "entrypoint": checks.words("entrypoint", self.entrypoint),
            "network_options": checks.words("network", self.network_options),
            "networks": checks.words("network", self.networks),
            "dns": checks.words("dns", self.dns),
            "dns_search": checks.words("dns_search", self.dns_search),
            "dns_options": checks.words("dns_options", self.dns_options),
            "devices": checks.words("devices", self.devices),
            "groups": checks.words("supplemental_gids", self.groups),
            "cap_add": checks.capabilities("cap_add", self.cap_add),
            "cap_drop": checks.capabilities("cap_drop", self.cap_drop),
            "environment": MappingProxyType(dict(self.environment)),
            "labels": MappingProxyType(dict(self.labels)),
            "annotations": MappingProxyType(dict(self.annotations)),
            "extra_hosts": MappingProxyType(dict(self.extra_hosts)),
            "ulimits": MappingProxyType(checks.ulimits(self.ulimits)),
            "extra": MappingProxyType(extra.checked("extra_spec", self.extra)),
            "selinux_opts": checks.words("selinux_opts", self.selinux_opts),
            "masked_paths": checks.words("masked_paths", self.masked_paths),
            "unmasked_paths": checks.words("unmasked_paths", self.unmasked_paths),
            "secrets": tuple(self.secrets),
            "mounts": tuple(self.mounts),
            "ports": tuple(self.ports),
        }
        if self.umask is not None:
            own["umask"] = checks.octal("umask", self.umask)
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def _check_mounts(self) -> None:
        seen: set[str] = set()
        for mount in self.mounts:
            if mount.target in seen:
                raise SpecError(
                    mount.option,
                    f"two mounts at {mount.target!r}; give each a target of its own (the home's "
                    "is home_target, '' for none)",
                )
            seen.add(mount.target)
        for device in self.devices:
            checks.device(device)
        if self.shm_size is not None:
            checks.bytes_at_least("shm_size", self.shm_size, SHM_MIN)

    def _check_network(self) -> None:
        if self.network not in NETWORKS:
            raise SpecError("network", f"{self.network!r} is none of {', '.join(NETWORKS)}")
        if self.network in ("host", "none") and self.ports:
            raise SpecError(
                "network", f"{self.network!r} publishes no ports; use 'private' or no ports"
            )
        if self.network_options and self.network not in ("pasta", "slirp4netns"):
            raise SpecError("network", f"{self.network!r} takes no options")
        for name, address in self.extra_hosts.items():
            checks.hostname("extra_hosts", name)
            checks.host_address("extra_hosts", address)
        for name in self.networks:
            if self.network != "bridge" or not _CONTAINER_NAME.fullmatch(name):
                raise SpecError("network", f"{name!r} is no name of a network to go with 'bridge'")
        for address in self.dns:
            checks.ip("dns", address)
        for domain in self.dns_search:
            if domain != ".":
                checks.hostname("dns_search", domain)
        for word in self.dns_options:
            checks.dns_option("dns_options", word)

    def _check_identity(self) -> None:
        checks.labels("extra_annotations", self.annotations)
        if self.user is not None:
            checks.user("container_user", self.user)
        for group in self.groups:
            checks.group("supplemental_gids", group)
        if self.hostname is not None:
            checks.hostname("hostname", self.hostname)

    def _check_security(self) -> None:
        if self.seccomp_profile not in (None, "unconfined"):
            checks.path("seccomp_profile", self.seccomp_profile)
        for word in self.selinux_opts:
            checks.selinux("selinux_opts", word)
        for path in self.masked_paths:
            checks.path("masked_paths", path)
        for path in self.unmasked_paths:
            if path != "ALL":
                checks.path("unmasked_paths", path)
        self._check_secrets()

    def _check_secrets(self) -> None:
        seen: set[tuple[str, str]] = set()
        owners: dict[str, tuple[int, int, int]] = {}
        for secret in self.secrets:
            owner = (secret.uid, secret.gid, secret.mode)
            # the engine has one file for each secret, however often it is mounted
            if secret.kind == "mount" and owners.setdefault(secret.source, owner) != owner:
                raise SpecError(
                    "secrets", f"{secret.source!r} is mounted twice: with one owner and mode only"
                )
            if (secret.kind, secret.name) in seen:
                raise SpecError(
                    "secrets", f"two secrets at {secret.name!r}; give each a target of its own"
                )
            seen.add((secret.kind, secret.name))
            if secret.kind == "env" and secret.name in self.environment:
                raise SpecError(
                    "secrets", f"{secret.name} is in environment already; drop it from one of both"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the body of ``POST /containers/create``: only what is set."""
        body = {
            "name": self.name,
            "image": self.image,
            "command": self.command and list(self.command),
            "entrypoint": self.entrypoint and list(self.entrypoint),
            "env": dict(self.environment),
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "work_dir": self.working_dir,
            "umask": self.umask,
            "init": self.init or None,
            "stop_signal": (
                None if self.stop_signal is None else checks.signal_number(self.stop_signal)
            ),
            "stop_timeout": self.stop_timeout,
            **self._storage_json(),
            **self._network_json(),
            **self._security_json(),
            **self._limits_json(),
            **(self.healthcheck.to_json() if self.healthcheck else {}),
            "log_configuration": {"driver": "k8s-file", "size": LOG_BYTES},
        }
        body = extra.merged(body, self.extra)
        return {key: value for key, value in body.items() if value not in (None, (), [], {})}

    def _storage_json(self) -> dict[str, Any]:
        return {
            **{
                key: [mount.to_json() for mount in self.mounts if mount.json_field == key]
                for key in FIELDS
            },
            "devices": [{"path": device} for device in self.devices],
            "shm_size": self.shm_size,
            "read_only_filesystem": self.read_only or None,
            # Podman 5 makes /dev/shm read-only too without it; 4.3 does not know it
            "read_write_tmpfs": self.read_only or None,
        }

    def _network_json(self) -> dict[str, Any]:
        options = {self.network: list(self.network_options)} if self.network_options else {}
        return {
            "hostname": self.hostname,
            "portmappings": [port.to_json() for port in self.ports],
            "netns": {"nsmode": self.network},
            "network_options": options,
            "hostadd": [f"{name}:{address}" for name, address in self.extra_hosts.items()],
            "dns_server": list(self.dns),
            "dns_search": list(self.dns_search),
            "dns_option": list(self.dns_options),
            "networks": {name: {} for name in self.networks},
        }

    def _security_json(self) -> dict[str, Any]:
        return {
            "user": self.user,
            "groups": list(self.groups),
            **self.user_mapping.to_json(),
            "cap_add": list(self.cap_add),
            "cap_drop": list(self.cap_drop),
            "no_new_privileges": self.no_new_privileges or None,
            "seccomp_profile_path": self.seccomp_profile,
            "selinux_opts": list(self.selinux_opts),
            "mask": list(self.masked_paths),
            "unmask": list(self.unmasked_paths),
            "secrets": [secret.to_json() for secret in self.secrets if secret.kind == "mount"],
            "secret_env": {s.name: s.source for s in self.secrets if s.kind == "env"},
        }

    def _limits_json(self) -> dict[str, Any]:
        limits = checks.ulimits(self.ulimits)
        return {
            "resource_limits": self.resources.to_json(),
            "r_limits": [
                {"type": name, "soft": soft % (_NO_LIMIT + 1), "hard": hard % (_NO_LIMIT + 1)}
                for name, (soft, hard) in limits.items()
            ],
        }

    def fingerprint(self) -> str:
        """Return a SHA-256 in hex that changes when the container would have to be made anew.

        The host's port of the first of the ports and the label that holds the fingerprint itself
        do not count.
        """
        body = self.to_json()
        for port in body.get("portmappings", [])[:1]:
            port.pop("host_port", None)
        body["labels"] = {k: v for k, v in self.labels.items() if k != FINGERPRINT_LABEL}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
