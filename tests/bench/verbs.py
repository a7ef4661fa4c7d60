"""What a spawner's verbs cost, each contender in its turn, in one process and one account."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from accounts import TINY_JOVYAN, real_account
from contenders import ALL, Asleep, Cli, Docker, Ours, Place, answers, remembered_spec
from free_ports import free_port
from lone import lone_spawner, memory_db
from measure import cpu, exponents, measured_loop, memory, percentile, spread, uncollected
from podmanspawner import Account
from podmanspawner.answers import ContainerState
from podmanspawner.watch import Watch

POLLS = 200
REQUEST_WORDS = 4
"""Account, operation, status and milliseconds: what is logged of a request."""
QUICK_SECONDS = 0.005
SERVERS_WEIGHED = 4
BESIDE = ("conmon", "slirp4netns", "pasta", "rootlessport", "rootlesskit")
CLEANUP = "container cleanup"
SETTLE_SECONDS = 30
WARM_UP_SECONDS = 8.0
"""Services are idle by then."""


def measure_verbs(network: str, rounds: int) -> dict[str, dict]:
    """Start, poll and stop one server after the other; who begins changes from round to round.

    The event loop is watched in rounds of their own: that takes the processor from whoever leaves
    the loop free, and nothing from who holds it.
    """
    with ExitStack() as stack:
        awake, asleep = (_place(stack, network) for _ in range(2))
        awake.serve()
        return asyncio.run(_verbs(awake, asleep, rounds))


def _place(stack: ExitStack, network: str) -> Place:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder.chmod(0o755)
    place = Place(stack.enter_context(real_account()), network, folder)
    stack.callback(place.close)
    return place


async def _verbs(awake: Place, asleep: Place, rounds: int) -> dict[str, dict]:
    with remembered_spec():
        await _life(Ours(awake), defaultdict(list), polls=1)
    for kind in ALL:  # what is done once
        await _life(kind(asleep if kind is Asleep else awake), defaultdict(list), polls=1)
    found: dict[str, dict[str, list[float]]] = {kind.title: defaultdict(list) for kind in ALL}
    for number, life in itertools.product(range(rounds), (_life, _watched_life)):
        first = number % len(ALL)
        for kind in ALL[first:] + ALL[:first]:
            await life(kind(asleep if kind is Asleep else awake), found[kind.title])
    return {title: _summary(lists) for title, lists in found.items()}


async def _life(contender, lists: dict[str, list[float]], polls: int = POLLS) -> None:
    await _settled(contender)
    with uncollected():
        began, used = time.perf_counter(), cpu()
        await contender.start()
        lists["start"].append(1000 * (time.perf_counter() - began))
        lists["cpu_start"].append(1000 * (cpu() - used))
        while not await asyncio.to_thread(answers, contender.port):
            await asyncio.sleep(0.002)
        lists["answers"].append(1000 * (time.perf_counter() - began))
        await _polls(contender, lists, polls)
        began = time.perf_counter()
        await contender.stop()
        lists["stop"].append(1000 * (time.perf_counter() - began))


async def _watched_life(contender, lists: dict[str, list[float]]) -> None:
    await _settled(contender)
    async with measured_loop() as held:
        await contender.start()
        await _polls(contender, defaultdict(list), POLLS)
        await contender.stop()
    lists["held"] += held


async def _settled(contender) -> None:
    """Make ready to begin, once what Podman does after the end of the last server is done."""
    contender.prepare()
    end = time.monotonic() + SETTLE_SECONDS
    while any(CLEANUP in line for line in contender.place.user.all_processes().values()):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def _polls(contender, lists: dict[str, list[float]], polls: int) -> None:
    """Poll once, and often if that was quick: the first is not like the others."""
    assert await contender.poll()
    used, took = cpu(), []
    while len(took) < (polls if not took or took[0] < QUICK_SECONDS else 2):
        began = time.perf_counter()
        assert await contender.poll()
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0)  # as the Hub, which has other things to do between two polls
    lists["poll"] += [1000 * each for each in took]
    lists["cpu_poll"].append(1000 * (cpu() - used) / len(took))


def _summary(lists: dict[str, list[float]]) -> dict:
    held = lists.pop("held")
    summary = {name: spread(values) for name, values in lists.items()}
    return {**summary, "held": {"worst": max(held), "p99": percentile(held, 99)}}


class _Answered(logging.Handler):
    """What was asked of the engine: when it was answered, what for, after how many seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[float, str, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(record.args) == REQUEST_WORDS:
            _, operation, _, milliseconds = record.args
            words = " ".join(operation.split()[:2])
            self.requests.append((time.perf_counter(), words, milliseconds / 1000))


def measure_profile(network: str, rounds: int) -> dict[str, dict]:
    """Start servers, of a service that is awake or not; return where the time of a start goes."""
    log, answered = logging.getLogger("podmanspawner.rest"), _Answered()
    level, log.level = log.level, logging.DEBUG
    log.manager._clear_cache()  # of what is logged
    log.addHandler(answered)
    try:
        with ExitStack() as stack:
            kinds = {"awake": Ours, "asleep": Asleep}
            places = {name: (kind, _place(stack, network)) for name, kind in kinds.items()}
            return asyncio.run(_profiles(places, answered, rounds))
    finally:
        log.removeHandler(answered)
        log.level = level
        log.manager._clear_cache()


async def _profiles(places, answered: _Answered, rounds: int) -> dict[str, dict]:
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in places}
    for number in range(-1, rounds):  # the first start copies the image
        for name, (kind, place) in places.items():
            took = await _profile(kind(place), answered)
            for stage, seconds in took.items() if number >= 0 else ():
                found[name][stage].append(1000 * seconds)
    return {
        name: {stage: spread(took) for stage, took in stages.items()}
        for name, stages in found.items()
    }


async def _profile(contender, answered: _Answered) -> dict[str, float]:
    """Start and stop; return the seconds of each stage, of all, and of the options alone."""
    took = {}
    contender.prepare()
    gc.collect()
    answered.requests.clear()
    began = last = time.perf_counter()
    await contender.start()
    end = time.perf_counter()
    for done, words, seconds in answered.requests:
        took[f"before: {words}"] = done - seconds - last
        took[words] = seconds
        last = done
    took |= {"after": end - last, "whole": end - began}
    spawner = contender.spawner
    began = time.perf_counter()
    await spawner._settings_now(await spawner._image())
    took["options"] = time.perf_counter() - began
    await contender.stop()
    return took


def measure_noticing(kills: int) -> dict[str, float]:
    """Kill servers; return how many milliseconds later the Hub is told."""
    with real_account() as user:
        user.load(TINY_JOVYAN)
        return asyncio.run(_noticing(user, kills))


async def _noticing(user, kills: int) -> dict[str, float]:
    took = []
    for _ in range(kills):
        spawner = lone_spawner(user.name)
        await spawner.start()
        spawner.server.port = spawner._port
        told = asyncio.get_running_loop().create_future()
        spawner.add_poll_callback(told.set_result, None)
        assert await spawner.poll() is None
        pid = int(user.podman("inspect", "--format", "{{.State.Pid}}", spawner.container_id))
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(told, 30)
        took.append(1000 * (time.perf_counter() - began))
    return {**spread(took), "worst": max(took)}


def measure_memory(network: str, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return MiB (PSS) for each running server, and for its account, that are not the server's."""
    kinds = {"PodmanSpawner": Asleep, "podmanclispawner": Cli, "dockerspawner": Docker}
    found = {}
    for kind in map(kinds.__getitem__, names):
        with ExitStack() as stack:
            place = _place(stack, network)
            if kind is Docker:
                place.serve()
            found[kind.title] = asyncio.run(_weigh(kind, place))
    return found


async def _weigh(kind, place: Place) -> dict[str, float]:
    user = place.user
    servers = [kind(place, f"s{number}") for number in range(SERVERS_WEIGHED)]
    for server in servers:
        await server.start()
    await asyncio.sleep(WARM_UP_SECONDS)
    lines = user.all_processes()
    beside = [pid for pid, line in lines.items() if any(word in line for word in BESIDE)]
    services = [pid for pid, line in lines.items() if "system service" in line]
    pauses = [
        pid for pid, line in lines.items() if "podman pause" in line or "catatonit -P" in line
    ]
    weights = {
        "beside": memory(beside) / 1024 / SERVERS_WEIGHED,
        "account": memory(pauses) / 1024,
        "service": memory(services) / 1024,
    }
    for server in servers:
        await server.stop()
    return weights


GROWING = """
import asyncio, json, sys
sys.path[:0] = {path!r}
from verbs import watch_many
print(json.dumps(asyncio.run(watch_many(*json.loads(sys.argv[1])))))
"""


def measure_growth(numbers: list[int], seconds: float, interval: float = 30.0) -> dict:
    """Let a Hub's process of its own watch so many real processes of an account for a while."""
    found = {}
    with real_account() as user:
        for number in numbers:
            found[number] = _grown(user, number, seconds, interval)
    return {"numbers": found, "exponents": exponents(found, ("poll", "cpu", "memory"))}


def _grown(user, number: int, seconds: float, interval: float) -> dict:
    ports: set[int] = set()
    while len(ports) < number:
        ports.add(free_port())
    script = "for p; do busybox httpd -f -p 127.0.0.1:$p & done; wait"
    account = user.account
    crowd = subprocess.Popen(
        ["sh", "-c", script, "sh", *map(str, ports)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        start_new_session=True,
        env={"PATH": "/bin:/usr/bin"},
    )
    try:
        path = [entry for entry in sys.path if entry]
        end = time.monotonic() + 60
        while len(pids := user.processes("busybox httpd -f")) < number + 1:
            assert time.monotonic() < end, len(pids)
            time.sleep(0.2)
        listening = _listeners(pids)
        order = [user.name, [[listening[port], port] for port in ports], seconds, interval]
        done = subprocess.run(
            [sys.executable, "-c", GROWING.format(path=path), json.dumps(order)],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return json.loads(done.stdout)
    finally:
        os.killpg(crowd.pid, signal.SIGKILL)
        crowd.wait()


def _listeners(pids: list[int]) -> dict[int, int]:
    """Return the process of each port."""
    found = {}
    for pid in pids:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0] == b"busybox":
            found[int(words[4].rpartition(b":")[2])] = pid
    return found


async def watch_many(name: str, servers: list, seconds: float, interval: float) -> dict:
    """Watch servers as the Hub does, each polled so often; return what that costs."""
    db = memory_db()
    base = memory([os.getpid()])
    spawners = [_watching(db, name, number, *server) for number, server in enumerate(servers)]
    assert all([await spawner.poll() is None for spawner in spawners])
    took = []
    while len(took) < max(1000, len(spawners)):
        for spawner in spawners:
            began = time.perf_counter()
            await spawner.poll()
            took.append(time.perf_counter() - began)
    for spawner in spawners:
        spawner.poll_interval = interval
        spawner.start_polling()
    used = cpu()
    await asyncio.sleep(seconds)
    used = cpu() - used
    weight = memory([os.getpid()])
    for spawner in spawners:
        spawner.stop_polling()
    return {
        "poll": 1e6 * spread(took)["median"],
        "cpu": 100 * used / seconds,
        "memory": weight / 1024,
        "memory_each": (weight - base) / len(spawners),
    }


def _watching(db, name: str, number: int, pid: int, port: int):
    """Return a spawner whose server is a process that runs already."""
    spawner = lone_spawner(f"user{number}", account_template=name, db=db)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    began += int(fields[19]) / os.sysconf("SC_CLK_TCK")
    state = ContainerState(
        status="running",
        running=True,
        exit_code=0,
        pid=pid,
        started_at=began,
        oom_killed=False,
        error="",
    )
    spawner.container_id = f"{number:064x}"
    spawner.server.port = spawner._port = port
    spawner._watch = Watch(Account.lookup(name), state, "127.0.0.1", port)
    spawner._notice_the_end()
    return spawner
