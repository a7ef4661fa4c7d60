"""Write explanation/held.md: what was done to it and what held, from explanation/held.json.

``make test-hostile``, ``make crashes``, ``make soak`` and ``make fuzz`` put what they measured
there and write the page; ``python docs/held.py`` writes the page alone. A test compares.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent / "explanation" / "held.md"
KEPT = PAGE.with_suffix(".json")

INTRO = """\
# What it has withstood

Written by `docs/held.py` from the newest runs of `make test-hostile`, `make crashes`, `make soak`
and `make fuzz`; [security](security.md) and [faults](faults.md) say what is promised. Each line is
a test: how often it was tried, each time with something else, whether it held, and what was
measured on the way.

"""


@dataclass(frozen=True)
class Section:
    """Tests of one kind."""

    title: str
    intro: str
    files: tuple[str, ...]
    inputs: bool = False
    """Whether generated inputs are counted, and tests without any are left out."""


SECTIONS = (
    Section(
        "Lies and attacks",
        "A service that lies at the wire and in what it says, in each step of a start, a poll and "
        "a stop; what an account can put in the way of its socket; ten accounts that attack at "
        "once.",
        ("hostile/test_lies.py", "hostile/test_places.py", "hostile/test_isolation.py"),
    ),
    Section(
        "Kills",
        "The Hub is killed with SIGKILL at its steps and at random, the account's service at its "
        "requests. What is lost or left afterwards is a failure.",
        ("hostile/test_crashes.py",),
    ),
    Section(
        "Faults",
        "[Each fault](faults.md) for real; the outcome is what that page says.",
        ("hostile/test_faults.py",),
    ),
    Section(
        "What root does",
        "Every system call of a Hub through whole lives of servers.",
        ("hostile/test_privileges.py",),
    ),
    Section(
        "Load", "Many servers at once, and starts and stops without end.", ("hub/test_load.py",)
    ),
    Section(
        "Inputs",
        "Generated input for what reads outside data: it is read, or refused with an error of the "
        "project's own.",
        (
            *(f"unit/test_{name}.py" for name in ("fuzz", "answers", "names", "options", "pulls")),
            "fuzz/test_targets.py",
        ),
        inputs=True,
    ),
)


def take(functions: dict[str, dict]) -> None:
    """Keep the newest result of each test function that the page has, and write the page.

    Args:
        functions: By the name that pytest gives them: ``date``, how many cases ``passed`` and
            ``failed``, the number of ``inputs``, and the lines of what was ``measured``.
    """
    known = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for section in SECTIONS:
        known |= dict(_of(section, functions))
    KEPT.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    PAGE.write_text(page())


def page() -> str:
    """Return the page as the results have it."""
    known = json.loads(KEPT.read_text())
    parts = [INTRO]
    for section in SECTIONS:
        found = _of(section, known)
        parts += [f"## {section.title}\n\n{section.intro}\n\n", f"{_sum(section, found)}\n\n"]
        parts += ["| what | tried | held | measured | date |\n| --- | --- | --- | --- | --- |\n"]
        parts += [_line(section, name, one) for name, one in found] + ["\n"]
    return "".join(parts).rstrip("\n") + "\n"


def _of(section: Section, functions: dict[str, dict]) -> list[tuple[str, dict]]:
    """Return the tests of a section, in the order of its files."""
    return [
        (name, one)
        for file in section.files
        for name, one in functions.items()
        if name.startswith(f"tests/{file}::")
        and one["passed"] + one["failed"]
        and (one["inputs"] or not section.inputs)
    ]


def _sum(section: Section, found: list[tuple[str, dict]]) -> str:
    told = [text for _, one in found for text in one["measured"]]
    if section.inputs:
        return f"**{sum(one['inputs'] for _, one in found):,} inputs.**"
    if kills := sum(
        int(count) for text in told for count in re.findall(r"killed (?:at )?(\d+)", text)
    ):
        return f"**{kills:,} kills.**"
    return f"**{sum(one['passed'] + one['failed'] for _, one in found):,} trials.**"


def _line(section: Section, name: str, one: dict) -> str:
    file, _, function = name.rpartition("::")
    cases = one["passed"] + one["failed"]
    tried = f"{one['inputs']:,}" if section.inputs else f"{cases:,}"
    held = "all" if not one["failed"] else f"**{one['failed']} of {cases} not**"
    what = function.removeprefix("test_").replace("_", " ")
    link = f"[{what}](../../{file})"
    return f"| {link} | {tried} | {held} | {'; '.join(one['measured'])} | {one['date']} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
