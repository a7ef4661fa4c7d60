"""Options of what a server's container may do and use, with their help."""

from __future__ import annotations

from typing import Any

from jupyterhub.traitlets import ByteSpecification
from traitlets import Bool, Dict, HasTraits, Integer, List, TraitError, Unicode


class ByteSize(ByteSpecification):  # type: ignore[misc]  # untyped package
    """A number of bytes, or a text with K, M, G or T; the error names the option."""

    def validate(self, obj: Any, value: Any) -> int | None:
        """Return the number of bytes.

        Raises:
            TraitError: it is no size.
        """
        try:
            size: int | None = super().validate(obj, value)
        except TraitError as error:
            raise TraitError(f"{self.name}: {error}") from error
        return size


class LimitOptions(HasTraits):
    """Who runs in the container, what it may do, and how much of the host it may use."""

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

    pids_limit = Integer(
        default_value=None,
        allow_none=True,
        help="""
        How many processes and threads a server may have; more fail to start.

        -1 is no limit, None (default) the engine's own, 2048. It needs cgroups v2. Example:
        ``1000``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    shm_size = ByteSize(
        default_value=None,
        allow_none=True,
        help="""
        Size of ``/dev/shm``, through which parallel programs share data.

        Bytes, or a text with K, M, G or T. None (default) is the engine's own, about 64 MB. It
        counts as memory of the container. Example: ``"2G"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    ulimits = Dict(
        key_trait=Unicode(),
        help="""
        Limits of each process: name to a number, or to (soft, hard), in the units of getrlimit(2).

        -1 is no limit. No limit can be above the account's own hard one. ``nproc`` counts all
        processes of the account. Default: the engine's. Example:
        ``{"nofile": (1024, 4096), "core": 0}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    devices = List(
        Unicode(),
        help="""
        Devices of the host that the container gets; the account must have the right to use them.

        Paths, with the path inside and permissions if needed, or CDI names. Default: none.
        Example: ``["/dev/fuse", "/dev/ttyUSB0:/dev/lab:rw", "nvidia.com/gpu=all"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

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

    read_only = Bool(
        default_value=False,
        help="""
        Whether the container's files are read-only, but for mounts.

        ``/tmp``, ``/var/tmp`` and ``/run`` are then kept in memory, unless something is mounted
        there; what else has to be written needs a mount, such as the home. Default: False.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    tmpfs = Dict(
        key_trait=Unicode(),
        help="""
        Folders of the container that are kept in memory and lost when the server stops.

        Path to a size (bytes, or with k, m, g), or to options as ``podman run --tmpfs`` takes
        them; ``""`` for no size of its own. The path is a template as for ``volumes``. It counts
        as memory of the container. Default: none. Example:
        ``{"/scratch": "1g", "/run": "size=64m,mode=755"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
