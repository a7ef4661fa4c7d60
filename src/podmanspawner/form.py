"""The form by which a user chooses, in the style of JupyterHub's own pages; pure.

Every text is escaped. No script takes part.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .menu import IMAGE, MAX_LENGTH, PROFILE, UNLISTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .menu import Menu, Profile, ProfileOption, Unlisted

# Options show under the profile that is chosen. A browser that does not know ":has" shows a text
# field too many; what stands in it does not count.
_STYLE = """<style>
.podmanspawner-profile > fieldset { display: none; }
.podmanspawner-profile > input:checked ~ fieldset { display: block; }
select:not(:has(option[value="unlisted-choice"]:checked)) + .podmanspawner-unlisted {
  display: none;
}
</style>
"""


def form(offered: Menu) -> str:
    """Return the form as HTML; "" if there is nothing to choose."""
    if offered.is_empty:
        return ""
    if offered.profiles:
        return _profile_form(offered)
    identity = "podmanspawner-image"
    if offered.any_image:
        control = _text_field(identity, IMAGE, placeholder=offered.image)
    else:
        lines = [(name, name, name == offered.image) for name in offered.images]
        control = _select(identity, IMAGE, lines)
    return _labelled(identity, "Image", control)


def field_of(profile: Profile, option: ProfileOption) -> str:
    """Return the name of an option's field, which is another one for each profile."""
    return f"profile-option-{profile.slug}--{option.slug}"


def _profile_form(offered: Menu) -> str:
    blocks = [_profile_block(profile, offered.profile) for profile in offered.profiles]
    legend = '<legend class="fs-5">Profile</legend>\n'
    return f'{_STYLE}<fieldset class="mb-3">\n{legend}{"".join(blocks)}</fieldset>\n'


def _profile_block(profile: Profile, default: Profile | None) -> str:
    identity, name = f"podmanspawner-profile-{profile.slug}", escape(profile.display_name)
    attributes = " checked" if profile is default else ""
    below = ""
    if profile.description:
        attributes += f' aria-describedby="{identity}--text"'
        text = escape(profile.description)
        below += f'<div class="form-text" id="{identity}--text">{text}</div>\n'
    if profile.options:
        legend = f'<legend class="visually-hidden">Options of {name}</legend>\n'
        questions = "".join(_question(profile, option) for option in profile.options)
        below += f'<fieldset class="mt-2">\n{legend}{questions}</fieldset>\n'
    return (
        '<div class="form-check mb-3 podmanspawner-profile">\n'
        f'<input class="form-check-input" type="radio" id="{identity}" name="{PROFILE}"'
        f' value="{profile.slug}"{attributes}>\n'
        f'<label class="form-check-label" for="{identity}">{name}</label>\n'
        f"{below}</div>\n"
    )


def _question(profile: Profile, option: ProfileOption) -> str:
    name = field_of(profile, option)
    identity = f"podmanspawner-{name}"
    if not option.choices and option.unlisted:
        control = _unlisted_field(identity, name, option.unlisted)
    else:
        lines = [(c.slug, c.display_name, c is option.default) for c in option.choices]
        own = option.unlisted
        if own:
            lines.append((UNLISTED, own.display_name_in_choices, False))
        control = _select(identity, name, lines)
        control += _unlisted_field(f"{identity}--{UNLISTED}", name, own) if own else ""
    return _labelled(identity, option.display_name, control)


def _unlisted_field(identity: str, name: str, own: Unlisted) -> str:
    control = _text_field(
        identity,
        f"{name}--{UNLISTED}",
        placeholder=own.display_name,
        label=own.display_name,
        title=own.validation_message,
    )
    return f'<div class="mt-1 podmanspawner-unlisted">\n{control}</div>\n'


def _labelled(identity: str, label: str, control: str) -> str:
    label = f'<label class="form-label" for="{identity}">{escape(label)}</label>\n'
    return f'<div class="mb-3">\n{label}{control}</div>\n'


def _text_field(
    identity: str, name: str, *, placeholder: str = "", label: str = "", title: str = ""
) -> str:
    given = {"placeholder": placeholder, "aria-label": label, "title": title}
    attributes = "".join(f' {key}="{escape(text)}"' for key, text in given.items() if text)
    return (
        f'<input class="form-control" type="text" id="{identity}" name="{name}"'
        f' maxlength="{MAX_LENGTH}" autocomplete="off" spellcheck="false"{attributes}>\n'
    )


def _select(identity: str, name: str, lines: Sequence[tuple[str, str, bool]]) -> str:
    options = ""
    for value, text, selected in lines:
        attributes = f'value="{escape(value)}"' + (" selected" if selected else "")
        options += f"<option {attributes}>{escape(text)}</option>\n"
    return f'<select class="form-select" id="{identity}" name="{name}">\n{options}</select>\n'
