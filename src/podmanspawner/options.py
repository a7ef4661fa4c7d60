"""What comes back of a user's choice: the form they posted, or the API's JSON; pure.

What is guaranteed, whatever a user sends:

- A text of a user's is compared with what the administrator has listed, or its form is checked.
  It is never read as a template, as markup or as a regular expression, and never has braces.
- What becomes of a choice is what the administrator wrote for it; a text of the user's own stands
  only where ``"{value}"`` does, alone.
- What is too long, of another type, or known to nobody is refused with a :class:`ChoiceError`,
  whose text is for the user, shows little of what was sent and has no control characters.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ChoiceError
from .form import field_of
from .menu import IMAGE, MAX_LENGTH, PROFILE, UNLISTED, VALUE, has_braces, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from .menu import Menu, Profile, ProfileOption

_XSRF = "_xsrf"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_WORD = r"[a-z0-9]+(?:(?:[.]|__?|-+)[a-z0-9]+)*"
_HOST = r"[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?:(?!-){_HOST}/)?{_WORD}(?:/{_WORD})*"
    r"(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""ref: https://pkg.go.dev/github.com/distribution/reference"""
_REFERENCE_LENGTH = 400
_LISTED = 10


@dataclass(frozen=True)
class Step:
    """Options of the spawner that a choice sets for one start."""

    where: str
    """Which choice it is, for errors: ``profile 'GPU', image 'PyTorch'``."""
    overrides: Mapping[str, Any]
    complaint: str = ""
    """What to tell the user if a value, their own, is none that an option can have."""


def from_form(
    offered: Menu,
    posted: Mapping[str, Sequence[Any]],
    *,
    left_out: Callable[[str], bool] = lambda _key: False,
) -> dict[str, Any]:
    """Return the ``user_options`` of a form that was posted, or of a link's query.

    Options of a profile have its name before theirs in the form, and not in ``user_options``.
    Those of profiles that were not chosen are left out.

    Args:
        offered: what there is to choose.
        posted: each field's values.
        left_out: whether a field that is not known here is somebody else's; it stays as it came.

    Raises:
        ChoiceError: a field is not known, has no single value, or too long a one.
    """
    options: dict[str, Any] = {}
    if PROFILE in posted and offered.profiles:
        options[PROFILE] = _single(PROFILE, posted[PROFILE])
    fields = _fields(offered, _profile_of(offered, options))
    for name, values in posted.items():
        if name in fields:
            if key := fields[name]:
                options[key] = _single(name, values)
        elif name != _XSRF:
            if not left_out(name):
                raise _unknown(offered, [name])
            options[name] = values
    return _without_blanks(offered, options)


def choose(
    offered: Menu,
    user_options: Mapping[str, Any],
    *,
    left_out: Callable[[str], bool] = lambda _key: False,
) -> tuple[Step, ...]:
    """Return what a user's options set, in the order in which it is to be set.

    Args:
        offered: what there is to choose.
        user_options: as a form or the API gave them.
        left_out: whether a key that is not known here is somebody else's.

    Raises:
        ChoiceError: they choose what is not offered.
    """
    profile = _profile_of(offered, user_options)
    known = _keys_of(offered, profile)
    if unknown := [key for key in user_options if key not in known and not left_out(key)]:
        raise _unknown(offered, unknown)
    given = {key: _checked(key, user_options[key]) for key in known if key in user_options}
    if profile is None:
        return tuple(_image_step(offered, given.get(IMAGE)))
    where = f"profile {profile.display_name!r}"
    steps = [Step(where, profile.overrides)]
    for option in profile.options:
        steps += _option_steps(option, given, f"{where}, {option.slug}")
    return tuple(steps)


def reference(text: str) -> str:
    """Return a reference of an image that a user wrote.

    Raises:
        ChoiceError: it is not ``[host[:port]/]name[:tag][@digest]``.
    """
    if len(text) > _REFERENCE_LENGTH or not _REFERENCE.fullmatch(text):
        raise ChoiceError(
            f"{shown(text)} is no image; write [registry/]name[:tag], such as "
            "quay.io/jupyter/base-notebook:latest."
        )
    return text


def merged(old: object, new: object) -> object:
    """Return a dictionary with another one merged in, and None for what is to go; or ``new``.

    As JupyterHub's ``group_overrides`` do; neither of the two is changed.
    """
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    result = dict(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(old.get(key), value)
    return result


def _fields(offered: Menu, chosen: Profile | None) -> dict[str, str]:
    """Return each field's key in ``user_options``; "" for one that does not count."""
    fields = {key: key for key in _keys_of(offered, chosen)}
    for profile in offered.profiles:
        for option in profile.options:
            for ending in ("", f"--{UNLISTED}"):
                key = option.slug + ending if profile is chosen else ""
                fields[field_of(profile, option) + ending] = key
    return fields


def _keys_of(offered: Menu, profile: Profile | None) -> list[str]:
    if profile is None:
        return [IMAGE] if offered.images or offered.any_image else []
    keys = [PROFILE]
    for option in profile.options:
        keys += [option.slug, f"{option.slug}--{UNLISTED}"] if option.unlisted else [option.slug]
    return keys


def _profile_of(offered: Menu, options: Mapping[str, Any]) -> Profile | None:
    if not offered.profiles or PROFILE not in options:
        return offered.profile
    slug = _checked(PROFILE, options[PROFILE])
    found = next((profile for profile in offered.profiles if profile.slug == slug), None)
    if found is None:
        known = _listed(profile.slug for profile in offered.profiles)
        raise ChoiceError(f"There is no profile {shown(slug)} for you; there is: {known}.")
    return found


def _option_steps(option: ProfileOption, given: Mapping[str, str], where: str) -> Iterator[Step]:
    slug = given.get(option.slug)
    text = given.get(f"{option.slug}--{UNLISTED}")
    if option.unlisted and (slug == UNLISTED or (slug is None and text is not None)):
        yield _unlisted_step(option, text or "", where)
        return
    if text is not None:
        raise ChoiceError(f"{option.slug} has both a choice and a text; leave out one of them.")
    chosen = option.default
    if slug is not None:
        chosen = next((choice for choice in option.choices if choice.slug == slug), None)
        if chosen is None:
            known = _listed(choice.slug for choice in option.choices)
            raise ChoiceError(f"{option.slug}: {shown(slug)} is no choice; there is: {known}.")
    if chosen:
        yield Step(f"{where} {chosen.slug!r}", chosen.overrides)


def _unlisted_step(option: ProfileOption, text: str, where: str) -> Step:
    own = option.unlisted
    if own is None:
        raise AssertionError  # whoever calls has looked
    complaint = f"{option.slug}: " + (own.validation_message or f"{shown(text)} cannot be used.")
    if not text or has_braces(text) or not re.fullmatch(own.validation_regex or ".*", text):
        raise ChoiceError(complaint)
    overrides = {name: _filled(value, text) for name, value in own.overrides.items()}
    if own.overrides.get(IMAGE) == VALUE:
        reference(text)
    return Step(f"{where} {shown(text)}", overrides, complaint)


def _filled(value: Any, text: str) -> Any:
    """Return an override with the user's text where ``{value}`` stands, and not read again."""
    if value == VALUE:
        return text
    if isinstance(value, Mapping):
        return {_filled(key, text): _filled(inner, text) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_filled(inner, text) for inner in value)
    return value


def _image_step(offered: Menu, text: str | None) -> Iterator[Step]:
    if text is None:
        if offered.images:
            yield Step(f"image {offered.image!r}", {IMAGE: offered.images[offered.image]})
    elif offered.any_image:
        yield Step(f"image {text!r}", {IMAGE: reference(text)})
    elif text in offered.images:
        yield Step(f"image {text!r}", {IMAGE: offered.images[text]})
    else:
        raise ChoiceError(
            f"The image {shown(text)} is not one of those for you: {_listed(offered.images)}."
        )


def _without_blanks(offered: Menu, options: dict[str, Any]) -> dict[str, Any]:
    """Leave out fields that a user did not fill in, and texts besides a choice."""
    if offered.any_image and options.get(IMAGE) == "":
        del options[IMAGE]
    profile = _profile_of(offered, options)
    for option in profile.options if profile else ():
        text = f"{option.slug}--{UNLISTED}"
        blank = options.get(text) == "" and options.get(option.slug) != UNLISTED
        if blank or options.get(option.slug, UNLISTED) != UNLISTED:
            options.pop(text, None)
    return options


def _single(name: str, values: Sequence[Any]) -> str:
    if not isinstance(values, list | tuple) or len(values) != 1:
        raise ChoiceError(f"{shown(name)} must be given once.")
    return _checked(name, values[0])


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ChoiceError(f"{shown(name)} must be a text.")
    if len(value) > MAX_LENGTH:
        raise ChoiceError(f"{shown(name)} is too long: at most {MAX_LENGTH} characters.")
    if _CONTROL.search(value):
        raise ChoiceError(f"{shown(name)} has control characters.")
    return value


def _unknown(offered: Menu, keys: Collection[object]) -> ChoiceError:
    names = ", ".join(shown(key) for key in list(keys)[:_LISTED])
    if not offered.images and not offered.any_image and not offered.profiles:
        return ChoiceError(f"There is nothing to choose here, and {names} was given.")
    return ChoiceError(f"{names} cannot be chosen here.")


def _listed(names: Iterable[str]) -> str:
    first = list(itertools.islice(names, _LISTED + 1))
    return ", ".join([*first[:_LISTED], "…"] if len(first) > _LISTED else first)
