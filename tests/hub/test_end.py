"""The end of a server is noticed without asking, and nobody else is taken for it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import closing, suppress
from urllib.parse import urlsplit

import pytest

from accounts import TINY_JOVYAN
from lone import lone_spawner
from podmanspawner import UserPodman

ENDING = """
httpd -f -p 8888 &
trap 'exit "$1"' USR1
while :; do sleep 0.05; done
"""


@pytest.fixture(scope="module")
def user(ada):
    ada.load(TINY_JOVYAN)
    return ada


@pytest.fixture(autouse=True)
def nothing_left_over(user):
    yield
    left = user.containers()
    if left:
        user.podman("rm", "-f", *left)
    assert left == []


@pytest.fixture
async def running(user):
    """A server that the Hub has been told of, and that polls as the Hub would."""
    spawner = lone_spawner(user.name)
    spawner.server.port = urlsplit(await spawner.start()).port  # as the Hub does
    spawner.told = asyncio.get_running_loop().create_future()
    spawner.add_poll_callback(lambda: spawner.told.set_result(time.monotonic()))
    yield spawner
    await spawner.stop(now=True)


def process(user):
    """Return the pid of the server's first process."""
    return int(user.podman("inspect", "--format", "{{.State.Pid}}", *user.containers()))


def no_more_asking(monkeypatch):
    monkeypatch.setattr(UserPodman, "request", None)


@pytest.mark.alone
async def test_a_running_server_costs_no_request(running, monkeypatch, tell):
    no_more_asking(monkeypatch)
    times = []
    for _ in range(1000):
        before = time.perf_counter()
        assert await running.poll() is None
        times.append(time.perf_counter() - before)
    median = sorted(times)[500] * 1e6
    tell(f"a poll of a running server takes {median:.0f} microseconds (median of 1,000)")
    assert median < 1000
    monkeypatch.undo()


@pytest.mark.alone
async def test_the_end_is_told_at_once(running, user, tell):
    os.kill(process(user), signal.SIGKILL)
    killed = time.monotonic()
    told = await asyncio.wait_for(running.told, 10)
    tell(f"a killed server is told to the Hub after {1000 * (told - killed):.0f} ms")
    assert await running.poll() == 137
    assert user.containers() == []


@pytest.fixture
def ending(user, code):
    """A server that ends by itself when it gets a signal."""
    return lone_spawner(user.name, cmd=["sh", "-c", ENDING, "sh", str(code)])


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("code", [0, 3])
async def test_an_ordinary_end_is_told_as_it_was(  # noqa: PLR0917, fixtures
    ending, user, code, held, caplog, monkeypatch
):
    """Podman's own clean-up after it is at work then, and is let finish."""
    caplog.set_level(logging.INFO)
    if not held:
        monkeypatch.setattr("podmanspawner.server.watch", lambda *_: None)
    await ending.start()
    user.podman("kill", "--signal", "USR1", *user.containers())
    while (told := await ending.poll()) is None:
        await asyncio.sleep(0.01)
    assert told == code
    (line,) = (one for one in caplog.records if f"ended with exit code {code}" in one.message)
    assert line.levelname == ("WARNING" if code else "INFO")  # as one that shuts itself down
    assert "forgotten" not in caplog.text


async def test_a_stop_is_not_told(running, user):
    await running.stop()
    await asyncio.sleep(0.5)
    assert not running.told.done()
    assert await running.poll() == 0


async def test_descriptors_are_given_back(user):
    before = len(os.listdir("/proc/self/fd"))
    spawner = lone_spawner(user.name)
    for _ in range(3):
        await spawner.start()
        assert await spawner.poll() is None
        await spawner.stop(now=True)
    spawner.clear_state()
    assert len(os.listdir("/proc/self/fd")) <= before + 3  # the account's service, the database


async def test_a_port_that_is_lost_ends_the_server(running, user, caplog):
    """The process that publishes it is killed: the engine still says that the server runs."""
    port = running.server.port
    for word in ("rootlessport", "pasta"):
        for pid in user.processes(word):
            with suppress(ProcessLookupError):  # it ends with the one before
                os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    with closing(socket.socket()) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        assert await running.poll() == 137
    assert f"does not listen at port {port}" in caplog.text
    assert user.containers() == []


async def test_another_hub_holds_it_again(running, user, monkeypatch):
    """After a restart of the Hub the first poll asks, the next ones need not."""
    again = lone_spawner(user.name)
    again.load_state(running.get_state())
    again.server.port = running.server.port
    assert await again.poll() is None
    no_more_asking(monkeypatch)
    assert await again.poll() is None
    monkeypatch.undo()
    again.clear_state()


async def test_a_process_that_cannot_be_held_is_asked_for(user, monkeypatch):
    """A Hub that does not see the processes of the account, as from another pid namespace."""

    def refuse(_pid):
        raise OSError(0, "not here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    spawner = lone_spawner(user.name, cmd=["sh", "-c", "httpd -p 8888; sleep 4; exit 5"])
    await spawner.start()
    assert await spawner.poll() is None
    while (told := await spawner.poll()) is None:
        await asyncio.sleep(0.1)
    assert told == 5
