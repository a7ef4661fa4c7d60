"""Options of how much of the host a server may use, with their help."""

from __future__ import annotations

from traitlets import Dict, HasTraits, Integer, List, Unicode

from .base import ByteSize


class LimitOptions(HasTraits):
    """How much of the host a server may use."""

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
