"""``ContainerSpec``: what one container is to be; frozen, validated, no I/O.

A spec that exists can be posted: whatever no container can have is refused when the object is
made, with the name of the option to change. ``to_json()`` is the engine's SpecGenerator.

ref: https://docs.podman.io/en/latest/_static/api.html, ContainerCreateLibpod
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from . import checks, extra
from .errors import SpecError
from .mounts import FIELDS, Mount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .health import HealthCheck

FINGERPRINT_LABEL = "podmanspawner.spec"

Network = Literal["private", "pasta", "slirp4netns", "host", "none"]

NETWORKS: tuple[Network, ...] = ("private", "pasta", "slirp4netns", "host", "none")
MEMORY_MIN = 6 * 1024 * 1024
"""Bytes; with less the runtime itself does not come up (runc 1.1 takes 3 MiB)."""
CPUS_MIN = 0.01
"""Cores; the kernel takes no quota below 1 ms, which is this share of the period."""
CPU_PERIOD = 100_000
"""Microseconds."""
PIDS_MIN = 2
"""An init process and the server."""
SHM_MIN = 4096
"""Bytes; a page of memory."""
_NO_LIMIT = 2**64 - 1

_ID_MAX = 2**32 - 2
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_KEEP_ID = re.compile(r"keep-id:uid=([0-9]{1,10}),gid=([0-9]{1,10})")


@dataclass(frozen=True)
class Port:
    """A TCP port of the container, published on an address of the host.

    Raises:
        SpecError: a port is not in 1 to 65535, or the address is no literal IP address.
    """

    container_port: int
    host_port: int
    host_ip: str = "127.0.0.1"

    def __post_init__(self) -> None:
        checks.port(self.container_port)
        checks.port(self.host_port)
        checks.ip("host_ip", self.host_ip)

    def to_json(self) -> dict[str, Any]:
        """Return one entry of ``portmappings``."""
        return {
            "container_port": self.container_port,
            "host_port": self.host_port,
            "host_ip": self.host_ip,
        }


@dataclass(frozen=True)
class Resources:
    """What a container may use at most; None is no limit.

    Raises:
        SpecError: a limit is below what any container needs.
    """

    memory: int | None = None
    """Bytes. As much again is allowed as swap, as ``podman run --memory`` does."""
    cpus: float | None = None
    """Cores."""
    pids: int | None = None
    """Processes and threads; -1 is no limit, None the engine's own (2048)."""

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < MEMORY_MIN:
            raise SpecError(
                "mem_limit",
                f"{self.memory} bytes are too few for a container; give at least {MEMORY_MIN} "
                "(a size such as '1G'), or None for no limit",
            )
        if self.cpus is not None and not (math.isfinite(self.cpus) and self.cpus >= CPUS_MIN):
            raise SpecError(
                "cpu_limit",
                f"{self.cpus} is no number of cores; give at least {CPUS_MIN}, such as 1.5, or "
                "None for no limit",
            )

        if self.pids is not None and self.pids != -1 and self.pids < PIDS_MIN:
            raise SpecError(
                "pids_limit",
                f"{self.pids} processes are too few for a container; give at least {PIDS_MIN}, "
                "-1 for no limit or None for the engine's own",
            )

    def to_json(self) -> dict[str, Any]:
        """Return ``resource_limits``; empty without a limit."""
        limits: dict[str, Any] = {}
        if self.memory is not None:
            limits["memory"] = {"limit": self.memory, "swap": 2 * self.memory}
        if self.cpus is not None:
            limits["cpu"] = {"quota": round(self.cpus * CPU_PERIOD), "period": CPU_PERIOD}
        if self.pids is not None:
            limits["pids"] = {"limit": self.pids}
        return limits


@dataclass(frozen=True)
class UserMapping:
    """Who of the container is the account on the host.

    ``root``: the container's root is the account. ``keep-id``: a user of the container is,
    ``uid`` and ``gid`` of it, or the one with the account's own numbers if both are None.

    Raises:
        SpecError: the numbers do not go together or are out of range.
    """

    mode: Literal["root", "keep-id"] = "root"
    uid: int | None = None
    gid: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("root", "keep-id"):
            raise SpecError("user_mapping", f"{self.mode!r} is neither 'root' nor 'keep-id'")
        if (self.uid is None) != (self.gid is None) or (self.mode == "root" and self.uid):
            raise SpecError(
                "user_mapping", "uid and gid belong together, and to keep-id: keep-id:uid=U,gid=G"
            )
        for number in (self.uid, self.gid):
            # Podman 4.3 makes an empty range of a 0 here, and the start fails
            if number is not None and not 1 <= number <= _ID_MAX:
                raise SpecError(
                    "user_mapping",
                    f"the id {number} cannot be kept; use ids from 1 to {_ID_MAX}, or 'root' "
                    "where the container's root shall be the account",
                )

    @classmethod
    def parse(cls, text: str) -> UserMapping:
        """Return the mapping of ``root``, ``keep-id`` or ``keep-id:uid=1000,gid=100``.

        Raises:
            SpecError: the text is none of these.
        """
        if text == "root":
            return cls("root")
        if text == "keep-id":
            return cls("keep-id")
        if match := _KEEP_ID.fullmatch(text):
            return cls("keep-id", int(match[1]), int(match[2]))
        raise SpecError(
            "user_mapping",
            f"{text!r} is no mapping; use 'auto', 'root', 'keep-id' or 'keep-id:uid=1000,gid=100'",
        )

    def to_json(self) -> dict[str, Any]:
        """Return ``userns``."""
        if self.mode == "root":
            # said aloud, else ``userns`` of the account's containers.conf decides
            return {"nsmode": "host"}
        if self.uid is None:
            return {"nsmode": "keep-id"}
        return {"nsmode": "keep-id", "value": f"uid={self.uid},gid={self.gid}"}


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
    mounts: Sequence[Mount] = ()
    ports: Sequence[Port] = ()
    network: Network = "private"
    """``private`` is whatever the engine prefers for an account."""
    network_options: Sequence[str] = ()
    """Options of pasta or slirp4netns, as the program itself takes them."""
    user_mapping: UserMapping = UserMapping()
    resources: Resources = Resources()
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
            "dns": checks.words("dns", self.dns),
            "devices": checks.words("devices", self.devices),
            "cap_add": checks.capabilities("cap_add", self.cap_add),
            "cap_drop": checks.capabilities("cap_drop", self.cap_drop),
            "environment": MappingProxyType(dict(self.environment)),
            "labels": MappingProxyType(dict(self.labels)),
            "annotations": MappingProxyType(dict(self.annotations)),
            "extra_hosts": MappingProxyType(dict(self.extra_hosts)),
            "ulimits": MappingProxyType(checks.ulimits(self.ulimits)),
            "extra": MappingProxyType(extra.checked("extra_spec", self.extra)),
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
            # Podman 4.3's API writes "host-gateway" to /etc/hosts as it is
            checks.ip("extra_hosts", address)
        for address in self.dns:
            checks.ip("dns", address)

    def _check_identity(self) -> None:
        checks.labels("extra_annotations", self.annotations)
        if self.user is not None:
            checks.user("container_user", self.user)
        if self.hostname is not None:
            checks.hostname("hostname", self.hostname)

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
        }

    def _security_json(self) -> dict[str, Any]:
        return {
            "user": self.user,
            "userns": self.user_mapping.to_json(),
            "cap_add": list(self.cap_add),
            "cap_drop": list(self.cap_drop),
            "no_new_privileges": self.no_new_privileges or None,
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

        The host's ports and the label that holds the fingerprint itself do not count.
        """
        body = self.to_json()
        for port in body.get("portmappings", []):
            del port["host_port"]
        body["labels"] = {k: v for k, v in self.labels.items() if k != FINGERPRINT_LABEL}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
