"""What a server costs: requests on the way, checks of the Hub's, what is left while it runs."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import ExitStack

import pytest

from accounts import TINY_JOVYAN, real_account
from lone import lone_spawner
from measure import memory
from podmanspawner import fitting, transport

NEW = ["inspect image", "create container", "start container", "inspect container"]
PROBE = ["list containers", "read the users", "read /etc/passwd", "remove container"]
FIND = ["inspect container"]
KEPT = [*FIND, "inspect image", *FIND, "start container", "inspect container"]
LEFT = ["create container", "find image", *FIND, "remove container"]
STOP = ["inspect container", "send a signal"]
REFUSED = re.compile(r"remove container \w+: 500 ")

LATE = """
import socket, time
began = time.monotonic()
listener = socket.create_server(("", 8888))
while True:
    connection, _ = listener.accept()
    asked = connection.recv(65536)
    print("check of the", "Hub" if b"user-agent" in asked.lower() else "spawner", flush=True)
    if time.monotonic() > began + 1:
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    connection.close()
"""
"""A server that takes connections a second before it answers, and tells whose they were."""


@pytest.fixture
def requests(monkeypatch):
    """Return a function: which requests there were since its last call, in order."""
    monkeypatch.setattr(fitting, "_ids", {})  # of former accounts of that uid
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    log = logging.getLogger("podmanspawner.rest")
    monkeypatch.setattr(log, "level", logging.DEBUG)
    log.manager._clear_cache()  # of what is logged
    log.addHandler(handler)

    def so_far():
        messages = [record.getMessage().partition(": ")[2] for record in records]
        records.clear()
        return messages

    yield so_far
    log.removeHandler(handler)


@pytest.fixture
def connections(monkeypatch):
    """Return a function: how many connections to a service there were since its last call."""
    made = []
    usual = transport._Connection.connect
    monkeypatch.setattr(
        transport._Connection, "connect", lambda self: (made.append(self), usual(self))[1]
    )

    def so_far():
        number = len(made)
        made.clear()
        return number

    return so_far


def are(found, wanted):
    assert len(found) == len(wanted), found
    assert all(map(str.startswith, found, wanted)), found


async def test_the_requests_of_starts_and_stops(fresh, requests, connections):
    """Of an image whose user is not known yet, or is: all of them on one connection.

    A removal that comes in the very moment of the end is refused and sent again, which is rare.
    """
    fresh.load(TINY_JOVYAN)
    spawner = lone_spawner(fresh.name)
    refused = []
    for probe in (PROBE, [], []):
        await spawner.start()
        are(requests(), [NEW[0], *probe, *NEW[1:]])
        assert connections() == 1
        assert await spawner.poll() is None
        are(requests(), [])
        assert connections() == 0
        await spawner.stop()
        asked = requests()
        refused += filter(REFUSED.match, asked)
        are([one for one in asked if one not in refused], [*STOP, "remove container"])
        assert connections() == 1
    assert len(refused) <= 1


async def test_the_requests_where_a_container_is_left_over(fresh, requests):
    fresh.load(TINY_JOVYAN)
    for before in (PROBE, LEFT):
        spawner = lone_spawner(fresh.name)
        await spawner.start()
        are(requests(), [NEW[0], *before, *NEW[1:]])
        spawner._let_go()
    (running,) = fresh.containers()
    assert running.startswith("jupyter-")
    await spawner.stop()


async def test_the_requests_of_a_kept_container(fresh, requests):
    fresh.load(TINY_JOVYAN)
    for probe, start in ((PROBE, [*FIND, NEW[0], *FIND, *NEW[1:]]), ([], KEPT)):
        spawner = lone_spawner(fresh.name, remove=False)
        await spawner.start()
        are(requests(), [*start[:2], *probe, *start[2:]])
        await spawner.stop()
        are(requests(), [*STOP, "stop container"])
    await spawner.delete_forever()


@pytest.mark.alone
async def test_a_stop_waits_for_the_process_alone(fresh, tell):
    fresh.load(TINY_JOVYAN)
    took = []
    for _ in range(3):
        spawner = lone_spawner(fresh.name, delete_grace_period=20)
        await spawner.start()
        began = time.monotonic()
        await spawner.stop()
        took.append(1000 * (time.monotonic() - began))
    assert fresh.containers() == []
    tell(f"a stop of a server that ends at once takes {min(took):.0f} to {max(took):.0f} ms")
    assert min(took) < 5000


async def test_a_stop_ends_what_does_not_listen(fresh):
    """The grace period, and then SIGKILL."""
    fresh.load(TINY_JOVYAN)
    deaf = ["sh", "-c", "trap '' TERM; httpd -f -p 8888 & while :; do sleep 1; done"]
    for remove in (True, False):
        spawner = lone_spawner(fresh.name, cmd=deaf, remove=remove, delete_grace_period=1)
        await spawner.start()
        began = time.monotonic()
        await spawner.stop()
        assert 1 <= time.monotonic() - began < 10
        assert fresh.podman("ps", "-q") == ""
        assert len(fresh.containers()) == (not remove)
    await spawner.delete_forever()


def test_the_first_check_of_the_hub_succeeds(users, make_hub):
    """Else it waits up to a second before the next one."""
    user = users[0]
    command = ["python3", "-c", LATE]
    hub = make_hub(f"c.PodmanSpawner.cmd = {command!r}\nc.PodmanSpawner.delete_grace_period = 1\n")
    hub.begin(user.name)
    (name,) = user.containers()
    said = user.podman("logs", name)
    hub.end(user.name)
    assert said.count("check of the spawner") > 5
    assert said.count("check of the Hub") == 1


async def test_services_go_away_while_servers_run(tell):
    """20 servers of two accounts, nobody clicking; each poll answers, and wakes nobody."""
    with ExitStack() as stack:
        users = [stack.enter_context(real_account()) for _ in range(2)]
        for user in users:
            user.load(TINY_JOVYAN)
        spawners = [
            lone_spawner(user.name, name=f"s{number}", service_idle_seconds=1)
            for user in users
            for number in range(10)
        ]
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        end = time.monotonic() + 30
        while services := [pid for user in users for pid in user.processes("system service")]:
            assert time.monotonic() < end, f"still there: {services}"
            await asyncio.sleep(0.2)
        assert [await spawner.poll() for spawner in spawners] == [None] * 20
        assert [pid for user in users for pid in user.processes("system service")] == []
        for word in ("conmon", "slirp4netns", "rootlessport", "pasta"):
            pids = [pid for user in users for pid in user.processes(word)]
            tell(f"20 servers have {len(pids)} {word}, {memory(pids) / 20 / 1024:.1f} MiB each")
        for spawner in spawners:
            spawner.clear_state()
        for user in users:
            user.podman("rm", "-f", "-t", "0", "-a")
