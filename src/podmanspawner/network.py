"""The container's network: its kinds, and the ports that it publishes; frozen, validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from . import checks

Network = Literal["private", "pasta", "slirp4netns", "host", "none"]

NETWORKS: tuple[Network, ...] = ("private", "pasta", "slirp4netns", "host", "none")


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
