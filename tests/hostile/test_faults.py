"""Every fault of docs/explanation/faults.md: what the Hub sees, what ends, and the next start.

Those that other files hold are named in that page.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tornado import web

from accounts import TINY, TINY_JOVYAN, booted, real_account
from free_ports import free_port
from hub import Hub
from lone import ANSWERING, lone_spawner
from podmanspawner import ContainerSpec, UserPodman, ports
from podmanspawner import spawner as verbs
from podmanspawner.rest import RestClient

OF_SERVERS = ("conmon", "podman-init", "httpd", "slirp4netns", "rootlessport", "pasta")
"""Words in the command lines of what runs for a server."""


@pytest.fixture(scope="module", autouse=True)
def others(bob):
    """A container of another account, which no fault may touch."""
    bob.load(TINY)
    with UserPodman.for_user(bob.name) as podman:
        container = podman.create(
            ContainerSpec(image=TINY, command=("sleep", "1000"), network="none")
        )
        podman.start(container)
        before = podman.inspect(container).state
    yield
    with UserPodman.for_user(bob.name) as podman:
        assert podman.inspect(container).state == before
        assert alive(before.pid)
        podman.remove(container)


@pytest.fixture
def user(fresh):
    fresh.load(TINY_JOVYAN)
    return fresh


def alive(pid):
    """Whether a process runs, and is no zombie that its parent will reap."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, condition
        await asyncio.sleep(0.05)


async def begin(user, **options):
    """Start a server and tell the Hub's side of it; ``pid`` is its first process."""
    spawner = lone_spawner(user.name, **options)
    spawner.server.port = urlsplit(await spawner.start()).port
    (pid,) = user.podman("inspect", "-f", "{{.State.Pid}}", spawner.container_id).split()
    spawner.pid = int(pid)
    return spawner


def restarted(spawner, **options):
    """Return the spawner of a Hub that has started again."""
    again = lone_spawner(spawner.user.name, **options)
    again.load_state(spawner.get_state())
    again.server.port, again.pid = spawner.server.port, spawner.pid
    spawner._let_go()
    return again


async def refused(user, **options):
    """Return what the page says of a start that fails."""
    with pytest.raises(web.HTTPError) as caught:
        await lone_spawner(user.name, **options).start()
    return caught.value.log_message % caught.value.args


async def end(spawner, user):
    """Stop a server: it ends, whatever is the matter with its engine."""
    await spawner.stop(now=True)
    assert not alive(spawner.pid)
    assert isinstance(await spawner.poll(), int)


async def all_is_well_again(user, **options):
    """The next start works, and nothing is left when it has stopped; of the default server's."""
    spawner = await begin(user, **options)
    assert await spawner.poll() is None
    await end(spawner, user)
    assert spawner._container_name not in user.containers()
    if options:
        return
    assert user.containers() == []
    await until(lambda: not [pid for word in OF_SERVERS for pid in user.processes(word)])


def kill(*pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_service(user):
    """End the service; the next one finds what is wrong by then."""
    kill(*user.processes(" system service"))


async def test_the_service_hangs(user, monkeypatch):
    """It takes connections and answers none of them: a stop has an end all the same."""
    monkeypatch.setattr(verbs, "_STOP_SECONDS", 2.0)
    spawner = await begin(user)
    hanging = user.processes(" system service")
    assert hanging
    try:
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        assert await spawner.poll() is None
        began = time.monotonic()
        await end(spawner, user)
        assert 2 <= time.monotonic() - began < 10
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    await all_is_well_again(user)


async def test_a_start_on_a_service_that_hangs(user, monkeypatch):
    """It fails at its first call's deadline: nothing was made, so nothing is looked for."""
    await end(await begin(user), user)
    monkeypatch.setitem(RestClient._ask.__kwdefaults__, "seconds", 4.0)
    hanging = user.processes(" system service")
    assert hanging
    try:
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        assert "did not finish its answer within 4 s" in await refused(user)
        assert 4 <= time.monotonic() - began < 7.5
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    await all_is_well_again(user)


# two activations at once

SCRIPT = """
import sys, time
sys.path[:0] = {path!r}
from podmanspawner import ContainerSpec, UserPodman
while time.time() < {begin}:
    pass
for step in range(3):
    with UserPodman.for_user({name!r}) as podman:
        container = podman.create(
            ContainerSpec(image={image!r}, command=("sleep", "60"), network="none")
        )
        podman.start(container)
        assert podman.inspect(container).state.running
        assert podman.remove(container)
"""


async def test_two_processes_wake_an_account_at_once(user):
    """Each may put its socket in the place of the other's: both go on working."""
    script = SCRIPT.format(
        path=sys.path, begin=time.time() + 1.5, name=user.name, image=TINY_JOVYAN
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    await all_is_well_again(user)


# processes that go


@pytest.mark.parametrize("network", ["private", "host"])
async def test_conmon_is_killed(user, network):
    """What the engine says is not to be relied on: the process and the port decide."""
    port = free_port()
    options = {"network": network}
    if network == "host":
        options |= {"port": port, "cmd": [*ANSWERING[:3], str(port), *ANSWERING[4:]]}
    spawner = await begin(user, **options)
    kill(*user.processes("conmon"))
    await asyncio.sleep(0.3)
    serves = bool(ports.listener_uids("127.0.0.1", spawner.server.port))
    assert (await spawner.poll() is None) == serves == alive(spawner.pid)
    await end(spawner, user)
    await all_is_well_again(user)


async def test_conmon_and_the_server_are_killed(user):
    spawner = await begin(user)
    kill(*user.processes("conmon"), spawner.pid)
    await until(lambda: not alive(spawner.pid))
    assert await spawner.poll() not in (None, 0)
    await all_is_well_again(user)


async def test_the_port_is_lost_and_nobody_has_it(user):
    spawner = await begin(user)
    kill(*user.processes("rootlessport"), *user.processes("pasta"))
    await asyncio.sleep(0.1)
    assert await spawner.poll() not in (None, 0)
    assert not alive(spawner.pid)
    await all_is_well_again(user)


# a disk that is full


@pytest.fixture
def disk():
    """An account whose images and containers are on a small file system; fill and free it."""
    with real_account() as user:
        store = Path(user.account.home, ".local/share/containers")
        user.run("mkdir", "-p", str(store))
        owner = f"uid={user.account.uid},gid={user.account.gid},mode=700"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size=30m,{owner}", "tmpfs", store], check=True
        )
        try:
            user.load(TINY_JOVYAN)
            yield user, store / "fill"
        finally:
            subprocess.run(["umount", "--lazy", store], check=True)


def fill(user, file):
    written = user.run("sh", "-c", f"cat /dev/zero >{file}", check=False)
    assert "No space left" in written.stderr


async def test_the_disk_is_full(disk):
    user, file = disk
    spawner = await begin(user)
    fill(user, file)
    said = await refused(user, name="other")
    assert "no space left" in said or "disk is full" in said
    assert f"Free some space for {user.name}" in said
    assert await spawner.poll() is None
    assert await restarted(spawner).poll() is None
    await end(spawner, user)
    file.unlink()
    await all_is_well_again(user, name="other")
    await all_is_well_again(user)


async def test_a_server_dies_while_the_disk_is_full(disk):
    user, file = disk
    spawner = await begin(user)
    fill(user, file)
    kill(spawner.pid)
    await until(lambda: not alive(spawner.pid))
    assert await spawner.poll() not in (None, 0)
    file.unlink()
    await all_is_well_again(user)


# a runtime directory that is wiped


def wipe(user, *, service_too):
    """Remove what there is; with systemd, what is Podman's: the rest is the user manager's."""
    if service_too:
        kill_service(user)
        time.sleep(0.2)
    folder = user.account.runtime_dir
    if not booted():
        shutil.rmtree(folder)
        return
    for name in ("libpod", "containers", "crun", "runc", "netns", "podman"):
        subprocess.run(["umount", "--lazy", "--recursive", folder / name], capture_output=True)
        shutil.rmtree(folder / name, ignore_errors=True)


@pytest.mark.parametrize("service_too", [False, True])
@pytest.mark.parametrize("verb", ["stop", "poll", "start"])
async def test_the_runtime_directory_is_wiped(user, service_too, verb):
    """The engine forgets a server that runs: it is ended, by whatever the Hub does first."""
    spawner = await begin(user)
    wipe(user, service_too=service_too)
    if await spawner.poll() is not None:  # pasta ends with the folder of its network
        assert booted()
        assert not alive(spawner.pid)
    again = restarted(spawner)
    if verb == "poll":
        assert (await again.poll() is None) == alive(spawner.pid)
    if verb != "start":
        await end(again, user)
    await all_is_well_again(user)
    assert not alive(spawner.pid)


# an engine that does not start


@contextmanager
def stale_pause_process(user, *namespace):
    """Let the file name another process of the account's, as when a number comes again."""
    file = user.account.runtime_dir / "libpod/tmp/pause.pid"
    own = file.read_text()
    other = subprocess.Popen(
        [*namespace, "sleep", "1000"], user=user.account.uid, group=user.account.gid
    )
    try:
        time.sleep(0.2)
        user.run("sh", "-c", f"printf %s {other.pid} >{file}")
        kill_service(user)
        yield f"{file} names a process that is not Podman's: remove this file as {user.name}"
        user.run("rm", str(file))
        assert alive(other.pid)
    finally:
        other.kill()
        other.wait()
        kill(int(own))  # its successor has taken over


@contextmanager
def corrupt_database(user, *, start=0):
    """Overwrite it, from some kilobyte on."""
    store = Path(user.account.home, ".local/share/containers/storage")
    there = [path for path in (store / "db.sql", store / "libpod/bolt_state.db") if path.exists()]
    (database,) = there
    kill_service(user)
    user.run(
        "sh",
        "-c",
        f"dd if=/dev/urandom of={database} bs=1k seek={start} count=40 conv=notrunc",
    )
    yield f"damaged: rename it as {user.name}, be it {store}/db.sql or {store}/libpod/bolt_state"
    user.run("mv", str(database), f"{database}.damaged")
    service = ("-u", user.name, "-f", "podman .*system service")
    user.run("pkill", "-KILL", *service, check=False)  # there may be none any more


@contextmanager
def wrong_configuration(user):
    """Spoil a file of the account's own, which can be mended without a trace."""
    folder = Path(user.account.home, ".config/containers")
    user.run("mkdir", "-p", str(folder))
    user.run("sh", "-c", f"echo '[engine' >{folder}/containers.conf")
    kill_service(user)
    yield f"{folder}/containers.conf"
    user.run("rm", f"{folder}/containers.conf")


BROKEN = {
    "pause process": stale_pause_process,
    "pause process of other ids": lambda user: stale_pause_process(user, "unshare", "-Ur"),
    "database": corrupt_database,
    "database from its second page on": partial(corrupt_database, start=4),
    "configuration": wrong_configuration,
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_the_engine_does_not_start(user, fault):
    """The server that runs is not given up, is ended by a stop, and the remedy is told."""
    # else systemd starts a service that fails for as long as each call waits, half a minute
    options = {"activation": "direct"} if "pause" in fault else {}
    spawner = await begin(user, **options)
    other = await begin(user, name="other", **options)
    with BROKEN[fault](user) as remedy:
        assert remedy in await refused(user, name="third", **options)
        assert await spawner.poll() is None
        assert await restarted(spawner, **options).poll() is None
        await end(spawner, user)
        assert alive(other.pid)
    other._let_go()
    if "database" in fault:  # whose network that was, nobody knows any more
        kill(*user.processes("pasta"))
    # a Hub that has lost its database meets it by its name
    await all_is_well_again(user, name="other")
    assert not alive(other.pid)
    await all_is_well_again(user)


FILES = ("secrets.json", "filedriver/secretsdata.json")


@pytest.mark.parametrize("file", FILES)
async def test_a_file_of_the_secrets_is_empty(user, file):
    """Its service was killed while it wrote it; what the message says is enough."""
    await interrupted(user)
    user.run("sh", "-c", f": >{secrets(user)}/{file}")
    said = await refused(user, token_as_secret="env")
    assert "unexpected end of JSON input" in said
    assert all(f"{secrets(user)}/{each}" in said for each in FILES)
    assert user.containers() == []
    await mend_secrets(user)
    await all_is_well_again(user, token_as_secret="env")


async def test_a_secret_has_lost_its_data(user):
    """Its service was killed while it removed it; what the message says is enough."""
    await interrupted(user)
    user.run("rm", f"{secrets(user)}/{FILES[1]}")
    said = await refused(user, token_as_secret="env")
    assert "A secret has lost its data" in said
    assert all(f"{secrets(user)}/{each}" in said for each in FILES)
    assert user.containers() == []
    await mend_secrets(user)
    await all_is_well_again(user, token_as_secret="env")


def secrets(user):
    return f"{user.account.home}/.local/share/containers/storage/secrets"


async def mend_secrets(user):
    user.run("rm", "-f", *(f"{secrets(user)}/{each}" for each in FILES))
    while user.processes("system service"):
        await asyncio.sleep(0.2)


async def interrupted(user):
    """Let there be a secret of the account's own, and that of a server which is forgotten."""
    user.run("podman", "secret", "create", "own", "-", input="mine")
    spawner = lone_spawner(user.name, token_as_secret="env")
    await spawner.start()
    spawner._let_go()
    user.podman("rm", "-f", "-t", "0", "-a")


async def test_locks_without_owners(user):
    """Services that were killed had taken them; what the message says is enough.

    ref: Podman's libpod/lock/shm/shm_lock.h, of 64-bit machines
    """
    user.podman("ps")  # makes them
    mutex, groups_at, groups = 40, 56, 2048 // 32
    with Path(f"/dev/shm/libpod_rootless_lock_{user.account.uid}").open("r+b") as locks:
        for number in range(groups):
            locks.seek(groups_at + number * (8 + 32 * mutex))
            locks.write(b"\xff" * 4)
    try:
        said = await refused(user)
    finally:  # they outlive the account, and may be another one's
        user.podman("system", "renumber")
    assert "exceeded num_locks" in said
    assert f"run 'podman system renumber' as {user.name}" in said
    assert user.containers() == []
    await all_is_well_again(user)


async def test_a_hub_restarts_while_the_engine_is_broken(user, tmp_path):
    """A poll that raised would have the Hub give its servers up."""
    image = f"c.PodmanSpawner.image = {TINY_JOVYAN!r}\nc.PodmanSpawner.cmd = {ANSWERING!r}\n"
    hub = Hub(tmp_path, image, cleanup_servers=False)
    with hub:
        hub.begin(user.name)
        (pid,) = map(int, user.processes("podman-init"))
        hub.kill()
        with wrong_configuration(user):
            hub.start()
            if not booted():  # systemd starts what fails for half a minute at each of three tries
                hub.until(lambda: hub.server(user.name)["ready"])
            assert hub.server(user.name)
            assert alive(pid)
        hub.until(lambda: hub.server(user.name)["ready"], 120)
        hub.end(user.name)
        assert not alive(pid)
    assert user.containers() == []


# clocks


class Jumping:
    """The time of day, an hour on or back each time it is asked for."""

    def __init__(self):
        self.real, self.hours = time.time, 0

    def __call__(self):
        self.hours = 1 - self.hours if self.hours else -1
        return self.real() + 3600 * self.hours


@pytest.mark.parametrize("hours", [-24, 24, 0])
async def test_the_clock_jumps(user, hours, monkeypatch):
    """Before the start or all the time: the server starts, is polled, and its end is seen."""
    real = time.time
    monkeypatch.setattr(time, "time", (lambda: real() + 3600 * hours) if hours else Jumping())
    spawner = await begin(user)
    assert await spawner.poll() is None
    began = time.monotonic()
    with UserPodman.for_user(user.name) as podman, pytest.raises(TimeoutError):
        podman.wait(spawner.container_id, seconds=1)
    assert 1 <= time.monotonic() - began < 5
    kill(spawner.pid)
    await until(lambda: not alive(spawner.pid))
    assert await spawner.poll() == 137
    await all_is_well_again(user)


async def test_the_clock_jumps_while_a_server_runs(user, monkeypatch):
    """Its process is held, or is not taken for another one when it is held again."""
    spawner = await begin(user)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86400)
    assert await spawner.poll() is None
    again = restarted(spawner)
    assert await again.poll() is None
    await end(again, user)
    await all_is_well_again(user)


# many at once


async def test_many_starts_at_once(user, ada, tell):
    """None fails, and another account's start does not wait for all of them."""
    ada.load(TINY_JOVYAN)
    done = []

    async def start(owner, number):
        spawner = lone_spawner(owner.name, name=f"s{number}")
        await spawner.start()
        done.append(owner)
        return spawner

    began = time.monotonic()
    many = [asyncio.ensure_future(start(user, number)) for number in range(20)]
    await asyncio.sleep(0)
    spawners = await asyncio.gather(*many, start(ada, 0))
    tell(f"20 servers of one account start at once in {time.monotonic() - began:.1f} s")
    assert done.index(ada) < len(done) - 1
    assert len(user.containers()) == 20
    await asyncio.gather(*(spawner.stop(now=True) for spawner in spawners))
    assert user.containers() == ada.containers() == []


LOSE_LAYER = """
import json, sys
store, name = sys.argv[1:]
containers = json.load(open(f"{store}/overlay-containers/containers.json"))
(layer,) = (one["layer"] for one in containers if name in one["names"])
path = f"{store}/overlay-layers/layers.json"
layers = [one for one in json.load(open(path)) if one["id"] != layer]
json.dump(layers, open(path, "w"))
"""


async def test_a_container_has_lost_its_layer(user):
    """Its service was killed in the middle of its removal; the next start removes the rest."""
    spawner = lone_spawner(user.name)
    await spawner.start()
    spawner._let_go()
    (name,) = user.containers()
    user.podman("stop", "-t", "0", name)
    store = f"{user.account.home}/.local/share/containers/storage"
    user.run("python3", "-c", LOSE_LAYER, store, name)
    with pytest.raises(subprocess.CalledProcessError):
        user.podman("inspect", name)
    await all_is_well_again(user)
