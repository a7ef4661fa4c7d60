"""``podmanspawner migrate``: a configuration of another spawner's to one of this."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import pprint
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from traitlets import TraitError
from traitlets.config.loader import LazyConfigValue

from podmanspawner.spawner import PodmanSpawner

from . import from_docker, from_original
from .hub import ConfigurationError, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from traitlets.config import Config

    Translation = tuple[dict[str, Any], list[str]]

_WIDTH = 92
_OURS = ("PodmanSpawner", "podman")
_PODMAN = "podmanspawner.PodmanSpawner"
_HEAD = """\
# In place of all that {file} says of {sections} and of c.JupyterHub.spawner_class.
c = get_config()  # noqa

c.JupyterHub.spawner_class = {spawner_class!r}
"""


def migrate(file: Path) -> str:
    """Return the text of a configuration that says for this spawner what a file says for another.

    Raises:
        ConfigurationError: the file cannot be read, or is of a spawner that is not known here.
    """
    with _dockerspawner_to_import():
        config = load(file)
    chosen = config["JupyterHub"].get("spawner_class", "jupyterhub.spawner.LocalProcessSpawner")
    name = _class_name(chosen)
    if "ProfilesSpawner" in name:
        return _profiles(file, config, chosen)
    translate = _translator(name)
    if translate is None:
        raise ConfigurationError(
            f"{file} starts servers with {name}, which this command does not know. It knows "
            "podmanspawner 0.2, dockerspawner, and ProfilesSpawner with profiles of these"
        )
    sections = _sections(name)
    options, notes = _translated(config, translate, _given(config, sections))
    if translate is not from_original.translate:
        notes += from_docker.notes_on_hub(config["JupyterHub"])
    head = _HEAD.format(
        file=file.name, sections=", ".join(f"c.{one}" for one in sections), spawner_class="podman"
    )
    lines = [f"c.PodmanSpawner.{key} = {_text(value)}" for key, value in options.items()]
    return head + "".join(f"{line}\n" for line in [*lines, *_comments(notes)])


@contextlib.contextmanager
def _dockerspawner_to_import() -> Iterator[None]:
    """Let a file import dockerspawner where it is not installed: only its classes' names count."""
    name = "dockerspawner"
    if importlib.util.find_spec(name) is not None:
        yield
        return
    module = ModuleType(name)
    for each in from_docker.CLASSES:
        setattr(module, each, type(each, (), {"__module__": name}))
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


def _profiles(file: Path, config: Config, chosen: Any) -> str:
    """Translate the profiles of a wrapper's; those of other spawners stay."""
    profiles, notes = [], []
    section = _class_name(chosen).rpartition(".")[2]
    for display, key, child, given in config[section].get("profiles", []):
        name = _class_name(child)
        translate = _translator(name)
        if translate is None:
            profiles.append((display, key, name, given))
            continue
        own = {**_given(config, _sections(name)), **given}
        options, said = _translated(config, translate, own)
        profiles.append((display, key, _PODMAN, options))
        notes += [f"{key}: {note}" for note in said]
    if not profiles:
        raise ConfigurationError(
            f"{file} has no c.{section}.profiles. Name the file that has them"
        )
    head = _HEAD.format(
        file=file.name, sections=f"c.{section}.profiles", spawner_class=_class_name(chosen)
    )
    lines = [f"c.{section}.profiles = {_text(profiles)}", *_comments(notes)]
    return head + "".join(f"{line}\n" for line in lines)


def _translated(
    config: Config,
    translate: Callable[[Mapping[str, Any]], Translation],
    own: Mapping[str, Any],
) -> Translation:
    """Return a spawner's options, but for those of every spawner that stay as they are."""
    common = _given(config, ["Spawner"])
    options, notes = translate({**common, **own})
    stay = {name for name, value in common.items() if options.get(name) == value}
    taken, refused = _checked({k: v for k, v in options.items() if k not in stay})
    return taken, [*notes, *refused]


def _class_name(chosen: Any) -> str:
    return chosen if isinstance(chosen, str) else f"{chosen.__module__}.{chosen.__name__}"


def _translator(name: str) -> Callable[[Mapping[str, Any]], Translation] | None:
    """Return what translates the options of a class, by its name: it need not be installed."""
    last = name.rpartition(".")[2]
    if last in _OURS:
        return from_original.translate
    if last in from_docker.CLASSES:
        return from_docker.CLASSES[last]
    return None


def _sections(name: str) -> list[str]:
    """Return the sections of the configuration that hold the options of a class."""
    if name.rpartition(".")[2] in _OURS:
        return ["PodmanSpawner"]
    return ["DockerSpawner", *(["SystemUserSpawner"] if "ystem" in name else [])]


def _given(config: Config, sections: list[str]) -> dict[str, Any]:
    """Return what sections say, the later ones winning."""
    given: dict[str, Any] = {}
    for section in sections:
        given |= dict(config[section].items()) if section in config else {}
    return {name: _value(value) for name, value in given.items()}


def _value(value: Any) -> Any:
    """Return the value of what a configuration adds to a default."""
    if isinstance(value, LazyConfigValue):
        made = value.to_dict()
        return made.get("update") or [*made.get("prepend", []), *made.get("extend", [])]
    return value


def _checked(options: Mapping[str, Any]) -> Translation:
    """Return the options that this spawner takes, and why the others are not among them."""
    spawner = PodmanSpawner()
    refusals = {name: _why_not(spawner, name, value) for name, value in options.items()}
    taken = {name: value for name, value in options.items() if not refusals[name]}
    return taken, [refusal for refusal in refusals.values() if refusal]


def _why_not(spawner: PodmanSpawner, name: str, value: Any) -> str:
    if not spawner.has_trait(name):
        return f"{name}: this spawner has no such option"
    try:
        setattr(spawner, name, value)
        plain = ast.literal_eval(repr(value)) == value
    except TraitError as error:
        text = str(error)
        return text if name in text else f"{name}: {text}"
    except (ValueError, SyntaxError):
        plain = False
    return "" if plain else f"{name}: {value!r} is no plain value; carry it over"


def _text(value: Any) -> str:
    return pprint.pformat(value, width=_WIDTH, sort_dicts=False)


def _comments(notes: list[str]) -> list[str]:
    return [f"# {' '.join(note.split())}" for note in notes]
