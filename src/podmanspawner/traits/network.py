"""Options of the container's network, with their help."""

from __future__ import annotations

from typing import Any

from traitlets import (
    Dict,
    HasTraits,
    Integer,
    List,
    TraitError,
    Tuple,
    Unicode,
    Union,
    validate,
)

from podmanspawner.network import NetworkChoice, Port

from .base import as_trait_error


class NetworkOptions(HasTraits):
    """The container's network."""

    network = Unicode(
        "private",
        help="""
        The container's network.

        - ``"private"`` (default): its own; one port is published on ``host_ip``. The Hub is
          reachable on its default 127.0.0.1: through pasta (Podman 4.4 and later) its port
          alone, through slirp4netns all ports of the host's loopback.
        - ``"host"``: the host's; all users see each other's ports.
        - ``"pasta"``, ``"slirp4netns"``: as private, with this very program. Options of it follow
          a colon, as for ``podman run --network``: ``"slirp4netns:mtu=1500"``.
        - the name of a network that each account has (``podman network create NAME``). The Hub
          must not listen on 127.0.0.1 alone then: ``c.JupyterHub.hub_ip = "0.0.0.0"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("network")
    def _check_network(self, proposal: dict[str, Any]) -> str:
        value: str = proposal["value"]
        as_trait_error(NetworkChoice.parse, value)
        return value

    host_ip = Unicode(
        "127.0.0.1",
        help="""
        Address of the host on which a server's port is published.

        On any but a loopback address whoever reaches it reaches the server past the proxy, with
        the token alone between. Default: ``"127.0.0.1"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    port_range = Tuple(
        Integer(),
        Integer(),
        default_value=None,
        allow_none=True,
        help="""
        First and last port of the host on which servers are published, for a firewall's sake.

        There can be as many servers on the host as there are ports. Default: None, any that is
        free. Example: ``(30000, 30999)``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("port_range")
    def _check_port_range(self, proposal: dict[str, Any]) -> tuple[int, int] | None:
        value: tuple[int, int] | None = proposal["value"]
        if value is not None and not 1 <= value[0] <= value[1] <= 65535:  # noqa: PLR2004
            raise TraitError(
                f"port_range: {value} is no range; give first and last port, such as "
                "(30000, 30999)"
            )
        return value

    extra_ports = List(
        Union([Integer(), Unicode()]),
        help="""
        Ports of the container that are published besides the server's, past the proxy.

        Texts as for ``podman run --publish``: ``[[IP:][HOST PORT]:]PORT[/udp]``. Without an
        address they are on ``host_ip``, without a host's port on any that is free (``podman port``
        shows which). A fixed port of the host can be had by one server only. Default: none.
        Example: ``[8501, "127.0.0.1::5000/udp"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("extra_ports")
    def _check_extra_ports(self, proposal: dict[str, Any]) -> list[int | str]:
        value: list[int | str] = proposal["value"]
        for port in value:
            as_trait_error(Port.parse, str(port))
        return value

    hostname = Unicode(
        help="""
        Name of the host that users see in their terminals.

        A template as for ``volumes``. Default: a part of the container's id. Example:
        ``"{username}"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    extra_hosts = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Names that the container resolves by itself: name to IP address.

        Example: ``{"db.example.org": "192.0.2.7"}``. Default: none. The host itself is known as
        ``host.containers.internal``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    dns = List(
        Unicode(),
        help="""
        Name servers that the container asks; IP addresses.

        Default: those of the host. Example: ``["192.0.2.53"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    dns_search = List(
        Unicode(),
        help="""
        Domains in which the container looks up short names; ``["."]`` for none.

        Default: those of the host. Example: ``["lab.example.org"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    dns_options = List(
        Unicode(),
        help="""
        Options of the container's resolver, as in resolv.conf(5).

        Default: those of the host. Example: ``["ndots:2"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
