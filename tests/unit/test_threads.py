"""Turns: of an account's work, and of the heavy work of all."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from podmanspawner import threads
from podmanspawner.threads import in_thread

WAIT_SECONDS = 10


class Work:
    """Work that goes on until it is let go, and how much of it there is at once."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go = threading.Event()

    def __call__(self, account: str) -> str:
        self.begun.append(account)
        assert self.go.wait(WAIT_SECONDS)
        return account

    def tasks(self, accounts, **options):
        return [
            asyncio.ensure_future(in_thread(account, partial(self, account), **options))
            for account in accounts
        ]


@pytest.fixture
async def work(monkeypatch):
    """Two processors."""
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _pid: {0, 1})
    made = Work()
    yield made
    made.go.set()


async def begun(work, number):
    for _ in range(WAIT_SECONDS * 100):
        if len(work.begun) >= number:
            break
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # more would have begun by now
    return len(work.begun)


async def test_an_account_has_its_turns(work):
    tasks = work.tasks(["ada"] * 10)
    assert await begun(work, 4) == 4
    other = work.tasks(["bob"])
    assert await begun(work, 5) == 5
    work.go.set()
    assert await asyncio.gather(*tasks, *other) == ["ada"] * 10 + ["bob"]


async def test_heavy_work_takes_turns_with_that_of_all(work, monkeypatch):
    monkeypatch.setattr(threads, "HEAVY_SECONDS", WAIT_SECONDS)
    names = [f"user{number}" for number in range(10)]
    tasks = work.tasks(names, heavy=True)
    assert await begun(work, 4) == 4
    light = work.tasks(["other"])
    assert await begun(work, 5) == 5, "what is light waits for nobody"
    work.go.set()
    assert await asyncio.gather(*tasks, *light) == [*names, "other"]
    assert len(work.begun) == 11


async def test_what_hangs_gives_its_turn_away(work, monkeypatch):
    """The first four hang; each turn is given back once, so that four more begin, and no more."""
    monkeypatch.setattr(threads, "HEAVY_SECONDS", 0.2)
    first = work.tasks(["a", "b", "c", "d"], heavy=True)
    assert await begun(work, 4) == 4
    monkeypatch.setattr(threads, "HEAVY_SECONDS", WAIT_SECONDS)
    second = work.tasks(["e", "f", "g", "h", "i", "j"], heavy=True)
    assert await begun(work, 8) == 8
    work.go.set()
    await asyncio.gather(*first, *second)
    work.go.clear()
    work.begun.clear()
    third = work.tasks(["k", "l", "m", "n", "o", "p"], heavy=True)
    assert await begun(work, 4) == 4
    work.go.set()
    await asyncio.gather(*third)


async def test_who_is_cancelled_while_waiting_takes_no_turn(work, monkeypatch):
    monkeypatch.setattr(threads, "HEAVY_SECONDS", WAIT_SECONDS)
    first = work.tasks(["a", "b", "c", "d"], heavy=True)
    assert await begun(work, 4) == 4
    waiting = work.tasks(["e", "f"], heavy=True)
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    work.go.set()
    await asyncio.gather(*first, *work.tasks(["g", "h", "i", "j"], heavy=True))
    assert sorted(work.begun) == [*"abcdghij"]


async def test_heavy_work_that_fails_gives_its_turn_back(work, monkeypatch):
    monkeypatch.setattr(threads, "HEAVY_SECONDS", WAIT_SECONDS)

    def fail():
        raise OSError("no")

    for number in range(9):
        with pytest.raises(OSError, match="no"):
            await asyncio.wait_for(in_thread(f"user{number}", fail, heavy=True), 5)
