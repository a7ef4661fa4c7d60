"""The container's network: its kinds, and the ports that it publishes; frozen, validated.

ref: podman-run(1), --network and --publish
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from . import checks
from .errors import SpecError

Network = Literal["private", "pasta", "slirp4netns", "host", "none", "bridge"]
Protocol = Literal["tcp", "udp"]

NETWORKS: tuple[Network, ...] = get_args(Network)
DEFAULT_NETWORK = "podman"
"""Name of the network that every account has."""
_SLIRP_NETWORK = "10.0.2.0/24"
_SLIRP_OPTIONS = (
    *("allow_host_loopback", "cidr", "enable_ipv6", "mtu", "outbound_addr", "outbound_addr6"),
    "port_handler",
)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_PUBLISH = re.compile(r"(?:(?:(\[[^]]+\]|[0-9.]+):)?([0-9-]*):)?([0-9-]+)(?:/([a-z]+))?")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True)
class NetworkChoice:
    """A value of the option ``network``."""

    kind: Literal["private", "host", "pasta", "slirp4netns", "named"]
    options: tuple[str, ...] = ()
    """Of pasta or slirp4netns, as the program itself takes them."""
    name: str = ""
    """Of a network that the account has."""

    @classmethod
    def parse(cls, text: str) -> NetworkChoice:
        """Return the choice of a text such as ``"private"`` or ``"slirp4netns:mtu=1500"``.

        Raises:
            SpecError: it is none, or a network in which no server can be reached.
        """
        kind, colon, rest = text.partition(":")
        options = checks.commas(rest)
        if kind == "none" or (colon and kind in ("container", "ns")):
            raise SpecError(
                "network",
                f"{text!r} publishes no port: the Hub and the proxy could not reach the server, "
                "nor the server the Hub (a Unix socket in a folder of the user's is nothing that "
                "the Hub may follow). Use 'private'",
            )
        if kind == "pasta":
            return cls("pasta", options)
        if kind == "slirp4netns":
            _check_slirp(options)
            return cls("slirp4netns", options)
        if colon or not _NAME.fullmatch(kind):
            raise SpecError(
                "network",
                f"{text!r} is neither 'private', 'host', 'pasta' or 'slirp4netns' (with options "
                "after a ':' if needed), nor the name of a network",
            )
        if kind == "private":
            return cls("private")
        if kind == "host":
            return cls("host")
        return cls("named", name=DEFAULT_NETWORK if kind == "bridge" else kind)

    @property
    def slirp_host(self) -> str:
        """Where a container behind slirp4netns finds the host; "" if it may not.

        ref: slirp4netns(1), --cidr
        """
        options = dict(option.split("=", 1) for option in self.options)
        if options.get("allow_host_loopback", "true") != "true":
            return ""
        return str(ipaddress.ip_network(options.get("cidr", _SLIRP_NETWORK), strict=False)[2])


def _check_slirp(options: tuple[str, ...]) -> None:
    for option in options:
        name, equals, value = option.partition("=")
        if name not in _SLIRP_OPTIONS or not equals:
            near = difflib.get_close_matches(name, _SLIRP_OPTIONS, 1) or _SLIRP_OPTIONS
            raise SpecError(
                "network",
                f"slirp4netns has no option {option!r}; write NAME=VALUE with {', '.join(near)}",
            )
        if name == "cidr":
            try:
                ipaddress.ip_network(value, strict=False)[2]
            except (ValueError, IndexError) as error:
                raise SpecError("network", f"cidr={value} is no network: {error}") from error


@dataclass(frozen=True)
class Port:
    """A port of the container, or a few in a row, published on an address of the host.

    Raises:
        SpecError: a port is not in 1 to 65535, the address is no literal IP address, or the
            protocol is not known.
    """

    container_port: int
    host_port: int = 0
    """0 for one that the engine picks when it creates the container."""
    host_ip: str = "127.0.0.1"
    protocol: Protocol = "tcp"
    count: int = 1
    """How many ports, from the two on."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= checks.PORT_MAX:
            raise SpecError("port", f"{self.count} ports are not to be; give 1 or more")
        checks.port(self.container_port)
        checks.port(self.container_port + self.count - 1)
        if self.host_port:
            checks.port(self.host_port)
            checks.port(self.host_port + self.count - 1)
        checks.ip("host_ip", self.host_ip)
        if self.protocol not in get_args(Protocol):
            raise SpecError("port", f"{self.protocol!r} is no protocol; use 'tcp' or 'udp'")

    @classmethod
    def parse(cls, text: str, *, host_ip: str = "127.0.0.1") -> Port:
        """Return the port of a text ``[[IP:][HOST PORT]:]PORT[/udp]``, as for ``--publish``.

        Args:
            text: both ports may be ranges, such as ``"9000-9002"``; an IPv6 address stands in
                brackets.
            host_ip: address of the host if the text has none.

        Raises:
            SpecError: it is no such text; it names the option ``extra_ports``.
        """
        try:
            return _published(text, host_ip)
        except SpecError as error:
            raise SpecError(
                "extra_ports",
                f"{text!r} is no port to publish ({error}); write [[IP:][HOST PORT]:]PORT[/udp], "
                "such as '8501' or '127.0.0.1:9000:8501'",
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Return one entry of ``portmappings``."""
        entry: dict[str, Any] = {"container_port": self.container_port, "host_ip": self.host_ip}
        if self.host_port:
            entry["host_port"] = self.host_port
        if self.protocol != "tcp":
            entry["protocol"] = self.protocol
        if self.count > 1:
            entry["range"] = self.count
        return entry


def _published(text: str, host_ip: str) -> Port:
    found = _PUBLISH.fullmatch(text)
    address, host, container, protocol = found.groups() if found else ("", "", text, None)
    first, count = _port_range(container)
    host_first, host_count = _port_range(host) if host else (0, count)
    if count != host_count:
        raise SpecError("port", f"{count} ports cannot be {host_count} of the host")
    address = (address or host_ip).strip("[]")
    return Port(first, host_first, address, protocol or "tcp", count)  # type: ignore[arg-type]


def _port_range(text: str) -> tuple[int, int]:
    """Return the first port of ``"9000"`` or ``"9000-9002"``, and how many they are."""
    found = _PORTS.fullmatch(text)
    first = int(found[1]) if found else 0
    last = int(found[2]) if found and found[2] else first
    if not first or last < first:
        raise SpecError("port", f"{text!r} is no port or range of ports")
    return first, last - first + 1
