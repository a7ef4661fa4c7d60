"""Write reference/matrix.md: what the tests were run on, from reference/matrix.json.

``make matrix`` puts the newest result of each run there and writes the page; ``python
docs/runs.py`` writes the page alone. A test compares.
"""

from __future__ import annotations

import json
from pathlib import Path

PAGE = Path(__file__).parent / "reference" / "matrix.md"
RESULTS = PAGE.with_suffix(".json")
LAYERS = ("podman", "hub", "faults", "systemd", "browser")

INTRO = """\
# What it was tested on

Written by `docs/runs.py` from real runs of `make matrix`; the versions are those that were met
inside. *podman* is `tests/podman`, against the real engine; *hub* is `tests/hub`, spawners and
whole Hubs; *faults* is `tests/hostile/test_faults.py`, [what happens
when…](../explanation/faults.md); *systemd* is `tests/systemd`, which needs a host with systemd;
*browser* is `tests/browser`, a Chromium on the Hub's pages, which differ between the versions of
JupyterHub.

"""
_LATER = "not run yet"
REASONS = {
    ("4.3", "pasta"): "Podman has it from 4.4 on",
    ("4.3", "Python"): "Debian 12 has 3.11",
    ("5.4", "Python"): "Debian 13 has 3.13",
    ("5.8", "Python"): "forky has 3.14",
    ("host", "systemd"): "no systemd there",
    **{(name, "browser"): "no browser there" for name in ("bookworm", "trixie", "forky")},
}
"""Why something was not run, by Podman's version or place, and what."""


def take(lines: list[str]) -> None:
    """Keep the newest result of each run and layer, and write the page.

    Args:
        lines: Results as ``tests/machines/matrix.py`` writes them, one JSON object each, in time.
    """
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    newest = {(one["run"], one["layer"]): one for one in [*known, *map(json.loads, lines)]}
    results = sorted(newest.values(), key=_order)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(page())


def page() -> str:
    """Return the page as the results have it."""
    results = json.loads(RESULTS.read_text())
    parts = [INTRO, *_table(grid(results)), "\n## The runs\n\n", *_table(runs(results))]
    parts += ["\n## What did not pass\n\n", *failures(results)]
    parts += ["\n## What was skipped\n\n", *skips(results)]
    return "".join(parts)


def grid(results: list[dict]) -> list[list[str]]:
    """Return the table of engines, with a verdict or a reason for each thing they meet."""
    versions = list(dict.fromkeys(_short(one["seen"]["podman"]) for one in results))
    pythons = sorted({f"Python {_short(one['seen']['python'])}" for one in results}, key=_number)
    rows = ["pasta", "slirp4netns", "crun", "runc", "JupyterHub 5", "JupyterHub 6", *pythons]
    table = [["", *(f"Podman {version}" for version in versions)]]
    for row in rows:
        cells = []
        for version in versions:
            ran = [one for one in results if _is_of(one, version, row)]
            cells.append(_verdict(ran) if ran else reason(version, row))
        table.append([row, *cells])
    return table


def reason(version: str, row: str) -> str:
    """Return why there is no run."""
    return (
        REASONS.get((version, row)) or REASONS.get((version, row.split(maxsplit=1)[0])) or _LATER
    )


def runs(results: list[dict]) -> list[list[str]]:
    """Return the table of the runs: what each met, and what came of each layer."""
    table = [["system", "Podman", "network", "runtime", "JupyterHub", "Python", "systemd"]]
    table[0] += [f"*{layer}*" for layer in LAYERS] + ["date"]
    for name in dict.fromkeys(one["run"] for one in results):
        ran = {one["layer"]: one for one in results if one["run"] == name}
        last = list(ran.values())[-1]
        keys = ("system", "podman", "network", "runtime", "jupyterhub", "python", "systemd")
        cells = [last["seen"][key] for key in keys]
        for layer in LAYERS:
            place = name.partition("-")[0]
            why = REASONS.get((place, layer), _LATER)
            cells.append(_counts(ran[layer]) if layer in ran else why)
        dates = sorted({one["date"] for one in ran.values()})
        table.append([*cells, " to ".join(dict.fromkeys((dates[0], dates[-1])))])
    return table


def failures(results: list[dict]) -> list[str]:
    """Return a line for each test that failed, with what was said."""
    lines = [
        f"- Podman {one['seen']['podman']}, run *{one['run']}*: `{text}`\n"
        for one in results
        for text in one["failed"]
    ]
    return lines or ["Nothing.\n"]


def skips(results: list[dict]) -> list[str]:
    """Return a line for each reason, with the engines that met it."""
    engines: dict[str, dict[str, None]] = {}
    for one in results:
        where = f"{one['seen']['podman']} with {one['seen']['runtime'].split()[0]}"
        for text in one["skipped"]:
            engines.setdefault(text, {})[where] = None
    return [f"- {text} (Podman {', '.join(where)})\n" for text, where in sorted(engines.items())]


def _is_of(one: dict, version: str, row: str) -> bool:
    """Whether a result is of an engine's version and has what a row of the grid names."""
    seen = one["seen"]
    has = {
        seen["network"].split()[0],
        seen["runtime"].split()[0],
        f"JupyterHub {seen['jupyterhub'].split('.')[0]}",
        f"Python {_short(seen['python'])}",
    }
    return _short(seen["podman"]) == version and row in has


def _verdict(ran: list[dict]) -> str:
    passed = sum(one["passed"] for one in ran)
    failed = sum(len(one["failed"]) for one in ran)
    return f"{failed} of {passed + failed} failed, see below" if failed else f"{passed} passed"


def _counts(one: dict) -> str:
    words = [f"{one['passed']} passed"]
    if one["failed"]:
        words.append(f"{len(one['failed'])} failed")
    if skipped := sum(one["skipped"].values()):
        words.append(f"{skipped} skipped")
    return ", ".join(words)


def _order(one: dict) -> tuple:
    return _number(one["seen"]["podman"]), one["run"], LAYERS.index(one["layer"])


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.rsplit(maxsplit=1)[-1].split(".")))


def _table(table: list[list[str]]) -> list[str]:
    head, *rows = table
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |\n" for line in lines]


if __name__ == "__main__":
    PAGE.write_text(page())
