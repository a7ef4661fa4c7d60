"""What an account may put where its socket should be; the spawner is the whole one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from tornado import web

from accounts import real_account
from fake_service import FakeService
from liar import Liar, Resources, kind, threads
from lone import lone_spawner
from podmanspawner import (
    PodmanService,
    PodmanSpawnerError,
    ServiceError,
    UserPodman,
    direct,
    privileges,
)
from podmanspawner.transport import MIB

START_SECONDS = 12
AS_ACCOUNT = """
import os, socket, sys, time
uid, path, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
listener_uid = int(sys.argv[4])
os.setgroups([])
os.setresuid(uid, uid, 0)
kinds = {"datagram": socket.SOCK_DGRAM, "packets": socket.SOCK_SEQPACKET}
s = socket.socket(socket.AF_UNIX, kinds.get(what, socket.SOCK_STREAM))
s.bind(path)
os.setresuid(0, 0, 0)
os.setresuid(listener_uid, listener_uid, listener_uid)
if what != "datagram":
    s.listen(0 if what == "full" else 100)
waiting = []
if what == "full":
    for _ in range(3):
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(path)
print("ready", flush=True)
while what == "dies":
    s.accept()[0].close()
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def mallory():
    with real_account() as made:
        yield made


@pytest.fixture(scope="module")
def bobs(bob):
    """An honest service of somebody else's."""
    made = Liar(bob)
    yield made
    assert made.order()["steps"] == []
    made.close()


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A service that only root may reach, such as root's own Podman."""
    made = FakeService(tmp_path_factory.mktemp("root"), {}, name="podman.sock")
    yield made
    made.close()
    assert made.requests == []


class Place:
    """The account's folder of its socket, and what it puts there."""

    def __init__(self, account, bobs, roots):
        self.account, self.bobs, self.roots = account, bobs.account, roots
        self.folder = account.account.socket_path.parent
        self.path = account.account.socket_path
        self.processes = []

    def run(self, script):
        self.account.run("sh", "-ec", script)

    def listen(self, what, *, uid=None):
        own = self.account.account.uid
        words = [str(own), str(self.path), what, str(own if uid is None else uid)]
        process = subprocess.Popen(
            [sys.executable, "-c", AS_ACCOUNT, *words], stdout=subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdout.readline() == b"ready\n"

    def clear(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()
        subprocess.run(["umount", "-l", self.folder], stderr=subprocess.DEVNULL)
        self.run(f"chmod 700 {self.folder.parent}; rm -rf {self.folder}")


def link_to(path):
    return lambda place: place.run(f"mkdir {place.folder}; ln -s {path(place)} {place.path}")


PLACES = {
    "a symlink to somebody else's socket": (
        link_to(lambda place: place.bobs.socket_path),
        "peer",
    ),
    "a symlink to root's socket": (link_to(lambda place: place.roots.path), "peer"),
    "a symlink to nowhere": (link_to(lambda _: "/nonexistent"), "peer"),
    "a folder that leads to somebody else's": (
        lambda place: place.run(f"ln -s {place.bobs.socket_path.parent} {place.folder}"),
        "peer",
    ),
    "a folder that leads to root's": (
        lambda place: place.run(f"ln -s {place.roots.path.parent} {place.folder}"),
        "peer",
    ),
    "a folder that is a file": (lambda place: place.run(f"touch {place.folder}"), "peer"),
    "a file": (lambda place: place.run(f"mkdir {place.folder}; touch {place.path}"), "peer"),
    "a pipe": (lambda place: place.run(f"mkdir {place.folder}; mkfifo {place.path}"), "peer"),
    "a folder": (lambda place: place.run(f"mkdir -p {place.path}"), "peer"),
    "nothing": (lambda place: place.run(f"mkdir {place.folder}"), "service"),
    "a runtime directory open to all": (
        lambda place: place.run(f"chmod 755 {place.folder.parent}"),
        "account",
    ),
    "a socket on which somebody else listens": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("x", uid=place.bobs.uid)),
        "peer",
    ),
    "a socket on which root listens": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("x", uid=0)),
        "peer",
    ),
    "a socket whose queue is full": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("full")),
        "service",
    ),
    "a socket on which nobody accepts": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("deaf")),
        "deadline",
    ),
    "a service that closes every connection": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("dies")),
        "service",
    ),
    "a socket of datagrams": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("datagram")),
        "peer",
    ),
    "a socket of packets": (
        lambda place: (place.run(f"mkdir {place.folder}"), place.listen("packets")),
        "peer",
    ),
    "a file system of the account's own": (
        lambda place: place.run(
            f"cd; mkdir -p {place.folder} l u w;"
            f"fuse-overlayfs -o lowerdir=l,upperdir=u,workdir=w {place.folder}"
        ),
        "protocol",
    ),
}


@pytest.fixture
def place(mallory, bobs, roots):
    made = Place(mallory, bobs, roots)
    yield made
    made.clear()


@pytest.fixture(scope="module")
def lone(mallory):
    return lone_spawner(mallory.name, activation="existing")


@pytest.mark.parametrize("name", PLACES)
async def test_a_place_that_lies(place, lone, name, quick):
    put, word = PLACES[name]
    put(place)
    quick.seconds = 0.3
    resources = Resources()
    with pytest.raises(web.HTTPError) as caught:
        await asyncio.wait_for(lone.start(), START_SECONDS)
    assert kind(caught.value) == word, caught.value
    assert resources.peak_growth < 20 * MIB
    resources.demand_level()


async def test_a_socket_that_is_swapped_all_the_time(place, bobs, roots, lone, quick):
    """Own socket, somebody else's, root's, in turns as fast as can be: these get no byte."""
    place.run(f"mkdir {place.folder}")
    place.listen("dies")
    script = (
        f"cd {place.folder}; ln -s {place.roots.path} r; ln -s {place.bobs.socket_path} b;"
        "ln podman.sock own; i=0; while [ $i -lt 4000 ]; do for n in r b own; do "
        "ln -f $n new; mv -f new podman.sock; done; i=$((i+1)); done"
    )
    swapping = threading.Thread(
        target=place.account.run, args=("sh", "-c", script), kwargs={"check": False}
    )
    swapping.start()
    words = set()
    end = time.monotonic() + 10
    while swapping.is_alive() and time.monotonic() < end:
        try:
            await lone._with_podman(lambda podman: podman.ping())
        except PodmanSpawnerError as error:
            words.add(kind(error))
    for pid in place.account.processes("ln -s"):
        os.kill(pid, 9)
    swapping.join()
    assert words <= {"peer", "service", "protocol"}
    assert len(words) > 1, "nothing was swapped in time"


async def test_an_account_that_shuts_the_hubs_socket_down(fresh, caplog):
    """The service has the same open socket as the Hub, and is the account's to take apart."""
    account = fresh.account
    service = PodmanService(account, activation="direct")
    began = []
    serve = privileges.serve
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            privileges,
            "serve",
            lambda *a, **k: began.append(1) or serve(*a, **k),
        )
        for _ in range(3):
            with UserPodman(service):
                pass
            service._direct._listener.shutdown(socket.SHUT_RDWR)
            for pid in fresh.processes("system service"):
                with contextlib.suppress(ProcessLookupError):  # it ends by itself
                    os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(2)
            with contextlib.suppress(ServiceError):
                service.connect().close()
    assert len(began) <= 12, "started again and again"
    assert all(line.startswith("    | ") for r in caplog.records for line in lines_after(r))
    with UserPodman(service) as podman:
        assert podman.containers() == []
    service.close()


async def test_an_account_that_keeps_its_services_from_ending(fresh):
    """And removes their socket each time, so that the Hub starts another one."""
    service = PodmanService(fresh.account, activation="direct", idle_seconds=1)
    resources = Resources()
    for _ in range(8):
        with UserPodman(service):
            pass
        for pid in fresh.processes("system service"):
            os.kill(pid, signal.SIGSTOP)
        fresh.run("rm", str(fresh.account.socket_path))
    await asyncio.sleep(0.5)
    assert threads() - resources.threads <= direct._SERVICES
    service.close()
    for pid in fresh.processes("system service"):
        os.kill(pid, signal.SIGKILL)
    resources.demand_level()


def lines_after(record):
    return record.getMessage().splitlines()[1:]
