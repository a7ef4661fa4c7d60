#!/usr/bin/env python3
"""The matrix: layers of the tests on each engine, network helper, runtime, JupyterHub and Python.

``make matrix`` runs all of it, ``. .ci/env && tests/machines/matrix.py RUN…`` some of it, one run
after the other. What comes of each is a line of JSON in the cache's ``matrix.jsonl``; the newest
of each go into ``docs/reference/matrix.json``, from which ``docs/runs.py`` writes the page.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
CACHE = Path(os.environ["PODMANSPAWNER_CACHE"])
LINES = CACHE / "matrix.jsonl"
LAYERS = {
    "podman": ["tests/podman"],
    "hub": ["tests/hub", "--ignore=tests/hub/test_demo.py"],
    "faults": ["tests/hostile/test_faults.py"],
    "systemd": ["tests/systemd"],
    "browser": ["tests/browser"],
}
"""The demo is left out: it installs packages, and has a test of its own in ``make test``."""
LAYER_SECONDS = 3600
SCRIPT = """
import subprocess, sys, tempfile
with tempfile.NamedTemporaryFile() as report:
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report.name}"]
    two_at_a_time = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    status = subprocess.call([*command, *two_at_a_time, *sys.argv[1:]], stdout=sys.stderr)
    sys.stdout.write(report.read().decode() or f"<testsuites status='{status}'/>")
"""
"""Runs a layer where the tests are: what pytest says goes to stderr, its report to stdout."""


@dataclass(frozen=True)
class Run:
    """One row of the matrix."""

    name: str
    place: str
    """A test machine, or ``"host"``."""
    network: str = ""
    runtime: str = ""
    jupyterhub: str = "6"
    python: str = ""
    """Of the host, if not the one that the tests have: ``"3.10"``."""

    @property
    def layers(self) -> tuple[str, ...]:
        other = "browser" if self.place == "host" else "systemd"
        return ("podman", "hub", "faults", other)


RUNS = (
    Run("host", "host"),
    Run("host-oldest", "host", jupyterhub="5", python="3.10"),
    Run("bookworm", "bookworm", runtime="crun", jupyterhub="5"),
    Run("trixie", "trixie"),
    Run("trixie-slirp4netns-runc", "trixie", "slirp4netns", "runc", "5"),
    Run("forky", "forky"),
    Run("forky-slirp4netns-runc", "forky", "slirp4netns", "runc", "5"),
)
"""Each engine with each helper, each runtime and each JupyterHub that work with it, and the oldest
Python."""


@contextlib.contextmanager
def place_of(run: Run) -> Iterator[Callable[..., str]]:
    """Yield a function that runs a command where the run is, and returns what it prints."""
    if run.place == "host":
        environment = _on_the_host(run)
        yield lambda *words: _output(list(words), cwd=TOP, env=environment)
        return
    from machine import Machine  # noqa: PLC0415, it needs root and a cache

    variant = {"network": run.network, "runtime": run.runtime, "jupyterhub": run.jupyterhub}
    with Machine(run.place, **variant) as machine:
        yield lambda *words: _output(machine.command(*words))


def _output(words: list[str], **options) -> str:
    """Return what a command prints, whatever its end; its errors are shown."""
    ran = subprocess.run(
        words, stdout=subprocess.PIPE, text=True, timeout=LAYER_SECONDS, check=False, **options
    )
    return ran.stdout


def _on_the_host(run: Run) -> dict[str, str]:
    """Return an environment with the virtual environment that a run wants; made if it is not."""
    if not run.python:
        return dict(os.environ)
    text = f"{TOP} {run.python} {run.jupyterhub} {(TOP / 'pyproject.toml').read_text()}"
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    venv = CACHE / f"matrix-venv-{key}"
    if not (venv / "complete").exists():
        subprocess.run([_python(run.python), "-m", "venv", "--clear", venv], check=True)
        pip = [venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
        group = f"{TOP / 'pyproject.toml'}:test"
        wanted = [f"jupyterhub=={run.jupyterhub}.*", "--group", group, "--editable", TOP]
        subprocess.run([*pip, *wanted], check=True)
        (venv / "complete").touch()
    path = f"{venv}/bin:{os.environ['PATH']}"
    return {**os.environ, "PODMANSPAWNER_VENV": str(venv), "PATH": path}


def _python(version: str) -> str:
    """Return an interpreter of a version: on the PATH, or one of pyenv's."""
    for found in Path.home().glob(f".pyenv/versions/{version}.*/bin/python"):
        return str(found)
    return shutil.which(f"python{version}") or sys.exit(f"there is no Python {version} here")


def outcome(report: str) -> dict:
    """Return what pytest's report says: counts, and the reason of whatever did not pass."""
    root = ET.fromstring(report)
    cases = list(root.iter("testcase"))
    failed, skipped = [], {}
    for case in cases:
        name = f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}"
        for end in (*case.findall("failure"), *case.findall("error")):
            words = (end.get("message") or "").splitlines() or [""]
            failed.append(f"{name}: {words[0][:200]}")
        for end in case.findall("skipped"):
            reason = end.get("message")
            skipped[reason] = skipped.get(reason, 0) + 1
    if not cases:
        failed.append(f"pytest ran no test, its status is {root.get('status')}")
    passed = len(cases) - len(failed) - sum(skipped.values())
    return {"passed": passed, "failed": failed, "skipped": skipped}


def slowest(report: str, count: int = 15) -> list[str]:
    """Return the tests that took longest."""
    cases = ET.fromstring(report).iter("testcase")
    timed = sorted(cases, key=lambda case: -float(case.get("time")))
    return [f"{c.get('time')} s  {c.get('classname')}::{c.get('name')}" for c in timed[:count]]


def carry_out(run: Run, layers: list[str]) -> bool:
    """Run layers, keep what comes of each, and return whether all is well."""
    good = True
    with place_of(run) as output:
        seen = json.loads(output("python", "tests/machines/facts.py"))
        for layer in layers:
            began = time.monotonic()
            report = output("python", "-c", SCRIPT, *LAYERS[layer])
            line = {
                "run": run.name,
                "layer": layer,
                "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
                "seen": seen,
                "seconds": round(time.monotonic() - began),
                **outcome(report),
            }
            with LINES.open("a") as lines:
                lines.write(json.dumps(line) + "\n")
            print(json.dumps(line, indent=2), *slowest(report), sep="\n", flush=True)
            good = good and not line["failed"]
    return good


def publish() -> None:
    """Take the newest line of each run and layer into the documentation."""
    sys.path.insert(0, str(TOP / "docs"))
    import runs  # noqa: PLC0415

    runs.take(LINES.read_text().splitlines())


def main() -> int:
    """Carry out the runs that the arguments name, or all."""
    names = [run.name for run in RUNS]
    parser = argparse.ArgumentParser()
    parser.add_argument("--layer", choices=tuple(LAYERS), action="append")
    parser.add_argument("run", nargs="*", metavar="RUN", help=", ".join(names))
    asked = parser.parse_args()
    if unknown := set(asked.run) - set(names):
        parser.error(f"no such run: {', '.join(unknown)}")
    good = True
    for run in RUNS:
        if run.name in (asked.run or names):
            layers = [layer for layer in run.layers if layer in (asked.layer or LAYERS)]
            good = carry_out(run, layers) and good
    publish()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
