#!/usr/bin/env python3
"""What PodmanSpawner costs beside what one would use instead, all in one run: ``make bench``.

The figures go into ``docs/explanation/performance.json``, from which ``docs/performance.py``
writes the page and the plot. Half an hour on a quiet machine; ``bench.py PART…`` measures
again what it names and leaves the other figures as they are, ``bench.py --print PART…`` keeps
none and prints them as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

TOP = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    parts = ("tests", "tests/hub", "tests/unit", "tests/bench", "docs")
    sys.path[:0] = [str(TOP / part) for part in parts]

import hubs  # noqa: E402, the path comes first
import performance  # noqa: E402
import verbs  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

PASTA_SINCE = (4, 4)
LONE_HUB_PORT = 18081


@dataclass(frozen=True)
class Effort:
    """How often, how many, how long."""

    rounds: int = 50
    clicks: int = 10
    kills: int = 20
    accounts: int = 15
    servers: int = 2
    seconds: int = 5
    processes: tuple[int, ...] = (1, 10, 100, 1000)
    containers: tuple[int, ...] = (1, 10, 100, 500)
    watched_seconds: int = 30
    """One interval of the Hub's polls."""
    machines: tuple[str, ...] = ("forky",)
    """Test machines with other helpers for networks, for what depends on these."""
    weighed: tuple[str, ...] = ("PodmanSpawner", "podmanclispawner", "dockerspawner")
    clicked: tuple[str, ...] = tuple(hubs.CONFIGS)
    crowded: tuple[str, ...] = tuple(hubs.CONFIGS)


OURS = ("PodmanSpawner",)
QUICK = Effort(
    *(2, 1, 2, 2, 1, 1, (1, 10), (1, 4), 2),
    machines=(),
    weighed=OURS,
    clicked=(*OURS, "local"),
    crowded=(*OURS, "local"),
)
"""To see that it works."""


def measured(effort: Effort) -> dict[str, Callable[[], object]]:
    """Return what there is to measure, by name."""
    lone, hub = (network_here(port) for port in (str(LONE_HUB_PORT), "HUB"))
    return {
        "verbs": lambda: verbs.measure_verbs(lone, effort.rounds),
        "profile": lambda: verbs.measure_profile(lone, effort.rounds),
        "noticing": lambda: verbs.measure_noticing(effort.kills),
        "memory": lambda: also_elsewhere(
            "memory", verbs.measure_memory(lone, effort.weighed), effort
        ),
        "growth": lambda: verbs.measure_growth([*effort.processes], effort.watched_seconds),
        "watching": lambda: hubs.measure_watching(
            [*effort.containers], effort.accounts, effort.watched_seconds
        ),
        "clicks": lambda: hubs.measure_clicks(hub, effort.clicks, effort.clicked),
        "crowd": lambda: hubs.measure_crowd(hub, effort.accounts, effort.servers, effort.crowded),
        "proxy": lambda: also_elsewhere(
            "proxy", hubs.measure_proxy(networks_here(), effort.seconds), effort
        ),
    }


def also_elsewhere(part: str, here: object, effort: Effort) -> dict[str, object]:
    """Return figures of a part here and on test machines, by what each has of Podman."""
    found = {machine()["Podman"]: here}
    for name in effort.machines:
        boot = (sys.executable, TOP / "tests" / "machines" / "machine.py", name)
        said = subprocess.check_output(
            [*boot, "python", "tests/bench/bench.py", "--print", part], text=True
        )
        found |= json.loads(said.splitlines()[-1])[part]
    return found


def podman_version() -> str:
    return subprocess.check_output(["podman", "--version"], text=True).split()[2]


def has_pasta() -> bool:
    since = tuple(map(int, podman_version().split(".")[:2]))
    return since >= PASTA_SINCE and shutil.which("pasta") is not None


def network_here(port: str) -> str:
    """Return the network that PodmanSpawner chooses here, as ``podman run`` names it."""
    return f"pasta:-T,{port}" if has_pasta() else "slirp4netns:allow_host_loopback=true"


def networks_here() -> dict[str, str]:
    """Return the kinds of network that a server can have here, as PodmanSpawner names them."""
    own = "pasta" if has_pasta() else "slirp4netns"
    other = {"slirp4netns": "slirp4netns"} if has_pasta() else {}
    return {f"private, by {own}": "private", **other, "named": hubs.NAMED, "host": "host"}


def machine() -> dict[str, str]:
    """Describe what it is measured on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[1])
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    packages = ("jupyterhub", "dockerspawner", "podmanclispawner")
    return {
        "processor": f"{os.cpu_count()} of {cpu[1] if cpu else platform.machine()}",
        "memory": f"{memory / (1 << 20):.0f} GiB",
        "system": f"{system}, Linux {platform.release()}",
        "Podman": f"{podman_version()}, {'pasta' if has_pasta() else 'slirp4netns'}",
        "Python": platform.python_version(),
        "podman-py": version("podman"),
        **{name: version(name) for name in packages},
    }


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    everything = measured(Effort())
    parser.add_argument("part", nargs="*", choices=[*everything, []], help="; ".join(everything))
    parser.add_argument("--print", action="store_true", help="keep nothing")
    options = parser.parse_args()
    if options.print:
        # dockerspawner demands the controller cpu, which a user manager does not have by itself
        here = measured(Effort(machines=(), weighed=("PodmanSpawner", "podmanclispawner")))
        print(json.dumps({name: here[name]() for name in options.part}))
        return
    for name in options.part or everything:
        began = datetime.now(timezone.utc)
        print(f"{began:%H:%M:%S} {name}", flush=True)
        performance.take(name, everything[name](), machine(), f"{began:%Y-%m-%d}")
    print(performance.summary())


if __name__ == "__main__":
    main()
