"""Options of a server's container as a whole, with their help."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Callable, Dict, HasTraits, Integer, Unicode, default, validate

from podmanspawner.checks import signal_number
from podmanspawner.names import DEFAULT_PREFIX, DEFAULT_TEMPLATE

from .base import Words, as_trait_error


class ServerOptions(HasTraits):
    """What is started, under which name, and how it ends."""

    hub: Any
    """The Hub, as the spawner knows it."""
    token_as_secret: Any
    """Of :class:`.hardening.HardeningOptions`."""

    entrypoint = Words(
        help="""
        What is started in the container, before ``cmd``, in place of the image's entry point.

        A list of words; no shell takes part. Default: the image's own. Example:
        ``["tini", "-g", "--"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    init = Bool(
        default_value=True,
        help="""
        Whether a small init process in the container passes on signals and reaps children.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    stop_signal = Unicode(
        help="""
        Signal that asks the server to stop, such as ``"SIGINT"``. Default: the image's own.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("stop_signal")
    def _check_stop_signal(self, proposal: dict[str, Any]) -> str:
        value: str = proposal["value"]
        if value:
            as_trait_error(signal_number, value)
        return value

    delete_grace_period = Integer(
        10,
        min=0,
        help="""
        Seconds that a server has between the signal that asks it to stop and its end by SIGKILL.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    remove = Bool(
        default_value=True,
        help="""
        Whether a server's container is removed when the server stops.

        With False it is kept, with all that was changed in it outside the home, and started again
        at the next start; a new one is made when the image or the configuration has changed.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    remove_orphans = Bool(
        default_value=True,
        help="""
        Whether containers of this Hub that no server of it owns are ended.

        Such are left by a crash, or when the Hub's database is lost. They are looked for when the
        Hub starts, and in an account when its first server has been started. Those that are kept
        (``remove``) are stopped, all others removed. With False the log names them. Default: True.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @default("will_resume")
    def _default_will_resume(self) -> bool:
        # a token that is a secret is a new one at each start: the Hub shall forget the last
        return not self.remove and not self.token_as_secret

    prefix = Unicode(
        DEFAULT_PREFIX,
        help="""
        First part of the containers' names.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    name_template = Unicode(
        DEFAULT_TEMPLATE,
        help="""
        Template of the containers' names.

        Fields: ``{prefix}``, ``{hub}`` (see ``hub_id``), ``{username}`` and ``{servername}``, made
        safe. The name of a named server is added if the template does not have it.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    """The Hub, as the spawner knows it."""

    hub_id = Unicode(
        help="""
        What tells this Hub's containers from those of other Hubs on the same host.

        It must stay the same when the Hub is restarted. Default: the port of the Hub's API,
        which no two Hubs of a host share.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @default("hub_id")
    def _default_hub_id(self) -> str:
        return str(self.hub.port or self.hub.url)

    extra_labels = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Labels that the containers get besides the spawner's own.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    extra_annotations = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Annotations of the containers, for the runtime and its hooks.

        Default: none. Example: ``{"org.example.team": "physics"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    extra_spec = Dict(
        key_trait=Unicode(),
        help="""
        Fields of Podman's own request that no option here sets, or sets otherwise.

        Merged last into the JSON that creates the container, in the names of the API's
        SpecGenerator: dictionaries are merged, all else replaces what was there. Default: none.
        Example: ``{"timezone": "local", "sysctl": {"net.ipv4.ping_group_range": "0 0"}}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    modify_spec_hook = Callable(
        default_value=None,
        allow_none=True,
        help="""
        Function that has the last word on a server's container.

        Called with the spawner and Podman's own request, a dictionary as in ``extra_spec``;
        returns the request as it shall be. It runs in a thread, may be called more than once
        for a start, and has to return the same for the same. Default: none. Example::

            def own_timezone(spawner, spec):
                return {**spec, "timezone": "Europe/Paris"}

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
