"""Every lie of the table, in every step of a start, a poll and a stop.

The liar is a process of a real account at the account's own socket; the spawner is the whole one.
Whatever is said, the verb ends in time and in a typed error, or no harm is done: the Hub's memory,
threads and descriptors stay, no route leads to anybody else, nobody's log line is forged.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from functools import partial
from urllib.parse import urlsplit

import pytest
from tornado import web

from liar import Resources, kind
from lies import LIES, POLL, START, STOP
from lone import lone_spawner
from podmanspawner import PodmanSpawnerError, fitting, ports, vault
from podmanspawner.transport import MIB

START_SECONDS = 3.0
"""As the Hub's start_timeout."""
LATE_SECONDS = 0.3
RESTING_SECONDS = 1.0
VERB_SECONDS = 12.0
TOKEN = "a" * 32
LISTEN = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection = listener.accept()[0]
    connection.recv(1000)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    connection.close()
"""


@pytest.fixture(scope="module")
def others_listener(bob):
    """Return the port and the pid of a server of somebody else's."""
    account = bob.account
    process = subprocess.Popen(
        ["python3", "-c", LISTEN],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin"},
    )
    yield {"port": int(process.stdout.readline()), "pid": process.pid}
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def facts(others_listener):
    """What a liar may know of others."""
    with socket.create_server(("127.0.0.1", 0)) as of_root:
        yield {
            **others_listener,
            "root_port": of_root.getsockname()[1],
            "hub_pid": os.getpid(),
            "token": "b" * 32,
        }


@pytest.fixture(scope="module", autouse=True)
def nothing_of_others_is_touched(bob, liar):
    end = time.monotonic() + 60
    while bob.processes("podman"):  # of tests before; what ends by itself writes as it does
        assert time.monotonic() < end, bob.all_processes()
        time.sleep(0.1)
    places = [bob.account.home, str(bob.account.runtime_dir)]
    before = [inventory(place) for place in places]
    yield
    assert [inventory(place) for place in places] == before


def inventory(place):
    """Return what lies in a folder: which file, whose, since when."""
    found = {}
    for folder, _, files in os.walk(place):
        for name in (".", *files):
            status = os.lstat(os.path.join(folder, name))
            found[folder, name] = (status.st_ino, status.st_uid, status.st_mode, status.st_mtime)
    return found


@pytest.fixture(scope="module")
def lone(liar):
    """One spawner for all trials: to make one takes longer than most of them."""
    return lone_spawner(liar.name, activation="existing")


@pytest.fixture
def try_lie(liar, facts, lone, caplog):
    """Return a function that lets the spawner do one verb with a lie in one step of it."""
    lone._asking, lone._stage_added = asyncio.Lock(), asyncio.Event()  # of this test's loop
    return partial(Trial, liar, facts, lone, caplog)


class Trial:
    """One verb against a service that lies in one step of it."""

    def __init__(self, liar, facts, lone, caplog, *, name, verb, step):
        self.liar, self.name, self.verb, self.step, self.caplog = liar, name, verb, step, caplog
        self.lie = LIES[name]
        self.facts = {**facts, "kept": None, "own": vault.prefix(lone._server_name)}
        self.spawner = lone
        liar.order(reset=True)
        fitting._ids.clear()
        lone.clear_state()
        lone.api_token = TOKEN
        lone.remove = self.lie.options.get("remove", True)
        lone.pull_policy = "always" if step in ("ping", "pull") else "missing"
        # without secrets nobody looks for an old container
        lone.token_as_secret = "env" if "secret" in step or step == "find" else False
        lone.registry_credentials = (lambda _spawner: {}) if step == "exists" else None

    async def run(self):
        await self._prepare()
        self.caplog.clear()
        resources = Resources()
        began = time.monotonic()
        self.tell_lies()
        word, url = "fine", None
        try:
            url = await self._do()
        except (PodmanSpawnerError, web.HTTPError, asyncio.TimeoutError) as error:
            word = kind(error)
            self._check_text(str(error.__cause__ or error))
        took, grew = time.monotonic() - began, resources.peak_growth
        self.liar.order(lie="", at="")
        told = (self.name, self.verb, self.step, word)
        allowed = self.lie.ends.split() + (["fine", "engine"] if self.verb == "stop" else [])
        allowed += ["image"] if self.step == "pull" else []  # whatever the reason
        # so many answers are so much work that a slow machine rests until the time is over
        allowed += ["deadline"] if "continue" in self.name else []
        assert self.verb == "poll" or word in allowed, told
        assert took < VERB_SECONDS, (*told, took)
        assert grew < 20 * MIB, (*told, grew)
        if self.verb == "start" and word == "fine":
            self._check_route(url)
        elif self.verb == "start":
            assert self.spawner.container_id == "", told
        await self._end()
        resources.demand_level()
        for record in self.caplog.records:
            self._check_text(record.getMessage())
        return word

    async def _prepare(self):
        if self.verb == "start":
            self.liar.order(ends=self.step == "logs")
            if self.lie.options.get("remove") is False:
                await self.spawner.start()
                await self.spawner.stop(now=True)
                (self.facts["kept"],) = self.liar.order()["made"]
                fitting._ids.clear()
            return
        self.spawner.server.port = urlsplit(await self.spawner.start()).port
        if self.verb == "poll":
            if self.step in ("logs", "remove"):
                self.liar.order(end=True)
            self.spawner._let_go()  # as after a restart of the Hub: the first poll asks

    def tell_lies(self):
        self.liar.order(lie=self.name, at=self.step, facts=self.facts)

    async def _do(self):
        if self.verb == "start":
            return await asyncio.wait_for(self.spawner.start(), START_SECONDS)
        if self.verb == "stop":
            return await self.spawner.stop(now=self.step == "stop")
        return self._check_poll(await self.spawner.poll())

    def _check_poll(self, said):
        """A server runs only if the account listens where it should; and a poll never raises."""
        listeners = ports.listener_uids("127.0.0.1", self.spawner.server.port)
        if said is None:
            assert listeners == {self.liar.account.uid}, self.name
        else:
            assert isinstance(said, int)

    def _check_route(self, url):
        parts = urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        assert ports.listener_uids("127.0.0.1", parts.port) == {self.liar.account.uid}, self.name
        assert self.spawner.api_token == TOKEN
        watch = self.spawner._watch
        assert watch is None or watch.running

    def _check_text(self, text):
        """What others read: each line is ours or quoted, and none is endless."""
        assert "\x1b" not in text, self.name
        assert len(text) < 6000, self.name
        for line in text.splitlines()[1:]:
            assert line.startswith("    | "), (self.name, text)

    async def _end(self):
        self.liar.order(reset=True)
        self.spawner._let_go()


def steps_of(lie):
    for verb in ("start", "poll", "stop"):
        for step in getattr(lie, verb).split():
            yield verb, step


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_hurts_nobody_else(try_lie, name, quick):
    if "deadline" in LIES[name].ends or "log:" in name:
        quick.seconds = LATE_SECONDS
    elif "continue" in name:
        quick.seconds = RESTING_SECONDS
    for verb, step in steps_of(LIES[name]):
        await try_lie(name=name, verb=verb, step=step).run()


def test_how_many(tell):
    told = sum(1 for lie in LIES.values() for _ in steps_of(lie))
    tell(f"{len(LIES)} lies of a service, told in {told} steps of starts, polls and stops")
    assert len(LIES) >= 60


@pytest.mark.parametrize("verb", ["start", "poll", "stop"])
async def test_without_a_lie_all_is_well(liar, try_lie, verb):
    """The same trials, and every step is really taken."""
    wanted = {"start": START, "poll": POLL, "stop": STOP}[verb].split()
    taken = set()
    for step in wanted:
        trial = try_lie(name="wire: silence", verb=verb, step=step)
        await trial._prepare()
        before = len(liar.order()["steps"])
        if (verb, step) == ("start", "logs"):
            with pytest.raises(web.HTTPError, match="last words"):
                await trial._do()
        else:
            await trial._do()
        taken |= set(liar.order()["steps"][before:])
        await trial._end()
    assert taken >= set(wanted)


async def test_a_stop_signal_that_nobody_obeys(liar, try_lie):
    """The service says that it was sent; the process that is held says that it did nothing."""
    trial = try_lie(name="wire: silence", verb="stop", step="kill")
    await trial._prepare()
    liar.order(obeys=False, steps=[])
    await trial._do()
    assert liar.order()["steps"] == ["inspect", "kill", "stop", "remove"]
    assert liar.order()["made"] == []
