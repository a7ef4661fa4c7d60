"""What a check finds, and tables of checks in the order in which a start would fail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from podmanspawner.answers import one_line
from podmanspawner.errors import PodmanSpawnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Status = Literal["ok", "warning", "failure", "skipped"]
Case = TypeVar("Case")

_SENTENCE = re.compile(r"(?<=[.;]) (?=[A-Z])|; (?=[a-z])")
_ELSEWHERE = "look the message up in docs/how-to/troubleshooting.md"


@dataclass(frozen=True)
class Seen:
    """What a check saw."""

    status: Status
    text: str
    remedy: str = ""
    """What mends it, best a command."""


def ok(text: str) -> Seen:
    """Return that all is well."""
    return Seen("ok", text)


def warning(text: str, remedy: str) -> Seen:
    """Return that a start works, but not well."""
    return Seen("warning", text, remedy)


def failure(text: str, remedy: str) -> Seen:
    """Return that no start works."""
    return Seen("failure", text, remedy)


def refused(error: PodmanSpawnerError) -> Seen:
    """Return an error of the library's: its first sentence, and what it says to do."""
    text, *rest = _SENTENCE.split(one_line(str(error)), maxsplit=1)
    return failure(text.rstrip(".;"), rest[0] if rest else _ELSEWHERE)


@dataclass(frozen=True)
class Check(Generic[Case]):
    """One check: a small function, and why it matters what it sees."""

    name: str
    why: str
    look: Callable[[Case], Seen | None]
    """None where there is nothing to look at."""
    needs: Sequence[str] = ()
    """Names of checks without which this one cannot look."""


@dataclass(frozen=True)
class Finding:
    """What one check found about the host or about a user."""

    subject: str
    """``host``, or a user, with the profile where there are some."""
    name: str
    status: Status
    seen: str
    why: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return dict(vars(self))


def look(subject: str, checks: Sequence[Check[Case]], case: Case) -> Iterator[Finding]:
    """Yield what the checks find, one after the other.

    A check that needs one that failed, or could not look itself, is skipped.
    """
    missing: dict[str, str] = {}
    for check in checks:
        reason = next((missing[name] for name in check.needs if name in missing), None)
        if reason is not None:
            seen: Seen | None = Seen("skipped", f"not looked at, because of {reason}")
            missing[check.name] = reason
        else:
            try:
                seen = check.look(case)
            except PodmanSpawnerError as error:
                seen = refused(error)
            except Exception as error:  # noqa: BLE001, functions of the administrator's raise anything
                seen = failure(f"{type(error).__name__}: {error}", _ELSEWHERE)
        if seen is None:
            continue
        if seen.status in ("failure", "skipped") and check.name not in missing:
            missing[check.name] = check.name
        text, remedy = one_line(seen.text), one_line(seen.remedy)
        yield Finding(subject, check.name, seen.status, text, check.why, remedy)
