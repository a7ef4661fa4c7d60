"""Options of what a server may do, with their help."""

from __future__ import annotations

from traitlets import Bool, HasTraits, List, Unicode


class HardeningOptions(HasTraits):
    """What a server may do."""

    cap_add = List(
        Unicode(),
        help="""
        Capabilities that the server has besides the engine's usual ones.

        They count inside the container only. Default: none. Example: ``["NET_RAW"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    cap_drop = List(
        Unicode(),
        help="""
        Capabilities that nobody in the container has, not even its root; ``["ALL"]`` for all.

        Default: none. Example: ``["SETUID", "SETGID"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    no_new_privileges = Bool(
        default_value=True,
        help="""
        Whether nobody in the container can gain privileges, as through sudo or a setuid program.

        Default: True. Set it to False for images in which users become root with sudo.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
