"""What is offered to a user: images or profiles, as an administrator wrote them down; pure.

The keys of a profile are those of kubespawner's ``profile_list``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

IMAGE = "image"
PROFILE = "profile"
ANY = "*"
UNLISTED = "unlisted-choice"
"""Value of a select by which a user says that they write something of their own."""
VALUE = "{value}"
MAX_LENGTH = 1000
"""Characters of one value."""

_SHOWN = 80
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
_PROFILE_KEYS = ("display_name", "slug", "description", "default", "overrides", "profile_options")
_OPTION_KEYS = ("display_name", "choices", "unlisted_choice")
_CHOICE_KEYS = ("display_name", "default", "overrides")
_UNLISTED_KEYS = (
    *("enabled", "display_name", "display_name_in_choices", "validation_regex"),
    *("validation_message", "overrides"),
)
_OTHER_NAMES = {"kubespawner_override": "overrides", "spawner_override": "overrides"}


@dataclass(frozen=True)
class Choice:
    """One line of a select."""

    slug: str
    display_name: str
    default: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unlisted:
    """What a user may write instead of choosing."""

    display_name: str
    display_name_in_choices: str
    validation_regex: str
    validation_message: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class ProfileOption:
    """One question of a profile."""

    slug: str
    display_name: str
    choices: Sequence[Choice]
    unlisted: Unlisted | None

    @property
    def default(self) -> Choice | None:
        """The choice that holds if nobody chooses: the one that says so, else the first."""
        return next((c for c in self.choices if c.default), next(iter(self.choices), None))


@dataclass(frozen=True)
class Profile:
    """A set of options of the spawner under one name."""

    slug: str
    display_name: str
    description: str
    default: bool
    overrides: Mapping[str, Any]
    options: Sequence[ProfileOption]


@dataclass(frozen=True)
class Menu:
    """What one user may choose at one start."""

    images: Mapping[str, str] = field(default_factory=dict)
    """Name to reference."""
    any_image: bool = False
    image: str = ""
    """The image that holds if nobody chooses; a name in ``images``, or a reference."""
    profiles: Sequence[Profile] = ()

    @property
    def profile(self) -> Profile | None:
        """The profile that holds if nobody chooses."""
        return next((p for p in self.profiles if p.default), next(iter(self.profiles), None))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to choose, hence no form."""
        asks = any(profile.options for profile in self.profiles)
        return not (self.any_image or len(self.images) > 1 or len(self.profiles) > 1 or asks)


def menu(
    allowed_images: object,
    profile_list: object,
    *,
    image: object,
    changeable: Callable[[str], str],
) -> Menu:
    """Return what there is to choose.

    Args:
        allowed_images: a list, a mapping of names to references, ``"*"``, or nothing.
        profile_list: a list of profiles, or nothing.
        image: the option ``image``; the default choice if it is one of ``allowed_images``.
        changeable: returns why an option of that name cannot be set by a profile, or "".

    Raises:
        SpecError: one of them is not well-formed, or both are there.
    """
    if allowed_images and profile_list:
        raise SpecError(
            "profile_list",
            "allowed_images is set too; offer the images as profiles, or as profile_options",
        )
    parsed = profiles(profile_list, changeable) if profile_list else ()
    if allowed_images == ANY:
        known = image if isinstance(image, str) and not has_braces(image) else ""
        return Menu(any_image=True, image=known)
    listed = images(allowed_images) if allowed_images else {}
    default = next(
        (name for name, text in listed.items() if text == image), next(iter(listed), "")
    )
    return Menu(images=listed, image=default, profiles=parsed)


def images(value: object) -> dict[str, str]:
    """Return the images of a list or mapping, by the names under which users see them.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(value, list | tuple) and all(isinstance(entry, str) for entry in value):
        value = dict(zip(value, value, strict=True))
    if not isinstance(value, Mapping):
        raise SpecError(
            "allowed_images",
            f"{shown(value)} is no choice of images; write a list of references, a dictionary of "
            'names to references, or "*" for any image',
        )
    for name, reference in value.items():
        if not isinstance(name, str) or not isinstance(reference, str):
            raise SpecError("allowed_images", f"{shown(name)}: names and references must be texts")
        if not reference or not name.strip() or not name.isprintable() or len(name) > MAX_LENGTH:
            raise SpecError(
                "allowed_images",
                f"{shown(name)}: a name must have at most {MAX_LENGTH} printable characters, and "
                "a reference must follow it",
            )
    return dict(value)


def profiles(value: object, changeable: Callable[[str], str]) -> tuple[Profile, ...]:
    """Return the profiles of a list, checked.

    Raises:
        SpecError: it is no list of profiles; the text says which one, and what is wrong with it.
    """
    if not isinstance(value, list | tuple):
        raise _wrong(f"{shown(value)} is no list of profiles")
    parsed = tuple(_profile(entry, changeable) for entry in value)
    _once("the slug", [profile.slug for profile in parsed], "profile_list")
    _once("the default", [True for profile in parsed if profile.default], "profile_list")
    return parsed


def _profile(entry: object, changeable: Callable[[str], str]) -> Profile:
    name = _display_name(entry, "a profile")
    where = f"profile {name!r}"
    given = _keys(entry, _PROFILE_KEYS, where)
    slug = given.get("slug", re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-"))
    options = given.get("profile_options", {})
    if not isinstance(options, Mapping):
        raise _wrong(f"{where}: profile_options must be a dictionary of name to option")
    return Profile(
        slug=_name(slug, f"{where}: the slug"),
        display_name=name,
        description=_text(given, "description", where),
        default=_flag(given, "default", where),
        overrides=_overrides(given, where, changeable),
        options=tuple(_option(*item, where, changeable) for item in options.items()),
    )


def _option(
    slug: object, entry: object, profile: str, changeable: Callable[[str], str]
) -> ProfileOption:
    name = _name(slug, f"{profile}: the option")
    where = f"{profile}, {name}"
    if name == PROFILE:
        raise _wrong(f"{where}: an option cannot be called so; choose another name")
    given = _keys(entry, _OPTION_KEYS, where)
    choices = given.get("choices", {})
    if not isinstance(choices, Mapping):
        raise _wrong(f"{where}: choices must be a dictionary of name to choice")
    parsed = tuple(_choice(*item, where, changeable) for item in choices.items())
    _once("the default", [True for choice in parsed if choice.default], where)
    unlisted = _unlisted(given.get("unlisted_choice", {}), where, changeable)
    if not parsed and not unlisted:
        raise _wrong(f"{where}: has neither choices nor an unlisted_choice that is enabled")
    return ProfileOption(name, _display_name(entry, where), parsed, unlisted)


def _choice(slug: object, entry: object, option: str, changeable: Callable[[str], str]) -> Choice:
    name = _name(slug, f"{option}: the choice")
    if name == UNLISTED:
        raise _wrong(f"{option}: a choice cannot be called {UNLISTED!r}; choose another name")
    where = f"{option} {name!r}"
    given = _keys(entry, _CHOICE_KEYS, where)
    return Choice(
        name,
        _display_name(entry, where),
        _flag(given, "default", where),
        _overrides(given, where, changeable),
    )


def _unlisted(entry: object, option: str, changeable: Callable[[str], str]) -> Unlisted | None:
    where = f"{option}, unlisted_choice"
    given = _keys(entry, _UNLISTED_KEYS, where)
    if not _flag(given, "enabled", where):
        return None
    regex = _text(given, "validation_regex", where)
    try:
        re.compile(regex)
    except re.error as error:
        raise _wrong(f"{where}: validation_regex: {regex!r} is none: {error}") from error
    overrides = _overrides(given, where, changeable)
    if any(VALUE in text and text != VALUE for text in _texts(overrides)):
        raise _wrong(
            f"{where}: what a user writes can be a whole value only, '{VALUE}' and nothing else"
        )
    return Unlisted(
        display_name=_text(given, "display_name", where) or "Other",
        display_name_in_choices=_text(given, "display_name_in_choices", where) or "Other …",
        validation_regex=regex,
        validation_message=_text(given, "validation_message", where),
        overrides=overrides,
    )


def _overrides(
    given: Mapping[str, Any], where: str, changeable: Callable[[str], str]
) -> dict[str, Any]:
    overrides = given.get("overrides", {})
    if not isinstance(overrides, Mapping):
        raise _wrong(f"{where}: overrides must be a dictionary of option to value")
    for name in overrides:
        if why := changeable(name):
            raise _wrong(f"{where}: {why}")
    return dict(overrides)


def _wrong(message: str) -> SpecError:
    return SpecError("profile_list", message)


def _keys(entry: object, known: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise _wrong(f"{where}: {shown(entry)} must be a dictionary")
    for key in entry:
        if key not in known:
            near = _OTHER_NAMES.get(key) or next(
                iter(difflib.get_close_matches(str(key), known, 1)), ""
            )
            hint = f"write {near!r}" if near in known else f"known: {', '.join(known)}"
            raise _wrong(f"{where}: the key {shown(key)} is not known; {hint}")
    return entry


def _display_name(entry: object, where: str) -> str:
    name = entry.get("display_name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or not name.strip():
        raise _wrong(f"{where}: {shown(entry)} has no display_name, the text that users see")
    return name


def _text(given: Mapping[str, Any], key: str, where: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise _wrong(f"{where}: {key} must be a text")
    return value


def _flag(given: Mapping[str, Any], key: str, where: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(f"{where}: {key} must be True or False")
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > _SHOWN:
        raise _wrong(
            f"{where} is {shown(value)}; it needs one of letters, digits and single '-', '_' and "
            "'.' between them"
        )
    return value


def _once(what: str, values: Sequence[object], where: str) -> None:
    for value in values:
        if values.count(value) > 1:
            shown = "" if value is True else f" {value!r}"
            raise _wrong(f"{where}: there is {what}{shown} twice; only one can be it")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (*_texts(key), *_texts(inner))
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _texts(inner)


def has_braces(text: str) -> bool:
    """Whether a text could be taken for a template."""
    return "{" in text or "}" in text


def shown(value: object) -> str:
    """Show a value, without control characters and not more than a line of it."""
    text = value if isinstance(value, str) else repr(value)
    short = repr(text[:_SHOWN])
    return short[:-1] + " …" + short[-1] if len(text) > _SHOWN else short
