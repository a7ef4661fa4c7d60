"""``Resources``: what a container may use of the host; frozen, validated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .errors import SpecError

MEMORY_MIN = 6 * 1024 * 1024
"""Bytes; with less the runtime itself does not come up (runc 1.1 takes 3 MiB)."""
CPUS_MIN = 0.01
"""Cores; the kernel takes no quota below 1 ms, which is this share of the period."""
CPU_PERIOD = 100_000
"""Microseconds."""
PIDS_MIN = 2
"""An init process and the server."""


@dataclass(frozen=True)
class Resources:
    """What a container may use at most; None is no limit.

    Raises:
        SpecError: a limit is below what any container needs.
    """

    memory: int | None = None
    """Bytes. As much again is allowed as swap, as ``podman run --memory`` does."""
    cpus: float | None = None
    """Cores."""
    pids: int | None = None
    """Processes and threads; -1 is no limit, None the engine's own (2048)."""

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < MEMORY_MIN:
            raise SpecError(
                "mem_limit",
                f"{self.memory} bytes are too few for a container; give at least {MEMORY_MIN} "
                "(a size such as '1G'), or None for no limit",
            )
        if self.cpus is not None and not (math.isfinite(self.cpus) and self.cpus >= CPUS_MIN):
            raise SpecError(
                "cpu_limit",
                f"{self.cpus} is no number of cores; give at least {CPUS_MIN}, such as 1.5, or "
                "None for no limit",
            )

        if self.pids is not None and self.pids != -1 and self.pids < PIDS_MIN:
            raise SpecError(
                "pids_limit",
                f"{self.pids} processes are too few for a container; give at least {PIDS_MIN}, "
                "-1 for no limit or None for the engine's own",
            )

    def to_json(self) -> dict[str, Any]:
        """Return ``resource_limits``; empty without a limit."""
        limits: dict[str, Any] = {}
        if self.memory is not None:
            limits["memory"] = {"limit": self.memory, "swap": 2 * self.memory}
        if self.cpus is not None:
            limits["cpu"] = {"quota": round(self.cpus * CPU_PERIOD), "period": CPU_PERIOD}
        if self.pids is not None:
            limits["pids"] = {"limit": self.pids}
        return limits
