"""Options of the image, with their help."""

from __future__ import annotations

from typing import get_args

from traitlets import Enum, Float, HasTraits, Unicode

from podmanspawner.images import PullPolicy


class ImageOptions(HasTraits):
    """Which image a server is made from, and how the account gets it."""

    image = Unicode(
        "quay.io/jupyterhub/singleuser:latest",
        help="""
        Image of the server, as ``podman run`` takes it.

        It needs the package ``jupyterhub`` and whatever your users work with. Example:
        ``"quay.io/jupyter/scipy-notebook:latest"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    pull_policy = Enum(
        get_args(PullPolicy),
        default_value="missing",
        help="""
        When to pull the image into the user's account.

        - ``"missing"`` (default): if it is not there.
        - ``"always"``: at each start.
        - ``"newer"``: at each start, if the registry has a newer one.
        - ``"never"``: not at all; it must be there.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    pull_timeout = Float(
        900.0,
        min=1.0,
        help="""
        Seconds after which a pull is given up. ``start_timeout`` must leave room for it.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
