"""What is measured of processes and of an event loop, by the kernel's own figures."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import math
import os
import resource
import signal
import statistics
import threading
import time
from pathlib import Path

_TICK = 0.001


def memory(pids) -> int:
    """Return the memory of processes in KiB: what they share with others is split (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time of a process and of its children that were reaped."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def cpu() -> float:
    """Return the same of this process, more precisely."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


async def watch_loop(held: list[float], ran: list[float]) -> None:
    """Add to lists, for ever, how many milliseconds the running event loop was held at a time.

    Args:
        held: how long in all.
        ran: how long its thread had a processor of that.
    """
    while True:
        before, used = time.perf_counter(), time.thread_time()
        await asyncio.sleep(_TICK)
        held.append(1000 * (time.perf_counter() - before - _TICK))
        ran.append(1000 * (time.thread_time() - used))


@contextlib.contextmanager
def uncollected():
    """Let nothing be collected inside of what this process has in memory from before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.asynccontextmanager
async def measured_loop(*, with_waits: bool = True):
    """Give a list of how many milliseconds the event loop is held at a time, inside.

    What this process has in memory from before is not collected meanwhile.

    Args:
        with_waits: count also what the loop's thread, or one that it waits for, waits for a
            processor, which other programs have then; to tell it apart takes time itself.
    """
    held: list[float] = []
    with uncollected(), contextlib.closing(_Waits()) as waits:
        watching = watch_loop(held, []) if with_waits else _watch_own(held, waits)
        task = asyncio.get_running_loop().create_task(watching)
        await asyncio.sleep(0)
        try:
            yield held
            await asyncio.sleep(2 * _TICK)  # what was held last is seen now
        finally:
            task.cancel()


async def _watch_own(held: list[float], waits: _Waits) -> None:
    own, waited = threading.get_native_id(), waits.read()
    while True:
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        took = 1000 * (time.perf_counter() - before - _TICK)
        earlier, waited = waited, waits.read()
        more = {thread: wait - earlier.get(thread, 0) for thread, wait in waited.items()}
        took -= more.pop(own, 0) + max(more.values(), default=0)
        held.append(max(took, 0))


class _Waits:
    """How many milliseconds each thread of this process has waited for a processor.

    ref: proc(5), /proc/PID/schedstat, its second figure
    """

    def __init__(self) -> None:
        self._files: dict[int, int] = {}  # kept open: they are read every millisecond

    def read(self) -> dict[int, float]:
        found = {}
        for thread in threading.enumerate():
            number = thread.native_id or 0
            try:
                file = self._files.get(number)
                if file is None:
                    file = os.open(f"/proc/self/task/{number}/schedstat", os.O_RDONLY)
                    self._files[number] = file
                found[number] = int(os.pread(file, 100, 0).split()[1]) / 1e6
            except OSError:  # it has ended
                self._close(number)
        return found

    def close(self) -> None:
        for number in tuple(self._files):
            self._close(number)

    def _close(self, number: int) -> None:
        if number in self._files:
            os.close(self._files.pop(number))


def percentile(values, percent: float) -> float:
    """Return the value below which so many percent of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]


def spread(values) -> dict[str, float]:
    """Return median and quartiles."""
    return {
        "median": statistics.median(values),
        "low": percentile(values, 25),
        "high": percentile(values, 75),
        "count": len(values),
    }


def exponents(found: dict[int, dict[str, float]], names: tuple[str, ...]) -> dict[str, float]:
    """Return the powers of the number by which figures grow, by least squares of logarithms."""
    slopes = {}
    for name in names:
        logs = [
            (math.log(number), math.log(one[name]))
            for number, one in found.items()
            if one[name] > 0
        ]
        if len(logs) > 1:
            slopes[name] = statistics.linear_regression(*zip(*logs, strict=True)).slope
    return slopes


def report_loop(path: str) -> None:
    """Write how long the running event loop was held, whenever SIGUSR2 comes, and begin anew."""
    held: list[float] = []
    ran: list[float] = []
    loop = asyncio.get_running_loop()
    loop.watching = loop.create_task(watch_loop(held, ran))  # or it would be collected
    _report(path, {"held": held, "ran": ran})


def report_polls(path: str, kind) -> None:
    """Write how long the polls of a spawner took in seconds, whenever SIGUSR2 comes."""
    took: list[float] = []
    usual = kind.poll

    async def poll(spawner):
        began = time.perf_counter()
        try:
            return await usual(spawner)
        finally:
            took.append(time.perf_counter() - began)

    kind.poll = poll
    _report(path, {"polls": took})


def _report(path: str, lists: dict[str, list[float]]) -> None:
    def report() -> None:
        Path(f"{path}.new").write_text(json.dumps(lists))
        Path(f"{path}.new").rename(path)
        for one in lists.values():
            one.clear()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, report)
