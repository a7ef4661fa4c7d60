"""Options of the image, with their help."""

from __future__ import annotations

from typing import Any, get_args

from traitlets import Callable, Enum, Float, HasTraits, List, Unicode, Union, validate

from podmanspawner import checks, images
from podmanspawner.images import PullPolicy

from .base import as_trait_error


class Policy(Enum):  # type: ignore[type-arg]  # generic for checkers only
    """When to pull; other spawners' names are taken too."""

    def validate(self, obj: Any, value: Any) -> Any:
        """Return the policy.

        Raises:
            TraitError: there is none of that name.
        """
        if isinstance(value, str):
            as_trait_error(images.pull_policy, value)
            value = images.pull_policy(value)
        return super().validate(obj, value)


class ImageOptions(HasTraits):
    """Which image a server is made from, and how the account gets it."""

    image = Union(
        [Unicode(), Callable()],
        default_value="quay.io/jupyterhub/singleuser:latest",
        help="""
        Image of the server: a name as ``podman run`` takes it, or a place on the host.

        It needs the package ``jupyterhub`` and whatever your users work with. Name the registry
        too: what a short name means depends on the account. Examples:

        - ``"quay.io/jupyter/scipy-notebook:latest"``, with ``docker://`` in front or not;
        - ``"dir:/srv/images/lab"``, ``"oci:/srv/images/lab:latest"``,
          ``"docker-archive:/srv/images/lab.tar"``, ``"oci-archive:/srv/images/lab.tar"``: imported
          into the account with its own rights, once, see ``pull_policy``.

        A template; fields: ``{username}``, ``{servername}``, ``{hub}``, ``{prefix}``,
        ``{account}``, ``{home}``, ``{uid}``, ``{gid}``, as in ``volumes``.

        Or a function, which may be a coroutine: it gets the spawner at each start and returns the
        image, which is no template then. Example::

            def image_of_group(spawner):
                groups = {group.name for group in spawner.user.groups}
                return "quay.io/jupyter/" + ("r" if "r" in groups else "base") + "-notebook"

        .. versionadded:: 0.1
        .. versionchanged:: 1.0 templates, functions
        """,
    ).tag(config=True)

    pull_policy = Policy(
        get_args(PullPolicy),
        default_value="missing",
        help="""
        When to pull the image into the user's account.

        - ``"missing"`` (default): if it is not there.
        - ``"always"``: at each start.
        - ``"newer"``: at each start, if the registry has a newer one, or the file on the host has
          been changed. If the registry cannot be asked, the image that is there is
          used.
        - ``"never"``: not at all; it must be there.

        Kubernetes' ``"IfNotPresent"`` is ``"missing"``, dockerspawner's ``"skip"`` ``"never"``.

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

    authfile = Unicode(
        help="""
        File of the user's account with user names and passwords of registries.

        As ``podman login --authfile`` writes it. Read with the account's own rights; accounts
        without it do without. A template with the fields of ``image``. Default: none, and the
        account's Podman looks for itself where ``podman login`` leaves them:
        ``$XDG_RUNTIME_DIR/containers/auth.json`` and ``~/.config/containers/auth.json``. Example:
        ``"{home}/.registries.json"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    hub_authfile = Unicode(
        help="""
        File of the Hub's with user names and passwords of registries, for all users' pulls.

        As ``podman login --authfile`` writes it. It must be the Hub's own with mode 0600. A pull
        gets those of its own registry and no others; the account that pulls could read them
        on the way, so let them be such as may read images only. Default: none. Example:
        ``"/etc/jupyterhub/registries.json"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    registry_credentials = Callable(
        default_value=None,
        allow_none=True,
        help="""
        Function that returns user names and passwords of registries, such as short-lived tokens.

        Called with the spawner when an image is to be pulled; may be a coroutine. Returns a
        dictionary of registries, or parts of them. It comes before ``authfile``, which comes
        before ``hub_authfile``. Default: none. Example::

            async def token(spawner):
                token = await token_of(spawner.user.name)
                return {"registry.example.org": {"username": "hub", "password": token}}

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
