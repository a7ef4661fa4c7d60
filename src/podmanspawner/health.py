"""``HealthCheck``: a command by which the engine finds out how a server is; frozen, validated.

ref: podman-run(1), --health-cmd
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from . import checks
from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NANOSECONDS = 10**9
_LONGEST = 86400


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A command in the container that ends with 0 while all is well; times in seconds.

    Raises:
        SpecError: a value is none that the engine can have.
    """

    cmd: str | Sequence[str]
    """A text for the container's shell, or a list of words for no shell; ``"none"`` for none."""
    interval: float = 0
    """Between two checks that the account's systemd starts; 0 for none but those asked for."""
    timeout: float = 30
    """After so long, a check has failed."""
    retries: int = 3
    """After so many that failed in a row, the container is unhealthy."""
    start_period: float = 0
    """For so long after the start, none counts that fails."""

    def __post_init__(self) -> None:
        if not self.cmd or (isinstance(self.cmd, str) and "\0" in self.cmd):
            raise SpecError("healthcheck", f"cmd is {self.cmd!r}; give a text or a list of words")
        if not isinstance(self.cmd, str):
            if not isinstance(self.cmd, list | tuple):
                raise SpecError(
                    "healthcheck", f"cmd is {self.cmd!r}, no text and no list of words"
                )
            object.__setattr__(self, "cmd", checks.words("healthcheck", self.cmd))
            if self.cmd[0] in ("CMD", "CMD-SHELL", "NONE"):  # as Docker's API has them
                raise SpecError(
                    "healthcheck",
                    f"cmd begins with {self.cmd[0]!r}; leave it out, and write a text for a shell",
                )
        for name, least in (("interval", 0), ("timeout", 1), ("start_period", 0)):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not least <= value <= _LONGEST:
                raise SpecError(
                    "healthcheck", f"{name} is {value!r}; give {least} to {_LONGEST} seconds"
                )
        if type(self.retries) is not int or self.retries < 1:
            raise SpecError("healthcheck", f"retries is {self.retries!r}; give 1 or more")

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> HealthCheck | None:
        """Return the health check of an option; None for an empty one.

        Raises:
            SpecError: a key is unknown, ``cmd`` is missing, or a value is not to be.
        """
        if not value:
            return None
        known = [field.name for field in fields(cls)]
        for key in value.keys() - {*known}:
            near = difflib.get_close_matches(str(key), known, 1) or [", ".join(known)]
            raise SpecError("healthcheck", f"there is no {key!r}; did you mean {near[0]}?")
        if "cmd" not in value:
            raise SpecError("healthcheck", "it has no cmd; give the command that checks")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the engine's request."""
        test = ["CMD-SHELL", self.cmd] if isinstance(self.cmd, str) else ["CMD", *self.cmd]
        if self.cmd == "none":
            return {"healthconfig": {"Test": ["NONE"]}}
        return {
            "healthconfig": {
                "Test": test,
                "Interval": round(self.interval * _NANOSECONDS),
                "Timeout": round(self.timeout * _NANOSECONDS),
                "StartPeriod": round(self.start_period * _NANOSECONDS),
                "Retries": self.retries,
            },
            # Podman 5.3 to 5.4.1 take the lack of these for zeros; older ones do not know them
            "healthLogDestination": "local",
            "healthMaxLogCount": 5,
            "healthMaxLogSize": 500,
        }
