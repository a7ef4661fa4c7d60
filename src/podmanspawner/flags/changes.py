"""What flags say, in the terms of the spawner's options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from podmanspawner.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podmanspawner.images import PullPolicy
    from podmanspawner.settings import ServerSettings

OPTION = "podman_additional_cmds"

_HEALTH_LOG = {
    "healthLogDestination": "local",
    "healthMaxLogCount": 5,
    "healthMaxLogSize": 500,
}
"""What Podman 5.3 to 5.4.1 has to be told with a health check."""


@dataclass(frozen=True)
class Changes:
    """What flags say, in the terms of the spawner's options."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of ``ServerSettings``: lists are appended, mappings merged, all else takes its place."""
    extra_spec: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the engine's request, for what no option says; ``extra_spec`` overrides them."""
    inherited: tuple[str, ...] = ()
    """Variables that are named without a value."""
    env_files: tuple[str, ...] = ()
    """Files with variables, which the account has to read."""
    service_flags: tuple[str, ...] = ()
    """Global flags of ``podman``, for the account's service."""
    pull_policy: PullPolicy | None = None

    def applied(
        self, settings: ServerSettings, variables: Mapping[str, str] | None = None
    ) -> ServerSettings:
        """Return the settings with these changes.

        Args:
            settings: what the options say.
            variables: what the files of ``env_files`` hold.

        Raises:
            SpecError: a variable is named without a value, and the server does not have it.
        """
        environment = {**settings.environment, **(variables or {})}
        for name in self.inherited:
            if name not in environment:
                raise SpecError(
                    OPTION,
                    f"-e {name}: the Hub passes on no variable of its own that is not in "
                    f"env_keep; write -e {name}=VALUE, or add it to env_keep",
                )
        changed: dict[str, Any] = {"environment": environment}
        for name, value in self.fields.items():
            changed[name] = _combined(changed.get(name, getattr(settings, name)), value)
        extra_spec = _under(self.extra_spec, settings.extra_spec)
        return replace(settings, **changed, extra_spec=extra_spec)


def _combined(old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return {**old, **new}
    return (*old, *new) if isinstance(new, list) else new


def _under(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, merged; what is above wins, a None too."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _under(merged[key], value) if both else value
    return merged


class Draft:
    """Changes in the making."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.extra_spec: dict[str, Any] = {}
        self.inherited: list[str] = []
        self.env_files: list[str] = []
        self.service_flags: list[str] = []
        self.pull_policy: PullPolicy | None = None

    def changes(self) -> Changes:
        """Return them as they are now.

        Raises:
            SpecError: a health check has no command.
        """
        for name in ("healthconfig", "startupHealthConfig"):
            if name in self.extra_spec:
                self._complete_health(self.extra_spec[name], name)
        return Changes(
            self.fields,
            self.extra_spec,
            tuple(self.inherited),
            tuple(self.env_files),
            tuple(self.service_flags),
            self.pull_policy,
        )

    def _complete_health(self, check: dict[str, Any], name: str) -> None:
        if "Test" not in check:
            flag = "--health-cmd" if name == "healthconfig" else "--health-startup-cmd"
            raise SpecError(OPTION, f"a health check needs a command; add {flag}")
        if check["Test"] == ["NONE"]:
            return
        usual = {"Interval": 30 * 10**9, "Timeout": 30 * 10**9, "Retries": 3}
        if name != "healthconfig":
            usual["Retries"] = 0
        self.extra_spec[name] = {**usual, **check}
        for field_name, value in _HEALTH_LOG.items():
            self.extra_spec.setdefault(field_name, value)
