"""Limits that the kernel enforces, on servers and on accounts; and whom its audit names.

For a host with every cgroup controller. What ``docs/how-to/limits.md`` tells is run as it stands.
"""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families
from tornado import web

from lone import ANSWERING, lone_spawner
from podmanspawner import SpecError, metrics

PAGE = (Path(__file__).parents[2] / "docs/how-to/limits.md").read_text()
UNITS = Path("/etc/systemd/system")
MB = 1 << 20
TOO_MUCH = "dd if=/dev/zero of=/dev/null count=1 bs={size}M"
"""It takes the memory for one block and writes to all of it."""
BUSY = "while :; do :; done"
MEASURED_SECONDS = 8.0


@pytest.fixture
def told(caplog):
    """What the spawner logs; without a Hub it logs where traitlets do."""
    logger = logging.getLogger("traitlets")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(scope="module")
def scrape():
    """Return a function that reads a figure from the metrics page of this process.

    The Hub's page is that of its process, made by the same function.
    """
    page, thread = start_http_server(0, addr="127.0.0.1")
    url = f"http://127.0.0.1:{page.server_port}/metrics"

    def figure(metric, **labels):
        families = text_string_to_metric_families(requests.get(url, timeout=60).text)
        samples = [sample for family in families for sample in family.samples]
        (found,) = (s.value for s in samples if (s.name, s.labels) == (metric.name, labels))
        return found

    yield figure
    page.shutdown()
    thread.join()


@asynccontextmanager
async def server(user, *, name="", script="", **options):
    """Run a server that answers, and a script beside it."""
    spawner = lone_spawner(
        user.name,
        name=name,
        **{
            "activation": "systemd",
            "cmd": ["sh", "-c", f"{script} exec {' '.join(ANSWERING)}"],
            **options,
        },
    )
    await spawner.start()
    try:
        assert await spawner.poll() is None
        yield spawner
    finally:
        await spawner.stop()


def on_order(order):
    """Return a script that waits for a file in the home before it does what it is for."""
    return f"until [ -e /home/jovyan/{order} ]; do sleep 0.2; done;"


def give_order(user, order):
    Path(user.account.home, order).touch()


def group(user, spawner):
    """Return the cgroup of a server's container; it belongs to the account's user manager."""
    found = slice_of(user) / f"user@{user.account.uid}.service/user.slice"
    found /= f"libpod-{spawner.container_id}.scope"
    assert found.is_dir()
    return found


def slice_of(user):
    return Path(f"/sys/fs/cgroup/user.slice/user-{user.account.uid}.slice")


def value(folder, name, key=""):
    text = (folder / name).read_text()
    return int(dict(line.split() for line in text.splitlines())[key] if key else text)


async def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        await asyncio.sleep(0.2)
    return found


def cores(folder):
    """Return how many cores a cgroup uses, over some seconds."""
    before, began = value(folder, "cpu.stat", "usage_usec"), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    used = value(folder, "cpu.stat", "usage_usec") - before
    return used / 1e6 / (time.monotonic() - began)


def system(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


# memory


async def test_a_server_that_wants_too_much_memory(resident, told, scrape):
    deaths = scrape(metrics.DEATHS, cause="out_of_memory")
    others = scrape(metrics.DEATHS, cause="error")
    script = f"{' '.join(ANSWERING)} & {on_order('much')} exec {TOO_MUCH.format(size=700)}"
    async with server(resident, mem_limit="512M", cmd=["sh", "-c", script]) as spawner:
        assert value(group(resident, spawner), "memory.max") == 512 * MB
        give_order(resident, "much")
        while (ended := await spawner.poll()) is None:
            await asyncio.sleep(0.2)
    assert ended == 137
    assert "ended with exit code 137, out of memory, limit 512 MB. Its last lines:" in told.text
    assert scrape(metrics.DEATHS, cause="out_of_memory") == deaths + 1
    assert scrape(metrics.DEATHS, cause="error") == others
    assert resident.containers() == []


async def test_a_start_that_wants_too_much_memory(resident):
    spawner = lone_spawner(
        resident.name,
        activation="systemd",
        mem_limit="64M",
        cmd=TOO_MUCH.format(size=200).split(),
    )
    with pytest.raises(web.HTTPError) as caught:
        await spawner.start()
    assert "(exit code 137, out of memory, limit 64 MB)" in str(caught.value)
    assert resident.containers() == []


async def test_a_server_outlives_its_kernel(resident, told, scrape):
    """What the engine says only at the end, the kernel has told the Hub at the next poll."""
    kernel = f"( {on_order('kernel')} {TOO_MUCH.format(size=200)}; {on_order('end')} kill $$ ) &"
    async with server(resident, mem_limit="64M", script=kernel) as spawner:
        folder = group(resident, spawner)
        kills = scrape(metrics.MEMORY_KILLS)
        deaths = scrape(metrics.DEATHS, cause="out_of_memory")
        give_order(resident, "kernel")
        await until(lambda: value(folder, "memory.events", "oom_kill"))
        for _ in range(3):
            assert await spawner.poll() is None
        said = "limit 64 MB: 1 of its processes killed; it goes on"
        assert told.text.count(said) == 1
        assert scrape(metrics.MEMORY_KILLS) == kills + 1
        assert scrape(metrics.DEATHS, cause="out_of_memory") == deaths
        give_order(resident, "end")
        while (ended := await spawner.poll()) is None:
            await asyncio.sleep(0.2)
    assert f"ended with exit code {ended}, one of its processes was out of memory" in told.text
    assert ended != 137


# processors and processes


@pytest.mark.parametrize("limit", [0.5, 1.5])
async def test_processors(resident, limit, tell):
    async with server(resident, cpu_limit=limit, script=f"{BUSY} & {BUSY} &") as spawner:
        used = cores(group(resident, spawner))
    tell(f"cpu_limit {limit}: two busy loops used {used:.3f} cores over {MEASURED_SECONDS:g} s")
    assert used == pytest.approx(limit, rel=0.15)


async def test_processes(resident):
    forks = "for i in $(seq 60); do sleep 100 & done"
    script = f"( {on_order('forks')} {forks} ) &"
    async with server(resident, pids_limit=20, script=script) as spawner:
        folder = group(resident, spawner)
        give_order(resident, "forks")
        await until(lambda: value(folder, "pids.events", "max"))
        assert value(folder, "pids.peak") <= 20
        assert (
            "can't fork"
            in resident.run(*("sh", "-c", 'podman logs "$0" 2>&1', spawner.container_id)).stdout
        )
        assert await spawner.poll() is None


async def test_guarantees(resident):
    async with server(resident, mem_guarantee="32M", cpu_guarantee=0.5) as spawner:
        folder = group(resident, spawner)
        assert value(folder, "memory.low") == 32 * MB
        assert 1 < value(folder, "cpu.weight") < 100  # of one core, hence of 1024 shares


# the account


def blocks(language):
    """Return the page's examples in a language, with what is in their first line as their name."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return {text.splitlines()[0].strip("# "): text for text in found}


@contextmanager
def drop_in(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    system("systemctl", "daemon-reload")
    try:
        yield
    finally:
        path.unlink()
        system("systemctl", "daemon-reload")


async def test_two_servers_cannot_exceed_the_slice_of_their_account(resident, tell):
    (command,) = (text for text in blocks("sh").values() if "set-property" in text)
    system("sh", "-ec", command.replace("ada", resident.name))
    slice_ = slice_of(resident)
    assert value(slice_, "memory.max") == 1024 * MB
    much = f"{on_order('both')} {TOO_MUCH.format(size=700).replace('count=1', '')};"
    forks = f"{on_order('forks')} for i in $(seq 200); do sleep 1000 & done"
    script = f"( {much} {BUSY} ) & ( {much} {BUSY} ) & ( {forks} ) &"
    try:
        async with (
            server(resident, script=script) as one,
            server(resident, name="two", script=script) as two,
        ):
            give_order(resident, "both")
            await until(lambda: value(slice_, "memory.events", "oom_kill"))
            used = cores(slice_)
            tell(f"CPUQuota=100% of a slice: two servers used {used:.3f} cores together")
            assert used == pytest.approx(1.0, rel=0.15)
            assert value(slice_, "memory.peak") <= 1024 * MB
            give_order(resident, "forks")
            await until(lambda: value(slice_, "pids.events", "max"))
            assert value(slice_, "pids.current") <= 300
            for spawner in (one, two):
                assert await spawner.poll() is None
            lift(slice_.name)  # to stop takes processes, too
    finally:
        lift(slice_.name)
        system("systemctl", "revert", slice_.name)
    assert (slice_ / "memory.max").read_text() == "max\n"


def lift(slice_name):
    (command,) = re.findall("`systemctl (set-property user-UID.slice [^`]*=)`", PAGE)
    system("systemctl", *command.replace("user-UID.slice", slice_name).split())


def test_limits_of_every_account(resident):
    ((name, text),) = ((n, t) for n, t in blocks("ini").items() if "user-.slice.d" in n)
    with drop_in(Path(name), text):
        system("systemctl", "restart", f"user@{resident.account.uid}.service")
        assert value(slice_of(resident), "memory.max") == 8192 * MB
        assert value(slice_of(resident), "pids.max") == 4096
        assert (slice_of(resident) / "cpu.max").read_text() == "400000 100000\n"


# delegation


async def test_without_delegation_no_server_starts_and_with_it_it_does(resident):
    uid = resident.account.uid
    manager = f"user@{uid}.service"
    spawner = lone_spawner(
        resident.name, activation="systemd", mem_limit="64M", cpu_limit=0.5, pids_limit=100
    )
    with drop_in(UNITS / f"{manager}.d/none.conf", "[Service]\nDelegate=\nDelegate=pids\n"):
        system("systemctl", "restart", manager)
        with pytest.raises(web.HTTPError) as caught:
            await spawner.start()
        error = caught.value.__cause__
        assert isinstance(error, SpecError)
        controller = {"mem_limit": "memory", "cpu_limit": "cpu"}[error.option]
        assert f"the cgroup of {resident.name} lacks the controller '{controller}'" in str(error)
        assert f"Delegate=cpu memory pids, then 'systemctl restart {manager}'" in str(error)
    ((name, text),) = ((n, t) for n, t in blocks("ini").items() if "user@.service.d" in n)
    with drop_in(Path(name), text):
        system("systemctl", "restart", manager)
        delegated = (slice_of(resident) / manager / "cgroup.controllers").read_text()
        assert delegated.split() == ["cpuset", "cpu", "io", "memory", "pids"]
        await spawner.start()
        assert value(group(resident, spawner), "memory.max") == 64 * MB
        await spawner.stop()


# auditing


@pytest.mark.parametrize("way", ["systemd", "direct"])
async def test_the_audit_names_the_account(resident, way):
    assert Path("/proc/self/loginuid").read_text() == "4294967295", "as of the Hub in a unit"
    async with server(resident, activation=way) as spawner:
        folder = group(resident, spawner)
        files = [folder / "cgroup.procs", *folder.glob("*/cgroup.procs")]
        pids = [pid for file in files for pid in file.read_text().split()]
        assert len(pids) >= 2  # the init process and the server
        uids = {Path(f"/proc/{pid}/loginuid").read_text() for pid in pids}
        sessions = {Path(f"/proc/{pid}/sessionid").read_text() for pid in pids}
    assert uids == {str(resident.account.uid)}
    assert len(sessions) == 1
    assert sessions != {"4294967295"}
