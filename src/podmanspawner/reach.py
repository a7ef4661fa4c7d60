"""How the server is reached and how it reaches the Hub: network, ports and the Hub's URL; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .errors import SpecError
from .network import NetworkChoice, Port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .network import Network
    from .settings import Engine, ServerSettings

HOST_INSIDE = "host.containers.internal"
"""Name of the host in a container, but for its loopback. ref: podman-run(1), --no-hosts"""
_LOOPBACK = ("127.0.0.1", "localhost")
_PASTA_SINCE = (4, 4)
_TO_HOST = ("-T", "--tcp-ns")
"""Options of pasta that say which of the host's ports are seen inside; ref: passt(1)."""


def network(settings: ServerSettings) -> tuple[Network, tuple[str, ...], tuple[str, ...]]:
    """Return the engine's network mode, its options, and the names of networks.

    The Hub's port is opened, and no other of the host's loopback if the engine can do so.

    Raises:
        SpecError: the option ``network`` has no such value, or the engine has no such network.
    """
    choice = NetworkChoice.parse(settings.network)
    if choice.kind == "host":
        return "host", (), ()
    if choice.kind == "named":
        return "bridge", (), (choice.name,)
    mode = _program(choice, settings.engine)
    if settings.hub_port is None or _says_itself(choice):
        return mode, choice.options, ()
    if mode == "slirp4netns":
        return mode, (*choice.options, "allow_host_loopback=true"), ()
    if settings.hub_port == settings.container_port:
        raise SpecError(
            "port",
            f"the Hub listens on port {settings.hub_port} too, which the container reaches at "
            "its own 127.0.0.1; choose another port",
        )
    return mode, (*choice.options, "-T", str(settings.hub_port)), ()


def _program(choice: NetworkChoice, engine: Engine) -> Network:
    if choice.kind == "slirp4netns":
        return "slirp4netns"
    if choice.kind != "pasta":
        return engine.private_network
    if engine.version < _PASTA_SINCE:
        version = ".".join(map(str, engine.version))
        raise SpecError(
            "network", f"pasta came with Podman 4.4, and this is {version}; use 'private'"
        )
    if not engine.pasta:
        raise SpecError(
            "network", "the host has no program pasta (Debian: package passt); or use 'private'"
        )
    return "pasta"


def _says_itself(choice: NetworkChoice) -> bool:
    """Whether the administrator's options say already what of the host is seen inside."""
    words = {option.partition("=")[0] for option in choice.options}
    return bool(words & {*_TO_HOST, "allow_host_loopback"})


def ports(settings: ServerSettings, port: int) -> tuple[Port, ...]:
    """Return the ports to publish, the server's own first.

    Raises:
        SpecError: a value of ``extra_ports`` is no port, or none can be published.
    """
    if NetworkChoice.parse(settings.network).kind == "host":
        if settings.extra_ports:
            raise SpecError("extra_ports", "with the host's network all ports are the host's own")
        return ()
    extra = (Port.parse(str(text), host_ip=settings.host_ip) for text in settings.extra_ports)
    return (Port(settings.container_port, port, settings.host_ip), *extra)


def hub_url_inside(url: str, settings: ServerSettings) -> str:
    """Return the URL by which a container reaches the Hub's API.

    Only the host's loopback has another address inside: pasta forwards the Hub's port to the
    container's own, slirp4netns has an address for the host, a named network none at all.

    Raises:
        SpecError: the Hub listens on the loopback only, and the network does not lead there.
    """
    parts = urlsplit(url)
    choice = NetworkChoice.parse(settings.network)
    if parts.hostname not in _LOOPBACK or choice.kind == "host":
        return url
    if choice.kind != "named" and _program(choice, settings.engine) == "pasta":
        return url
    host = choice.slirp_host if choice.kind != "named" else ""
    if not host and not settings.hub_everywhere:
        raise SpecError(
            "network",
            f"{settings.network!r} does not lead to the host's 127.0.0.1, where the Hub listens. "
            "Let the Hub listen on all addresses (c.JupyterHub.hub_ip = '0.0.0.0') or on one that "
            "containers reach, or use 'private'",
        )
    host = host or HOST_INSIDE
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}").geturl()


def by_name(
    urls: Mapping[str, str], hub_names: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return URLs of the Hub with a name that its certificate has, and the name's address.

    Args:
        urls: as :func:`hub_url_inside` made them.
        hub_names: alternative names of the certificate, such as ``IP:127.0.0.1``. The last one
            that will do is taken: the administrator's come after the host's own.

    Raises:
        SpecError: there is no such name.
    """
    address = next(urlsplit(url).hostname or "" for url in urls.values())
    if {f"IP:{address}", f"DNS:{address}"} & set(hub_names):
        return dict(urls), {}
    known = [name.removeprefix("DNS:") for name in hub_names if name.startswith("DNS:")]
    usable = [name for name in known if name != "localhost" and "*" not in name]
    if not usable or address == HOST_INSIDE:
        wanted = address if address == HOST_INSIDE else "hub.internal"
        raise SpecError(
            "internal_ssl",
            "the container reaches the Hub by a name that the Hub's certificate must have; set "
            f'c.JupyterHub.trusted_alt_names = ["DNS:{wanted}"], and start the Hub once with '
            "c.JupyterHub.recreate_internal_certs = True; or install pasta (Podman 4.4)",
        )
    parts = {key: urlsplit(url) for key, url in urls.items()}
    named = {
        key: url._replace(netloc=usable[-1] if url.port is None else f"{usable[-1]}:{url.port}")
        for key, url in parts.items()
    }
    return {key: url.geturl() for key, url in named.items()}, {usable[-1]: address}
