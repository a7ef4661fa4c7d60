"""Which process is held: the account's, that began when its engine says, and no other."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from dataclasses import replace

import pytest

from fake_service import ME
from podmanspawner.answers import ContainerState
from podmanspawner.ports import free_port
from podmanspawner.watch import Unwatchable, Watch


@pytest.fixture
def process():
    running = subprocess.Popen(["sleep", "100"])
    yield running
    running.kill()
    running.wait()


def state(pid, started_at=None):
    began = time.time() if started_at is None else started_at
    return ContainerState("running", True, 0, pid, began, False, "")


def watch(pid, account=ME, **options):
    return Watch(account, state(pid, **options), "127.0.0.1", free_port())


async def test_the_end_is_noticed(process):
    held = watch(process.pid)
    ended = asyncio.Event()
    held.on_end(ended.set)
    assert held.running
    process.kill()
    await asyncio.wait_for(ended.wait(), 5)
    assert not held.running
    held.close()
    held.close()


async def test_who_lets_go_is_not_called(process):
    held = watch(process.pid)
    held.on_end(lambda: pytest.fail("called"))
    held.close()
    process.kill()
    process.wait()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**31, 2**62])
def test_no_such_process(pid):
    with pytest.raises(Unwatchable, match="cannot be held"):
        watch(pid)


def test_somebody_elses_process(process):
    descriptors = {*os.listdir("/proc/self/fd")}
    with pytest.raises(Unwatchable, match="belongs to uid"):
        watch(process.pid, account=replace(ME, uid=ME.uid + 4321))
    assert {*os.listdir("/proc/self/fd")} <= descriptors  # others may have been closed meanwhile


@pytest.mark.parametrize("seconds", [-3, 61, 1e9, -1e9])
def test_a_process_of_another_time(process, seconds):
    """What has got the number of a container's process that ended."""
    with pytest.raises(Unwatchable, match="as the engine says"):
        watch(process.pid, started_at=time.time() + seconds)


def test_a_process_that_has_ended(process):
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    with pytest.raises(Unwatchable, match="has ended"):
        watch(process.pid)
