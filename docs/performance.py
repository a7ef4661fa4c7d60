"""Write explanation/performance.md and its plot: what was measured, from performance.json.

``make bench`` puts the figures there and writes the page; ``python docs/performance.py`` writes
the page alone. A test compares.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE = Path(__file__).parent / "explanation" / "performance.md"
KEPT = PAGE.with_suffix(".json")
PLOT = Path(__file__).parent / "images" / "performance.png"

OURS = "PodmanSpawner"
ASLEEP = "PodmanSpawner, its Podman asleep"
FLOOR = "floor: create and start"
RUN = "`podman run -d` by subprocess"
CLI = "podmanclispawner"
DOCKER = "dockerspawner on Podman's socket"
LOCAL = "SimpleLocalProcessSpawner"
IN_HUBS = {"PodmanSpawner": OURS, "podmanclispawner": CLI, "dockerspawner": DOCKER, "local": LOCAL}

INTRO = """\
# Performance

Written by `docs/performance.py` from the newest runs of `make bench`. What is compared is measured
in one run on one machine, in turns, with the same image, accounts and kind of network; what counts
are the ratios. Times are medians, with the quartiles behind them.
"""


@dataclass(frozen=True)
class Target:
    """What is to be reached."""

    what: str
    figure: Callable[[dict], float]
    limit: float
    unit: str = ""
    at_least: bool = False

    def line(self, known: dict) -> list[str]:
        """Return the line of the table."""
        found = self.figure(known)
        reached = found >= self.limit if self.at_least else found <= self.limit
        sign = "at least" if self.at_least else "at most"
        return [
            self.what,
            f"{sign} {self.limit:g}{self.unit}",
            f"{_short(found)}{self.unit}",
            "yes" if reached else "**no**",
        ]


def _most(numbers: dict[str, dict]) -> dict:
    return numbers[max(numbers, key=int)]


def _median(known: dict, who: str, what: str) -> float:
    return known["verbs"][who][what]["median"]


TARGETS = (
    Target(
        "a start, as a multiple of create and start alone",
        lambda known: _median(known, OURS, "start") / _median(known, FLOOR, "start"),
        1.3,
    ),
    Target(
        "a start, as a multiple of `podman run -d`",
        lambda known: _median(known, OURS, "start") / _median(known, RUN, "start"),
        0.75,
    ),
    Target("a poll", lambda known: 1000 * _median(known, OURS, "poll"), 100, " µs"),
    Target(
        "a poll by the command line, as a multiple",
        lambda known: _median(known, CLI, "poll") / _median(known, OURS, "poll"),
        300,
        at_least=True,
    ),
    Target(
        "a poll of dockerspawner's, as a multiple",
        lambda known: _median(known, DOCKER, "poll") / _median(known, OURS, "poll"),
        20,
        at_least=True,
    ),
    Target(
        "the end of a server is told to the Hub after",
        lambda known: known["noticing"]["median"],
        500,
        " ms",
    ),
    Target(
        "the event loop is held at worst, by starts, polls and stops",
        lambda known: known["verbs"][OURS]["held"]["worst"],
        10,
        " ms",
    ),
    Target(
        "from the click to a ready JupyterLab, as a multiple of a local process's",
        lambda known: (
            known["clicks"]["PodmanSpawner"]["ready"]["median"]
            / known["clicks"]["local"]["ready"]["median"]
        ),
        1.1,
    ),
    Target(
        "1,000 watched servers, of one core",
        lambda known: _most(known["growth"]["numbers"])["cpu"],
        1,
        " %",
    ),
)


def take(name: str, figures: object, machine: dict[str, str], date: str) -> None:
    """Keep the newest figures of a part and, once all parts are there, write page and plot."""
    known = json.loads(KEPT.read_text()) if KEPT.exists() else {"dates": {}}
    known[name] = json.loads(json.dumps(figures))
    known["machine"] = machine
    known["dates"][name] = date
    KEPT.write_text(json.dumps(_rounded(known), indent=1, sort_keys=True) + "\n")
    if known.keys() >= {name for section in SECTIONS for name in section.parts}:
        PAGE.write_text(page())
        plot()


def _rounded(value: object) -> object:
    """Return figures to four digits: more of them are chance."""
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def summary() -> str:
    """Return the targets and what was reached, as plain lines."""
    known = json.loads(KEPT.read_text())
    return "\n".join(" | ".join(target.line(known)) for target in TARGETS)


def page() -> str:
    """Return the page as the figures have it."""
    known = json.loads(KEPT.read_text())
    dates = sorted({*known["dates"].values()})
    parts = [INTRO, "\n", *_table(["machine", ""], known["machine"].items())]
    parts += [f"\nMeasured on {' and '.join(dates)}.\n"]
    parts += ["\n![Starts, polls, clicks and watched servers](../images/performance.png)\n"]
    parts += ["\n## What is to be reached\n\n"]
    header = ["what", "to reach", "measured", "reached"]
    parts += _table(header, (target.line(known) for target in TARGETS))
    floor = TARGETS[1].figure(known) / TARGETS[0].figure(known)
    parts += [OF_THE_SECOND.format(floor=_short(floor))]
    for section in SECTIONS:
        parts += [f"\n## {section.title}\n\n{section.intro}\n\n"]
        parts += section.table(known)
    return "".join(parts)


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    intro: str
    parts: tuple[str, ...]
    table: Callable[[dict], list[str]]


def _verbs(known: dict) -> list[str]:
    header = ["", "start", "start until it answers", "poll", "stop", "start ÷ floor"]
    floor = _median(known, FLOOR, "start")
    rows = [
        [
            who,
            *(_spread(one[what], " ms") for what in ("start", "answers", "poll", "stop")),
            f"{one['start']['median'] / floor:.2f}",
        ]
        for who, one in known["verbs"].items()
    ]
    return _table(header, rows)


STAGES = {
    "before: inspect image": "the Hub's options, a thread, a client",
    "inspect image": "the engine: which image it is, with the connection",
    "before: create container": "the container's plan",
    "create container": "the engine: create",
    "start container": "the engine: start",
    "inspect container": "the engine: which process it is",
    "after": "the process is held, the server tried until it answers, its port's owner checked",
    "whole": "all of it",
}
"""What happens in each; what is between the last requests takes next to nothing."""


def _profile(known: dict) -> list[str]:
    awake, asleep = known["profile"]["awake"], known["profile"]["asleep"]
    whole = awake["whole"]["median"]
    rows = [
        [
            words,
            _spread(awake[stage], " ms"),
            f"{100 * awake[stage]['median'] / whole:.1f} %",
            _spread(asleep[stage], " ms"),
        ]
        for stage, words in STAGES.items()
    ]
    told = (
        "\nWhile Podman wakes, only the Hub's options could be made ready: they take "
        f"{_spread(asleep['options'], ' ms')}, by which that start would be shorter at best.\n"
    )
    return [*_table(["", "takes", "of the start", "with a service asleep"], rows), told]


def _loop(known: dict) -> list[str]:
    header = [
        "",
        "loop held at worst",
        "99th percentile",
        "processor for a start",
        "for 1,000 polls",
    ]
    rows = [
        [
            who,
            f"{_short(one['held']['worst'])} ms",
            f"{_short(one['held']['p99'])} ms",
            _spread(one["cpu_start"], " ms"),
            f"{_short(one['cpu_poll']['median'])} s",
        ]
        for who, one in known["verbs"].items()
        if who != FLOOR
    ]
    return _table(header, rows)


def _clicks(known: dict) -> list[str]:
    local = known["clicks"]["local"]["ready"]["median"]
    header = [
        "",
        "ready after",
        "÷ local process",
        "the Hub's processor",
        "its loop held at worst",
    ]
    rows = [
        [
            IN_HUBS[who],
            _spread(one["ready"], " s"),
            f"{one['ready']['median'] / local:.2f}",
            _spread(one["cpu"], " s"),
            f"{_short(one['held']['worst'])} ms",
        ]
        for who, one in known["clicks"].items()
    ]
    return _table(header, rows)


def _crowd(known: dict) -> list[str]:
    header = [
        "",
        "all ready after",
        "one server",
        "the Hub's processor",
        "its loop held at worst",
        "its loop held: 99th percentile",
    ]
    rows = [
        [
            IN_HUBS[who],
            f"{_short(one['seconds'])} s",
            _spread(one["each"], " s"),
            f"{_short(one['cpu'])} s",
            f"{_short(one['held']['worst'])} ms, of which it ran {_short(one['held']['ran'])} ms",
            f"{_short(one['held']['p99'])} ms",
        ]
        for who, one in known["crowd"].items()
    ]
    return _table(header, rows)


def _memory(known: dict) -> list[str]:
    names = {ASLEEP: OURS}
    header = ["", "Podman", "for each server", "for each account", "a service that stays"]
    rows = [
        [
            names.get(who, who),
            engine,
            *(f"{one[what]:.1f} MiB" for what in ("beside", "account", "service")),
        ]
        for engine, contenders in known["memory"].items()
        for who, one in contenders.items()
    ]
    return _table(header, rows)


def _proxy(known: dict) -> list[str]:
    header = ["", "Podman", "requests a second", "median", "99th percentile", "large answers"]
    rows = [
        [
            who,
            engine,
            f"{one['requests']:.0f}",
            f"{one['p50']:.1f} ms",
            f"{one['p99']:.1f} ms",
            f"{one['mib']:.0f} MiB/s",
        ]
        for engine, networks in known["proxy"].items()
        for who, one in networks.items()
    ]
    return _table(header, rows)


def _growth(known: dict) -> list[str]:
    header = ["watched", "a poll", "of one core", "memory of the Hub", "for each server"]
    found = known["growth"]
    rows = [
        [
            f"{int(number):,} processes",
            f"{one['poll']:.0f} µs",
            f"{one['cpu']:.2f} %",
            f"{one['memory']:.0f} MiB",
            f"{one['memory_each']:.0f} KiB",
        ]
        for number, one in sorted(found["numbers"].items(), key=lambda item: int(item[0]))
    ]
    rows += [
        [
            f"{int(number):,} containers, a whole Hub",
            f"{one['poll']:.0f} µs",
            f"{one['cpu']:.2f} %",
            f"{one['memory']:.0f} MiB",
            f"{one['services']} services of Podman left",
        ]
        for number, one in sorted(
            known["watching"]["numbers"].items(), key=lambda item: int(item[0])
        )
    ]
    powers, hub = found["exponents"], known["watching"]["exponents"]
    told = (
        "\nPowers of the number by which figures grow: of processes, a poll "
        f"{powers['poll']:.2f}, the processor {powers.get('cpu', 0):.2f}, the memory "
        f"{powers['memory']:.2f}; of containers, a poll {hub['poll']:.2f}, the processor "
        f"{hub.get('cpu', 0):.2f}, the memory {hub['memory']:.2f}.\n"
    )
    return [*_table(header, rows), told]


def _noticing(known: dict) -> list[str]:
    one = known["noticing"]
    told = (
        f"The Hub was told after {_spread(one, ' ms')}, at worst {_short(one['worst'])} ms, of "
        f"{one['count']} ends, with the exit code; the last lines are in its log then, and the "
        "container is removed.\n"
    )
    return [told]


OF_THE_SECOND = (
    "\nOf the second of these, {floor} are the engine's create and start alone; what the rest is, "
    "[the stages of a start](#where-the-time-of-a-start-goes) tell. The loop is watched in "
    "rounds of its own: to watch it during a start takes from who leaves it free, and nothing "
    "from a command that is waited for.\n"
)
SECTIONS = (
    Section(
        "Start, poll, stop",
        "One server after the other in one process, who begins changes from round to round."
        " The server is `busybox httpd`, which answers within milliseconds, so that its own"
        " start counts for nothing. *Floor* is a bare HTTP client that has the engine "
        "create and start the very container that PodmanSpawner makes. PodmanSpawner's "
        "start ends when the server answers; those of the other spawners do not wait for "
        "that. Docker's client knows no `keep-id`, so dockerspawner's containers have the "
        "default mapping.",
        ("verbs",),
        _verbs,
    ),
    Section(
        "Where the time of a start goes",
        "PodmanSpawner's start of that server: four requests, one after the other, since each "
        "needs what the one before told. What is not the engine's is what could still be saved. "
        "The first request to a service that is asleep is answered once it is awake.",
        ("profile",),
        _profile,
    ),
    Section(
        "The event loop and the processor",
        "The same run, but for the loop in rounds of their own: how long it was held at once; and "
        "the time of the processor that the Hub's process and its children took. `podman run "
        "-d` by subprocess is how podmanspawner 0.2 did it. A local process is forked by the "
        "Hub itself. Python's garbage of earlier rounds is collected between two servers.",
        ("verbs",),
        _loop,
    ),
    Section(
        "The end of a server",
        "Servers are killed, one after the other, with SIGKILL to the container's process.",
        ("noticing",),
        _noticing,
    ),
    Section(
        "From the click to JupyterLab",
        "A real Hub for each, one click after the other. The local process runs what is in the "
        "image, outside a container.",
        ("clicks",),
        _clicks,
    ),
    Section(
        "Many at once",
        "Two servers of each of 15 accounts, started at the same moment, by a real Hub for "
        "each. dockerspawner knows one socket for all its users, so its 30 servers are in "
        "one account. The loop is held by the Hub's own work, above all in its database, for "
        "all requests that came at once; and it waits for a processor while containers start. "
        "PodmanSpawner therefore lets two starts for each processor be at work at a time, so "
        "that the first users have their servers early and none later than otherwise.",
        ("crowd",),
        _crowd,
    ),
    Section(
        "Memory of a running server",
        "What runs beside the server's own processes (PSS): conmon and the network's "
        "helpers for each server, one small process for each account. Podman's service is "
        "gone when it is idle; dockerspawner keeps its connection, so that the service "
        "stays.",
        ("memory",),
        _memory,
    ),
    Section(
        "Requests through the proxy",
        "`wrk` with eight connections through configurable-http-proxy, which is the "
        "bottleneck, to a small server; and one answer of 128 MiB.",
        ("proxy",),
        _proxy,
    ),
    Section(
        "Watching",
        "A Hub's process with real processes of an account to watch, each polled every 30 s"
        " as the Hub does; and a whole Hub with real containers. A poll asks the kernel "
        "whether the process runs, whether the account alone listens at the port, and "
        "whether memory ran out. The processes are polled one after the other, the Hub's own "
        "polls come by themselves: then nothing of it is in the processor's caches any more.",
        ("growth", "watching"),
        _growth,
    ),
)


def _table(header: list[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |\n" for line in lines]


def _short(figure: float) -> str:
    """Return a figure with two or three digits, or as a whole number."""
    if figure >= 100:  # noqa: PLR2004
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


def _spread(one: dict[str, float], unit: str) -> str:
    return f"{_short(one['median'])}{unit} ({_short(one['low'])} to {_short(one['high'])})"


def plot() -> None:
    """Draw the plot; the page needs matplotlib for this alone."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    known = json.loads(KEPT.read_text())
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), dpi=100, layout="constrained")
    starts = {who: one["answers"] for who, one in known["verbs"].items()}
    _bars(axes[0][0], "Start until it answers, ms", starts)
    polls = {who: one["poll"] for who, one in known["verbs"].items()}
    _bars(axes[0][1], "Poll, ms", polls, scale="log")
    clicks = {IN_HUBS[who]: one["ready"] for who, one in known["clicks"].items()}
    _bars(axes[1][0], "Click to a ready JupyterLab, s", clicks)
    numbers = known["growth"]["numbers"]
    points = sorted((int(number), one["cpu"]) for number, one in numbers.items())
    axes[1][1].loglog(*zip(*points, strict=True), "o-", color="tab:orange")
    axes[1][1].axhline(1, color="grey", linewidth=1, linestyle=":")
    axes[1][1].set_title("Watched servers: % of one core", fontsize=10)
    figure.savefig(PLOT, metadata={"Software": None}, pil_kwargs={"optimize": True})
    plt.close(figure)


def _bars(axes: object, title: str, spreads: dict[str, dict], scale: str = "linear") -> None:
    names = [who.replace("`", "") for who in spreads][::-1]
    medians = [one["median"] for one in spreads.values()][::-1]
    lows = [one["median"] - one["low"] for one in spreads.values()][::-1]
    highs = [one["high"] - one["median"] for one in spreads.values()][::-1]
    colours = ["tab:orange" if name.startswith(OURS) else "tab:blue" for name in names]
    axes.barh(names, medians, xerr=[lows, highs], color=colours, error_kw={"linewidth": 1})
    axes.set_title(title, fontsize=10)
    axes.set_xscale(scale)
    axes.tick_params(labelsize=8)


if __name__ == "__main__":
    PAGE.write_text(page())
    plot()
