"""Flags of ``podman run`` to what the spawner's options hold; pure.

For ``podman_additional_cmds`` of the original podmanspawner: what was a command line goes the one
way through ``ServerSettings``. Words are read by the rules that podman itself has for them.

ref: podman-run(1), podman(1); pflag
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from podmanspawner.errors import SpecError

from .changes import OPTION, Changes, Draft
from .table import ALIASES, FLAGS, LETTERS
from .values import FALSE, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OPTION", "Changes", "begins_one", "options", "parse"]


def parse(words: Sequence[str]) -> Changes:
    """Return what flags of ``podman run`` say.

    Args:
        words: as a command line has them; a value is a word of its own, or follows ``=``.

    Raises:
        SpecError: a word is no flag, or a flag cannot be honoured; it names the flag.
    """
    draft = Draft()
    for shown, name, value in _flags(words):
        flag = FLAGS[name]
        if flag.refused and not (flag.kind == "switch" and value in FALSE):
            raise SpecError(OPTION, f"{shown} cannot be honoured: {flag.reason}")
        if flag.action is None:
            continue
        try:
            for part in parts(value) if flag.kind == "each" else [value]:
                flag.action(draft, part)
        except (SpecError, ValueError) as error:
            why = str(error)
            if isinstance(error, SpecError):
                why = why.removeprefix(f"{error.option}: ")
            raise SpecError(OPTION, f"{shown} {value}: {why}") from error
    return draft.changes()


def options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each flag as it was written, and the option that says the same."""
    for shown, name, _ in _flags(words):
        if to := FLAGS[name].to:
            yield shown, to


def begins_one(text: str) -> bool:
    """Whether a text seems to begin with a flag: a long one, or a letter that is known."""
    return text.startswith("--") or (text.startswith("-") and text[1:2] in LETTERS)


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each flag as it was written, its long name, and its value."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and word != "--":
            name, equals, value = word[2:].partition("=")
            yield _long(name, value if equals else None, rest)
        elif re.fullmatch(r"-[^-].*", word, re.DOTALL):
            yield from _short(word, rest)
        else:
            raise SpecError(
                OPTION,
                f"{word!r} is no flag; the image is the option image, its command is cmd and args",
            )


def _long(name: str, value: str | None, rest: list[str]) -> tuple[str, str, str]:
    shown, name = f"--{name}", ALIASES.get(name, name)
    flag = FLAGS.get(name)
    if flag is None:
        near = [f"--{flag}" for flag in difflib.get_close_matches(name, FLAGS, 1)]
        hint = f"did you mean {near[0]}?" if near else "see podman-run(1)"
        raise SpecError(OPTION, f"{shown} is no flag of podman run; {hint}")
    if value is None and flag.kind == "switch":
        value = "true"
    if value is None:
        value = _next(shown, rest)
    return shown, name, value


def _short(word: str, rest: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the flags of a word such as ``-it`` or ``-v/a:/b``."""
    letters = word[1:]
    while letters:
        shown, letters = f"-{letters[0]}", letters[1:]
        if shown[1] not in LETTERS:
            raise SpecError(OPTION, f"{shown} of {word!r} is no flag of podman run")
        name = LETTERS[shown[1]]
        if FLAGS[name].kind == "switch" and not letters.startswith("="):
            yield shown, name, "true"
            continue
        yield shown, name, letters.removeprefix("=") if letters else _next(shown, rest)
        return


def _next(shown: str, rest: list[str]) -> str:
    if not rest:
        raise SpecError(OPTION, f"{shown} needs a value after it")
    return rest.pop(0)
