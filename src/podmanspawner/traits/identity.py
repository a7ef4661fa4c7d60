"""Options of who a user is in the container, with their help."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, HasTraits, Integer, List, Unicode, Union, validate

from podmanspawner.identity import UserMapping

from .base import as_trait_error


class IdentityOptions(HasTraits):
    """Who the user is in the container."""

    user_mapping = Unicode(
        "auto",
        help="""
        Which user of the image is the account, so that files in a mounted home belong to it.

        - ``"auto"`` (default): the user that the image runs as.
        - ``"root"``: root inside is the account outside.
        - ``"keep-id"``: the account has its own uid inside.
        - ``"keep-id:uid=1000,gid=100"``: the account is that user inside.
        - ``"auto-userns"``, ``"auto-userns:size=65536"``: nobody is. Each container gets ids of
          its own among the account's subordinate ones, so that one server cannot touch another's
          files; the home cannot be mounted then, set ``home_target`` to ``""``.
        - ``"0:1:1000,1000:0:1,1001:1001:64536"``: ranges of container:host:size, as for
          ``podman run --uidmap``, where the host's 0 is the account and 1 its first subordinate
          id. Ranges after a ``;`` are those of the groups; without, they are the same.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("user_mapping")
    def _check_user_mapping(self, proposal: dict[str, Any]) -> str:
        value: str = proposal["value"]
        if value != "auto":
            as_trait_error(UserMapping.parse, value)
        return value

    container_user = Unicode(
        help="""
        User that the server runs as in the container: ``user`` or ``user:group``, name or number.

        With ``user_mapping`` ``"auto"`` it is this user who is the account outside. Default: the
        image's own user. Example: ``"1000:100"``. (``user`` is the Hub's name for something else.)

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    umask = Unicode(
        help="""
        Which permissions files that a server makes do not have; octal digits.

        With ``"0077"`` only the account may read what its servers write. Default: ``"0022"``, the
        engine's. Example: ``"0027"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    keep_groups = Bool(
        default_value=False,
        help="""
        Whether the server has the account's supplementary groups, and so may read what they may.

        It needs the runtime crun; a start with another one fails. Default: False.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    supplemental_gids = List(
        Union([Integer(), Unicode()]),
        help="""
        Groups of the container that the server is in besides its user's own.

        Numbers, or names that the image has. They are the container's: outside, number 100 is one
        of the account's subordinate ids. For the account's own groups see ``keep_groups``.
        Default: none. Example: ``[100, "staff"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
