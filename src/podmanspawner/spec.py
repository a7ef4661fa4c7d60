"""``ContainerSpec``: what one container is to be; frozen, validated, no I/O.

A spec that exists can be posted: whatever no container can have is refused when the object is
made, with the name of the option to change. ``to_json()`` is the engine's SpecGenerator.

ref: https://docs.podman.io/en/latest/_static/api.html, ContainerCreateLibpod
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from . import checks
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FINGERPRINT_LABEL = "podmanspawner.spec"

Network = Literal["private", "pasta", "slirp4netns", "host", "none"]

NETWORKS: tuple[Network, ...] = ("private", "pasta", "slirp4netns", "host", "none")
MEMORY_MIN = 6 * 1024 * 1024
"""Bytes; with less the runtime itself does not come up (runc 1.1 takes 3 MiB)."""
CPUS_MIN = 0.01
"""Cores; the kernel takes no quota below 1 ms, which is this share of the period."""
CPU_PERIOD = 100_000
"""Microseconds."""

_ID_MAX = 2**32 - 2
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_KEEP_ID = re.compile(r"keep-id:uid=([0-9]{1,10}),gid=([0-9]{1,10})")


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host, seen in the container.

    Raises:
        SpecError: one of the paths is not absolute or not plain.
    """

    source: str
    """Absolute path on the host; it must exist when the container is created."""
    target: str
    """Absolute normalised path in the container."""
    read_only: bool = False

    def __post_init__(self) -> None:
        option = "read_only_volumes" if self.read_only else "volumes"
        checks.path(option, self.source)
        checks.path(option, self.target)
        if self.target != posixpath.normpath(self.target) or self.target.strip("/") == "":
            raise SpecError(
                option,
                f"{self.target!r} is no place for a mount; name a folder below '/' in its "
                "shortest form, such as /data",
            )

    @classmethod
    def bind(cls, source: str, target: str, *, read_only: bool = False) -> Mount:
        """Return a mount of a host path; a trailing slash of the target is dropped.

        Raises:
            SpecError: one of the paths is not absolute or not plain.
        """
        plain = target if ".." in target.split("/") else posixpath.normpath(target or ".")
        return cls(source, plain, read_only=read_only)

    def to_json(self) -> dict[str, Any]:
        """Return one entry of ``mounts``."""
        return {
            "type": "bind",
            "source": self.source,
            "destination": self.target,
            "options": ["rbind", "ro" if self.read_only else "rw"],
        }


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
        checks.ip(self.host_ip)

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

    def to_json(self) -> dict[str, Any]:
        """Return ``resource_limits``; empty without a limit."""
        limits: dict[str, Any] = {}
        if self.memory is not None:
            limits["memory"] = {"limit": self.memory, "swap": 2 * self.memory}
        if self.cpus is not None:
            limits["cpu"] = {"quota": round(self.cpus * CPU_PERIOD), "period": CPU_PERIOD}
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
    init: bool = False
    """Whether a small init process passes on signals and reaps children."""
    stop_signal: str | int | None = None
    """Name or number; None for the image's own."""
    stop_timeout: int | None = None
    """Seconds between the stop signal and SIGKILL; None for the engine's 10."""

    def __post_init__(self) -> None:
        checks.image(self.image)
        if self.name is not None and not _CONTAINER_NAME.fullmatch(self.name):
            raise SpecError("name", f"{self.name!r} must match {_CONTAINER_NAME.pattern}")
        self._freeze()
        checks.environment(self.environment)
        checks.labels(self.labels)
        if self.working_dir is not None:
            checks.path("working_dir", self.working_dir)
        self._check_mounts()
        self._check_network()
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
            "environment": MappingProxyType(dict(self.environment)),
            "labels": MappingProxyType(dict(self.labels)),
            "mounts": tuple(self.mounts),
            "ports": tuple(self.ports),
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def _check_mounts(self) -> None:
        seen: set[str] = set()
        for mount in self.mounts:
            if mount.target in seen:
                raise SpecError(
                    "read_only_volumes" if mount.read_only else "volumes",
                    f"two mounts at {mount.target!r}; give each a target of its own (the home's "
                    "is home_target, '' for none)",
                )
            seen.add(mount.target)

    def _check_network(self) -> None:
        if self.network not in NETWORKS:
            raise SpecError("network", f"{self.network!r} is none of {', '.join(NETWORKS)}")
        if self.network in ("host", "none") and self.ports:
            raise SpecError(
                "network", f"{self.network!r} publishes no ports; use 'private' or no ports"
            )
        if self.network_options and self.network not in ("pasta", "slirp4netns"):
            raise SpecError("network", f"{self.network!r} takes no options")

    def to_json(self) -> dict[str, Any]:
        """Return the body of ``POST /containers/create``: only what is set."""
        body = {
            "name": self.name,
            "image": self.image,
            "command": self.command and list(self.command),
            "entrypoint": self.entrypoint and list(self.entrypoint),
            "env": dict(self.environment),
            "labels": dict(self.labels),
            "work_dir": self.working_dir,
            "user": self.user,
            "mounts": [mount.to_json() for mount in self.mounts],
            "portmappings": [port.to_json() for port in self.ports],
            "netns": {"nsmode": self.network},
            "network_options": self._network_options(),
            "userns": self.user_mapping.to_json(),
            "resource_limits": self.resources.to_json(),
            "init": self.init or None,
            "stop_signal": None
            if self.stop_signal is None
            else checks.signal_number(self.stop_signal),
            "stop_timeout": self.stop_timeout,
        }
        return {key: value for key, value in body.items() if value not in (None, (), [], {})}

    def _network_options(self) -> dict[str, list[str]]:
        return {self.network: list(self.network_options)} if self.network_options else {}

    def fingerprint(self) -> str:
        """Return a SHA-256 in hex that changes when the container would have to be made anew.

        The host's ports and the label that holds the fingerprint itself do not count.
        """
        body = self.to_json()
        for port in body.get("portmappings", []):
            del port["host_port"]
        body["labels"] = {k: v for k, v in self.labels.items() if k != FINGERPRINT_LABEL}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
