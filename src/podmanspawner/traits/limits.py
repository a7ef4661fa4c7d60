"""Options of how much of the host a server may use, with their help."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Enum, HasTraits, Integer, List, Unicode, Union, validate

from podmanspawner.resources import gpu_devices

from .base import ByteSize, as_trait_error


class LimitOptions(HasTraits):
    """How much of the host a server may use."""

    memswap_limit = ByteSize(
        default_value=None,
        allow_none=True,
        help="""
        How much memory and swap together a server may use; it ends when it wants more.

        Bytes, or a text with K, M, G or T; at least ``mem_limit``, which it needs. -1 is no limit,
        None (default) twice ``mem_limit``. Example: ``"4G"``; the same as ``mem_limit`` for no
        swap at all.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    unenforced_limits = Enum(
        ("error", "warn"),
        default_value="error",
        help="""
        What to do where the host cannot enforce a limit or a guarantee that is set.

        It cannot with cgroups v1, or where the controller is not delegated to the account.

        - ``"error"`` (default): no server starts, and the error tells what the host lacks.
        - ``"warn"``: servers start without it, and the Hub's log tells.

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

    gpus = Union(
        [Integer(), Unicode(), List(Union([Integer(), Unicode()]))],
        default_value=None,
        allow_none=True,
        help="""
        GPUs that the server gets, by NVIDIA's names of the Container Device Interface.

        ``"all"``; a number, which gives the first so many; or a list of indices, UUIDs or CDI
        names. Nobody divides them: every server gets the same. ``nvidia-ctk cdi generate`` has to
        have been run on the host. Default: none. Example: ``[0, "amd.com/gpu=1"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("gpus")
    def _check_gpus(self, proposal: dict[str, Any]) -> Any:
        as_trait_error(gpu_devices, proposal["value"])
        return proposal["value"]
