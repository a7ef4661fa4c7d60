"""Options of what happens around a server's start and end, with their help."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Float, HasTraits, Integer, List, Unicode, validate

from podmanspawner.health import HealthCheck

from .base import OneOf, as_trait_error


class LifeOptions(HasTraits):
    """What happens around a server's start and end."""

    post_start_cmd = OneOf(
        [Unicode(), List(Unicode())],
        help="""
        Command that is run inside, as the server's user, each time the server has been started.

        A text is split into words as a shell does it, but no shell takes part. Its output is in
        the Hub's log; if it fails, that is logged, and the server goes on. ``start_timeout`` must
        leave room for it. Default: none. Example: ``"sh -c 'cp -n /opt/welcome.ipynb ~'"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    healthcheck = Dict(
        key_trait=Unicode(),
        help="""
        Command by which the engine finds out how a server is, in place of the image's own.

        ``cmd`` (a text for a shell, or a list of words), and if needed ``timeout`` (30 s),
        ``retries`` (3), ``start_period`` (0 s), and ``interval``: seconds between two checks that
        the account's systemd starts by itself, 0 (default) for none. Default: the image's own.
        Example: ``{"cmd": "test -e /tmp/ready", "timeout": 5}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("healthcheck")
    def _check_healthcheck(self, proposal: dict[str, Any]) -> dict[str, Any]:
        value: dict[str, Any] = proposal["value"]
        as_trait_error(HealthCheck.parse, value)
        return value

    healthy_timeout = Float(
        0.0,
        min=0.0,
        help="""
        Seconds that a start waits, once the server answers, for its health check to say healthy.

        The check is run every second; a server that is not healthy by then is removed, and the
        start fails with what the check printed. ``start_timeout`` must leave room for it. 0
        (default) does not wait. Example: ``60``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    stop_timeout = Integer(
        default_value=None,
        allow_none=True,
        min=0,
        help="""
        The same as ``delete_grace_period``, under the name that ``podman run`` has for it.

        If it is set, it counts. Default: None.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    delete_volumes = Bool(
        default_value=False,
        help="""
        Whether named volumes are removed, with all that is in them, when who they are of is.

        With a named server go the volumes whose names have ``{username}`` and ``{servername}``,
        with a user those that have ``{username}``; others never, nor those that somebody else
        made. Default: False, they stay, and the log names them.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
