"""Many servers at once, and many starts and stops one after the other, by a real Hub."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from accounts import TINY_JOVYAN, real_account

ACCOUNTS = 25
SERVERS = ("", "b")
SOAKED = 6
"""Accounts of the soak; each starts and stops two servers all the time."""
SOAK_SECONDS = float(os.environ.get("PODMANSPAWNER_SOAK_SECONDS", "45"))
WARM_UP_SECONDS = 15
SETTLE_SECONDS = 30
GROWTH_MB = 10
KEPT_CONNECTIONS = 10
"""To the proxy and of clients: how many are open at a moment is theirs to say."""
POOL_THREADS = min(32, os.cpu_count() + 4)
"""Of the event loop's own pool, for names and addresses: made one by one, then kept."""
SERVING_ITS_PREFIX = (
    'mkdir -p "/tmp/www$JUPYTERHUB_SERVICE_PREFIX"; '
    'echo "$JUPYTERHUB_SERVICE_PREFIX" > "/tmp/www${JUPYTERHUB_SERVICE_PREFIX}whose"; '
    "exec httpd -f -p 8888 -h /tmp/www"
)
CONFIG = f"""
c.PodmanSpawner.image = "{TINY_JOVYAN}"
c.PodmanSpawner.cmd = ["sh", "-c", {SERVING_ITS_PREFIX!r}]
c.PodmanSpawner.service_idle_seconds = 2
c.PodmanSpawner.delete_grace_period = 1
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.log_level = "INFO"
"""


@pytest.fixture(scope="module")
def crowd(tell):
    """Accounts with the image, made one by one: useradd locks its files."""
    with ExitStack() as made, ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        accounts = [made.enter_context(real_account()) for _ in range(ACCOUNTS)]
        one_by_one = time.monotonic() - began
        list(pool.map(lambda account: account.load(TINY_JOVYAN), accounts))
        loaded = time.monotonic() - began - one_by_one
        tell(f"{ACCOUNTS} accounts: made in {one_by_one:.0f} s, image in {loaded:.0f} s")
        yield accounts


def hub_of(make_hub, accounts):
    hub = make_hub(CONFIG)
    hub.api("POST", "users", json={"usernames": [a.name for a in accounts]}).raise_for_status()
    return hub


def all_at_once(work, items):
    """Do something for each of the items in a thread of its own."""
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(lambda item: work(*item), items))


def states(hub):
    """Return what the Hub says of its servers, by user and name."""
    models = hub.api("GET", "users").json()
    return {
        (model["name"], name): server
        for model in models
        for name, server in model["servers"].items()
    }


@pytest.mark.alone
def test_fifty_servers_of_25_accounts_at_once(make_hub, crowd, tell):
    hub = hub_of(make_hub, crowd)
    wanted = [(account.name, name) for account in crowd for name in SERVERS]
    before = Footprint.of(hub, crowd)

    began = time.monotonic()
    all_at_once(hub.request_start, wanted)
    asked = time.monotonic() - began

    def all_ready():
        found = states(hub)
        assert found.keys() >= {*wanted}, f"failed: { ({*wanted} - found.keys()) }{hub.tail()}"
        return all(server["ready"] for server in found.values())

    hub.until(all_ready, 240)
    took = time.monotonic() - began
    full = Footprint.of(hub, crowd)
    for user, name in wanted:  # each route leads to the very server
        prefix = f"/user/{user}/{name}/" if name else f"/user/{user}/"
        assert requests.get(f"{hub.url}{prefix}whose", timeout=30).text == f"{prefix}\n"

    began = time.monotonic()
    all_at_once(lambda user, name: hub.api("DELETE", hub.path(user, name)), wanted)
    hub.until(lambda: not states(hub), 120)
    tell(
        f"{len(wanted)} servers of {len(crowd)} accounts: asked for in {asked:.1f} s, all ready "
        f"after {took:.1f} s, stopped in {time.monotonic() - began:.1f} s; "
        f"the Hub before: {before}; with all of them: {full}"
    )
    assert [account.containers() for account in crowd] == [[]] * len(crowd)


@dataclass(frozen=True)
class Footprint:
    """What the Hub and all that it started take of the machine."""

    megabytes: float
    descriptors: int
    threads: int
    processes: int
    """Of the accounts."""

    @classmethod
    def of(cls, hub, accounts):
        proc = Path("/proc", str(hub.process.pid))
        pages = int((proc / "statm").read_text().split()[1])
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
            len(list((proc / "fd").iterdir())),
            len(list((proc / "task").iterdir())),
            sum(len(account.processes("")) for account in accounts),
        )

    def __str__(self):
        return (
            f"{self.megabytes:.1f} MB, {self.descriptors} descriptors, {self.threads} threads, "
            f"{self.processes} processes"
        )


class Soak:
    """Servers that are started and stopped, each as fast as the Hub does it."""

    def __init__(self, hub, accounts):
        self.hub, self.accounts = hub, accounts
        self.starts = 0

    def run(self, seconds):
        """Start and stop for so long; return what is left when all is quiet again."""
        end = time.monotonic() + seconds
        servers = [(account.name, name) for account in self.accounts for name in SERVERS]
        self.starts += sum(all_at_once(lambda *server: self._again(server, end), servers))
        time.sleep(1)
        self.hub.until(self._quiet, SETTLE_SECONDS)
        return Footprint.of(self.hub, self.accounts)

    def _again(self, server, end):
        rounds = 0
        while time.monotonic() < end:
            self.hub.begin(*server)
            self.hub.end(*server)
            rounds += 1
        return rounds

    def _quiet(self):
        return not any(account.processes("system service") for account in self.accounts)


@pytest.mark.timeout(SOAK_SECONDS + 300)
@pytest.mark.alone
def test_starts_and_stops_leave_nothing(make_hub, crowd, tell):
    """``make soak`` takes half an hour."""
    accounts = crowd[:SOAKED]
    hub = hub_of(make_hub, accounts)
    soak = Soak(hub, accounts)
    before = soak.run(WARM_UP_SECONDS)
    warm = soak.starts
    after = soak.run(SOAK_SECONDS - WARM_UP_SECONDS)
    tell(
        f"{soak.starts - warm} starts and stops in {SOAK_SECONDS - WARM_UP_SECONDS:.0f} s, after "
        f"{warm} to warm up; the Hub before: {before}; after: {after}"
    )
    assert [account.containers() for account in accounts] == [[]] * len(accounts)
    assert after.megabytes <= before.megabytes + GROWTH_MB
    assert after.descriptors <= before.descriptors + KEPT_CONNECTIONS
    assert after.threads <= before.threads + POOL_THREADS
    assert after.processes <= before.processes
    assert "Traceback" not in hub.log.read_text()
