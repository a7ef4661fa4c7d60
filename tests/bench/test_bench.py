"""The benchmark works, and the ratios that count are not far from what they should be."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time

import pytest

import bench
import performance
from measure import measured_loop

ROUNDS = 6
SLACK = 1.25
"""A few rounds, on a machine that has just done something else."""


def work(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("with_waits", [True, False])
@pytest.mark.parametrize("hold", [time.sleep, work])
async def test_what_holds_an_event_loop_is_seen(hold, with_waits):
    async with measured_loop(with_waits=with_waits) as held:
        hold(0.05)
        await asyncio.sleep(0.05)
    assert max(held) > 40


TOLD = ("verbs", "noticing", "growth", "clicks")
"""What the targets are of."""


@pytest.fixture(scope="module", autouse=True)
def kept(tmp_path_factory):
    """Keep the figures elsewhere than those of the documentation."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(performance, "PAGE", folder / "page.md")
        patch.setattr(performance, "KEPT", folder / "kept.json")
        patch.setattr(performance, "PLOT", folder / "plot.png")
        yield


def measure(names):
    parts = bench.measured(dataclasses.replace(bench.QUICK, rounds=ROUNDS))
    for name in names:
        performance.take(name, parts[name](), bench.machine(), "2026-01-01")


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_the_targets(tell):
    measure(TOLD)
    for line in performance.summary().splitlines():
        tell(line)
    known = json.loads(performance.KEPT.read_text())
    for target in performance.TARGETS[:2]:
        assert target.figure(known) < SLACK * target.limit, target.what


@pytest.mark.timeout(600)
def test_all_that_is_measured():
    """What other tests beside it make of the figures is kept nowhere."""
    measure([name for name in bench.measured(bench.QUICK) if name not in TOLD])
    assert performance.PLOT.read_bytes().startswith(b"\x89PNG")
    page = performance.PAGE.read_text()
    assert all(f"## {section.title}\n" in page for section in performance.SECTIONS)
