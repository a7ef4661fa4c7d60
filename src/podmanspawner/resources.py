"""``Resources``: what a container may use of the host; frozen, validated."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMORY_MIN = 6 * 1024 * 1024
"""Bytes; with less the runtime itself does not come up (runc 1.1 takes 3 MiB)."""
CPUS_MIN = 0.01
"""Cores; the kernel takes no quota below 1 ms, which is this share of the period."""
CPU_PERIOD = 100_000
"""Microseconds."""
CPU_SHARES = 1024
"""Of a core: a weight against others where there are too few; ref: podman-run(1), --cpu-shares."""
_SHARES_MIN, _SHARES_MAX = 2, 262144
PIDS_MIN = 2
"""An init process and the server."""


@dataclass(frozen=True)
class Resources:
    """What a container may use at most; None is no limit.

    Raises:
        SpecError: a limit is below what any container needs.
    """

    memory: int | None = None
    """Bytes."""
    cpus: float | None = None
    """Cores."""
    pids: int | None = None
    """Processes and threads; -1 is no limit, None the engine's own (2048)."""
    memory_swap: int | None = None
    """Bytes of memory and swap together; -1 is no limit, None twice the memory, as ``podman run
    --memory`` does."""
    memory_guarantee: int | None = None
    """Bytes that are taken away last when the host runs out of memory."""
    cpu_guarantee: float | None = None
    """Cores that the container's share comes to when all want more than there are."""

    def __post_init__(self) -> None:
        self._check_memory()
        for option, cores in (("cpu_limit", self.cpus), ("cpu_guarantee", self.cpu_guarantee)):
            if cores is not None and not (math.isfinite(cores) and cores >= CPUS_MIN):
                raise SpecError(
                    option,
                    f"{cores} is no number of cores; give at least {CPUS_MIN}, such as 1.5, or "
                    "None for no limit",
                )
        if self.cpus is not None and (self.cpu_guarantee or 0) > self.cpus:
            raise SpecError(
                "cpu_guarantee", f"{self.cpu_guarantee} cores are more than cpu_limit, {self.cpus}"
            )
        if self.pids is not None and self.pids != -1 and self.pids < PIDS_MIN:
            raise SpecError(
                "pids_limit",
                f"{self.pids} processes are too few for a container; give at least {PIDS_MIN}, "
                "-1 for no limit or None for the engine's own",
            )

    def _check_memory(self) -> None:
        for option, size in (("mem_limit", self.memory), ("mem_guarantee", self.memory_guarantee)):
            if size is not None and size < (MEMORY_MIN if option == "mem_limit" else 1):
                raise SpecError(
                    option,
                    f"{size} bytes are too few for a container; give at least {MEMORY_MIN} "
                    "(a size such as '1G'), or None for no limit",
                )
        if self.memory is not None and (self.memory_guarantee or 0) > self.memory:
            raise SpecError(
                "mem_guarantee",
                f"{self.memory_guarantee} bytes are more than mem_limit, {self.memory}",
            )
        if self.memory_swap is None or (self.memory_swap == -1 and self.memory is not None):
            return
        if self.memory is None or self.memory_swap < self.memory:
            raise SpecError(
                "memswap_limit",
                f"{self.memory_swap} bytes of memory and swap together must not be less than "
                f"mem_limit, {self.memory}; -1 is no limit, None twice mem_limit",
            )

    def to_json(self) -> dict[str, Any]:
        """Return ``resource_limits``; empty without a limit."""
        memory = {"limit": self.memory, "reservation": self.memory_guarantee}
        if self.memory is not None:
            swap = self.memory_swap
            memory["swap"] = 2 * self.memory if swap is None else swap
        cpu: dict[str, int | None] = {}
        if self.cpus is not None:
            cpu |= {"quota": round(self.cpus * CPU_PERIOD), "period": CPU_PERIOD}
        if self.cpu_guarantee is not None:
            shares = round(self.cpu_guarantee * CPU_SHARES)
            cpu["shares"] = min(max(shares, _SHARES_MIN), _SHARES_MAX)
        limits = {"memory": memory, "cpu": cpu, "pids": {"limit": self.pids}}
        given = {
            what: {key: value for key, value in values.items() if value is not None}
            for what, values in limits.items()
        }
        return {what: values for what, values in given.items() if values}


GPU_KIND = "nvidia.com/gpu"
_GPU = re.compile(r"all|[0-9]+(:[0-9]+)?|(GPU|MIG)-[a-zA-Z0-9:_.-]+")
"""ref: nvidia-ctk cdi generate, --device-name-strategy: index and uuid."""
_CDI = re.compile(r"[^\s=/]+/[^\s=/]+=.+")


def gpu_devices(gpus: int | str | Sequence[int | str] | None) -> tuple[str, ...]:
    """Return the CDI names of GPUs, such as ``nvidia.com/gpu=0``.

    Args:
        gpus: how many, the first ones; ``"all"``; or a list of indices, UUIDs or CDI names.

    Raises:
        SpecError: it is none of these.
    """
    if gpus is None:
        return ()
    if isinstance(gpus, bool) or (isinstance(gpus, int) and gpus < 0):
        raise SpecError("gpus", f"{gpus!r} is no number of GPUs; give a number, 'all' or a list")
    if isinstance(gpus, int):
        return tuple(f"{GPU_KIND}={index}" for index in range(gpus))
    return tuple(_gpu(gpu) for gpu in ([gpus] if isinstance(gpus, str) else gpus))


def _gpu(gpu: int | str) -> str:
    text = str(gpu)
    kind = isinstance(gpu, int | str) and not isinstance(gpu, bool)
    if not kind or not (_GPU.fullmatch(text) or _CDI.fullmatch(text)):
        raise SpecError(
            "gpus",
            f"{gpu!r} is no GPU; use an index, a UUID or a CDI name such as '{GPU_KIND}=0' "
            "('nvidia-ctk cdi list' shows them)",
        )
    return text if "=" in text else f"{GPU_KIND}={text}"
