"""The options of podmanspawner 0.2 to those of today, by what the spawner itself makes of them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from podmanspawner.compat import PORT, Original
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podmanspawner.flags import Changes

_NAMES = {option.name for option in fields(Original)}
_NO_OPTIONS = ("container_port", "port_word")
_HOOKS = "--hooks-dir="


def translate(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return today's options, and notes on what has no counterpart.

    Raises:
        SpecError: a setting cannot be honoured; it names the setting.
    """
    original = Original(**{name: given[name] for name in _NAMES & set(given)})
    options = {name: value for name, value in given.items() if name not in _NAMES}
    if not original.used:
        return options, ["it has no setting of podmanspawner 0.2"]
    changes, notes = original.changes, []
    before = _settings(options)
    named = {name: "" for name in changes.inherited if name not in before.environment}
    after = original.settings(replace(before, environment={**before.environment, **named}))
    for option in fields(ServerSettings):
        value = getattr(after, option.name)
        if value != getattr(before, option.name) and option.name not in _NO_OPTIONS:
            options[option.name] = list(value) if isinstance(value, tuple) else value
    if not options.get("image"):
        del options["environment"]["JUPYTER_IMAGE_SPEC"]
    for name in named:
        del options["environment"][name]
        notes.append(
            f"-e {name}: name it in c.Spawner.env_keep, or give it a value in environment"
        )
    if after.port_word and options.get("cmd"):
        port = str(after.container_port)
        options["cmd"] = [word.replace(PORT, port) for word in options["cmd"]]
    if original.service_environment:
        options["service_environment"] = original.service_environment
    if policy := changes.pull_policy or ("always" if original.pull_image_first else None):
        options["pull_policy"] = policy
    notes += [
        f"--env-file {file}: write its variables into environment" for file in changes.env_files
    ]
    return _with_hooks(options, changes, notes), [*notes, *_without_effect(original)]


def _settings(options: Mapping[str, Any]) -> ServerSettings:
    """Return the settings that options of today make, as far as the original's touch them."""
    known = {option.name for option in fields(ServerSettings)}
    values = {name: value for name, value in options.items() if name in known}
    values.setdefault("image", "")
    return ServerSettings(**{**values, "server": ServerName("", "")})


def _with_hooks(options: dict[str, Any], changes: Changes, notes: list[str]) -> dict[str, Any]:
    hooks = [
        flag.removeprefix(_HOOKS) for flag in changes.service_flags if flag.startswith(_HOOKS)
    ]
    notes += [
        f"{flag}: write it into [engine] of the accounts' containers.conf"
        for flag in changes.service_flags
        if not flag.startswith(_HOOKS)
    ]
    return {**options, "hooks_dir": hooks} if hooks else options


def _without_effect(original: Original) -> list[str]:
    notes = {
        "popen_kwargs": "it has no effect, since the Hub starts no process for a server",
        "preexec_fn_set": "it has no effect, since the Hub starts no process for a server",
        "standard_jupyter_port": "nothing needs it: the server learns its port from the Hub",
        "pull_image": "it was pulled before image; only image is pulled now",
    }
    return [f"{name}: {notes[name]}" for name in original.used if name in notes]
