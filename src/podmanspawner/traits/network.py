"""Options of the container's network, with their help."""

from __future__ import annotations

from typing import get_args

from traitlets import Dict, Enum, HasTraits, List, Unicode

from podmanspawner.settings import NetworkChoice


class NetworkOptions(HasTraits):
    """The container's network."""

    network = Enum(
        get_args(NetworkChoice),
        default_value="private",
        help="""
        The container's network.

        - ``"private"`` (default): its own; one port is published on ``host_ip``. The Hub is
          reachable on its default 127.0.0.1: through pasta (Podman 4.4 and later) its port
          alone, through slirp4netns all ports of the host's loopback.
        - ``"host"``: the host's; all users see each other's ports.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    host_ip = Unicode(
        "127.0.0.1",
        help="""
        Address of the host on which a server's port is published.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

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
