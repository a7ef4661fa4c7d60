"""Options of the image, with their help."""

from __future__ import annotations

from typing import Any, get_args

from traitlets import Enum, Float, HasTraits, List, Unicode, validate

from podmanspawner import checks
from podmanspawner.images import PullPolicy

from .base import as_trait_error


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

    image_stores = List(
        Unicode(),
        help="""
        Folders with images that servers use without a copy in the user's account.

        Image stores that root made with ``force_mask = "shared"``, readable to every account; see
        ``examples/shared-store/make-store``. The first one that has the image serves it, after
        the account's own store. It needs fuse-overlayfs; before its version 1.14 every file of
        an image belongs to the user in the container. Not with ``activation = "existing"``.
        Default: none. Example: ``["/var/lib/shared-images/2026-09"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("image_stores")
    def _check_image_stores(self, proposal: dict[str, Any]) -> list[str]:
        value: list[str] = proposal["value"]
        as_trait_error(checks.image_stores, value)
        return value
