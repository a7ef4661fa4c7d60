"""The Hub, or the account's Podman service, is killed at every step; nothing is lost or left."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import requests

from accounts import real_account
from mortal import Forker, Refused, Site

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = """
c.PodmanSpawner.token_as_secret = "file"
c.PodmanSpawner.secrets = [{"source": "licence", "value": "of the site"}]
c.PodmanSpawner.volumes = {"of-{username}": "/data"}
c.PodmanSpawner.delete_volumes = True
c.PodmanSpawner.container_user = "1000:1000"
"""
NAMED = FULL.replace("c.PodmanSpawner.container_user", "# ")
KEPT = """
c.PodmanSpawner.remove = False
c.PodmanSpawner.token_as_secret = "env"
c.PodmanSpawner.volumes = {"of-{username}": "/data"}
c.PodmanSpawner.delete_volumes = True
c.PodmanSpawner.container_user = "1000:1000"
"""
ANSWERING_TLS = """
import os, socket, ssl
names = ("CLIENT_CA", "CERTFILE", "KEYFILE")
ca, cert, key = (os.environ[f"JUPYTERHUB_SSL_{name}"] for name in names)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
context.verify_mode = ssl.CERT_REQUIRED
context.load_cert_chain(cert, key)
listener = socket.create_server(("", 8888))
while True:
    try:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.settimeout(5)
            connection.recv(9999)
            connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    except OSError:
        pass
"""
SSL = f"""{FULL}
c.JupyterHub.internal_ssl = True
c.JupyterHub.trusted_alt_names = ["DNS:hub.internal"]
c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http:", "https:")
c.PodmanSpawner.read_only_volumes = {{"/usr": "/usr", "/lib": "/lib", "/lib64": "/lib64"}}
c.PodmanSpawner.cmd = ["/usr/bin/python3", "-c", {ANSWERING_TLS!r}]
"""
"""With the host's Python, as the tiny image has none."""
EVERY = int(os.environ.get("PODMANSPAWNER_CRASH_EVERY", "4"))
"""Which steps somebody is killed at: 1 is each of them, as ``make crashes`` has it."""
RANDOM_KILLS = 24 // EVERY
SEED = 5
SETTLE_SECONDS = 0.3
"""For a request to be done that the Hub had sent before it was killed."""


@dataclass(frozen=True)
class Scenario:
    """What a Hub does when it is killed."""

    name: str
    config: str
    prepare: Callable[[Site], None]
    verb: Callable[[Site], None]
    first: str = ""
    """Word of the step from which on it is killed."""
    last: str = "no such step"
    """Word of the step before which it is killed no more."""

    kept = property(lambda self: "remove = False" in self.config)


def nothing(site: Site) -> None:
    if "" in site.servers():
        stop(site)


def start(site: Site) -> None:
    if "" not in site.servers():
        site.hub.start_server(site.name)


def stop(site: Site) -> None:
    site.hub.end(site.name)


def start_and_stop(site: Site) -> None:
    start(site)
    stop(site)


def restart(site: Site) -> None:
    nothing(site)
    start(site)


def start_in_vain(site: Site) -> None:
    order = site.hub.folder / "fails"
    order.touch()
    try:
        site.hub.fail_to_begin(site.name)
    finally:
        order.unlink()


def delete(site: Site) -> None:
    site.hub.api("DELETE", f"users/{site.name}").raise_for_status()


def start_and_kill(site: Site) -> None:
    start(site)
    site.hub.kill()


def break_off(site: Site) -> None:
    """Kill the Hub in the middle of a start: the next one has something to put right."""
    nothing(site)
    site.order("hub", "sent POST containers/ID/start")
    with contextlib.suppress(requests.RequestException):
        start(site)
    site.hub.until(lambda: site.hub.dead)
    site.no_order()
    time.sleep(SETTLE_SECONDS)


def end_unseen(site: Site) -> None:
    start_and_kill(site)
    site.account.podman("kill", *site.running())


def come_back(site: Site) -> None:
    site.hub.start()


SCENARIOS = [
    Scenario("start", FULL, nothing, start),
    Scenario("stop", FULL, start, stop),
    Scenario("delete", KEPT, start_and_stop, delete),
    Scenario("start in vain", FULL, nothing, start_in_vain, first="sent POST containers/ID/start"),
    Scenario("poll one that runs", FULL, start_and_kill, come_back, first="GET containers/"),
    Scenario("poll one that has ended", FULL, end_unseen, come_back, first="GET containers/"),
    Scenario("come back to half a start", FULL, break_off, come_back, first="GET containers/"),
    Scenario("look into an image", NAMED, nothing, start, first="GET images/", last="volumes"),
    Scenario("start one that was kept", KEPT, start_and_stop, start),
    Scenario("stop and keep", KEPT, start, stop),
    Scenario("start with internal_ssl", SSL, nothing, start),
]
SERVED = [
    Scenario("restart", FULL, start, restart),
    Scenario("start one that was kept", KEPT, start_and_stop, start),
    Scenario("start", FULL, nothing, start),
    Scenario("stop", FULL, start, stop),
    Scenario("delete", KEPT, start_and_stop, delete),
    Scenario("poll one that runs", FULL, start_and_kill, come_back, first="GET containers/"),
][: None if EVERY == 1 else 2]
"""What the account's service is asked for when it is killed; the first two have most of it."""
VERB_SECONDS = 20
"""Less than the deadline of any call: nothing waits for a service that is dead."""
DELAYS = (0.0, 0.03, 0.1, 0.3)
"""Seconds from when a request has been sent that changes something."""
CHANGES = re.compile("sent (POST|PUT|DELETE)")
UNWRITTEN = re.compile("sent (POST (volumes|containers)/create|DELETE (volumes|containers)/)")
"""When a lock is taken that no container or volume owns."""
BROKEN_SECRETS = re.compile("unexpected end of JSON input|no secret data with ID")
TYPED = re.compile("[Pp]odman")
"""What is in the words of an error of the spawner's own, and in none of the Hub's."""


@pytest.fixture(scope="module")
def sites():
    """Two accounts of their own: what other tests did in an account is nothing left of a Hub's."""
    forker = Forker()
    with ExitStack() as stack:
        stack.callback(forker.close)
        made = []
        for account in (stack.enter_context(real_account()) for _ in range(2)):
            # in memory: a process that is killed loses nothing of what it wrote
            folder = stack.enter_context(TemporaryDirectory(dir="/dev/shm"))
            made.append(Site(forker, account, Path(folder)))
            stack.callback(made[-1].close)
        yield made


@pytest.fixture
def configured(sites, scenario):
    for site in sites:
        site.configure(scenario.config)
        site.end_services()
        site.hub.start()
    yield sites
    for site in sites:
        site.no_order()
        site.hub.kill()


def enumerated(site: Site, scenario: Scenario, victim: str) -> dict[int, str]:
    """Return the steps to kill at, from a run in which nobody is killed."""
    scenario.prepare(site)
    site.order(victim, 0)
    scenario.verb(site)
    steps = dict(enumerate(site.no_order(), 1))
    clean_up(site)
    begin = min(number for number, name in steps.items() if scenario.first in name)
    past = [number for number, name in steps.items() if scenario.last in name]
    return {n: steps[n] for n in range(begin, min(past, default=len(steps) + 1))}


def clean_up(site: Site) -> None:
    """End what runs, delete the user, and see that nothing is left."""
    for name in site.servers():
        site.hub.end(site.name, name)
    if site.hub.api("GET", f"users/{site.name}").ok:
        delete(site)
    site.demand_nothing_left()


def kill_the_hub(
    site: Site, scenario: Scenario, step: int, *, empty: bool, seconds: float = 60
) -> None:
    """Kill the Hub at a step, or after so many seconds; see that the next puts all right."""
    scenario.prepare(site)
    site.order("hub", step)
    timer = threading.Timer(seconds, site.hub.kill_it)
    timer.start()
    with contextlib.suppress(requests.RequestException):
        scenario.verb(site)
    timer.cancel()
    site.hub.kill()
    site.no_order()
    recover(site, scenario, empty=empty)


def recover(site: Site, scenario: Scenario, *, empty: bool) -> None:
    """Let a new Hub find what there is, with the database or without."""
    time.sleep(SETTLE_SECONDS)
    should_run = {} if empty else surviving(site)
    if empty:
        (site.hub.folder / "hub.sqlite").unlink()
    site.hub.start()
    assert site.servers() == should_run, "lost, or not ended"
    if not empty:
        demand_only(site, should_run, kept=scenario.kept)
    start(site)
    demand_only(site, site.servers(), kept=False)
    if scenario.prepare in (nothing, start_and_stop):
        clean_up(site)


def surviving(site: Site) -> dict[str, str]:
    """Return the servers that the next Hub must find: that were saved, and run."""
    running = site.running()
    return {name: found for name, found in site.hub.saved().items() if found in running}


def demand_only(site: Site, servers: dict[str, str], *, kept: bool) -> None:
    """See that the containers of these servers run, and that there are no others.

    What a Hub left that died while it looked into an image goes with the next start.
    """
    found = {name: how for name, how in site.containers().items() if "probe" not in how}
    running = {name for name, how in found.items() if how.startswith("Up")}
    assert running == {*servers.values()}
    assert len(found) - len(running) <= kept, found
    routes = {f"/user/{site.name}/{name}".rstrip("/") for name in servers}
    site.hub.until(lambda: {route.rstrip("/") for route in site.routes()} == routes)
    if not servers and not kept:
        site.demand_nothing_left(but=("containers", "volumes"))


def in_turn(site: Site, work: list[tuple[str, Callable[[], None]]]) -> list[str]:
    """Do all kills of one site; return what went wrong, each in a line, and go on after it."""
    wrong = []
    for what, kill in work:
        try:
            kill()
        except Exception as error:  # noqa: BLE001, told with all others
            frames = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in frames[:0:-1])
            wrong.append(f"{what}: {error!r} in {where}")
            start_afresh(site)
    return wrong


def start_afresh(site: Site) -> None:
    """Remove by other means what a failure left, so that it is no other kill's failure."""
    site.no_order()
    site.hub.kill()
    for pid in site.busy():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    (site.hub.folder / "hub.sqlite").unlink(missing_ok=True)
    for command in (["rm", "-fa", "-t", "0"], ["volume", "prune", "-f"], ["secret", "rm", "-a"]):
        site.account.podman(*command, check=False)
    site.mend_secrets()
    site.hub.start()
    warm_up(site)


def shared_out(sites, kill, work: list) -> None:
    """Let the sites do the work at the same time, half of it each; see that nothing went wrong."""
    half = len(work) // 2

    def do(site, mine):
        return in_turn(site, [(what, partial(kill, site, **options)) for what, options in mine])

    with ThreadPoolExecutor(len(sites)) as pool:
        done = pool.map(do, sites, (work[:half], work[half:]))
    wrong = [line for lines in done for line in lines]
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_hub_is_killed_at_every_step(configured, scenario, tell):
    steps = enumerated(configured[0], scenario, "hub")
    work = [
        (f"{number}, {name}", {"step": number, "empty": number // EVERY % 2 == 0})
        for number, name in [*steps.items()][::EVERY]
    ]
    shared_out(configured, partial(kill_the_hub, scenario=scenario), work)
    tell(
        f"{scenario.name}: the Hub killed at {len(work)} of {len(steps)} steps, "
        "nothing lost or left"
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS[:2], ids=lambda scenario: scenario.name)
def test_the_hub_is_killed_at_random_instants(configured, scenario, tell):
    chance = random.Random(SEED)
    instants = [chance.uniform(0, 1) for _ in range(RANDOM_KILLS)]
    work = [
        (f"after {seconds} s", {"step": 0, "empty": number % 2 == 0, "seconds": seconds})
        for number, seconds in enumerate(instants)
    ]
    shared_out(configured, partial(kill_the_hub, scenario=scenario), work)
    tell(
        f"{scenario.name}: the Hub killed at {RANDOM_KILLS} random instants, nothing lost or left"
    )


def kill_the_service(site: Site, scenario: Scenario, step: int, name: str, delay: float) -> None:
    """Kill the account's service at a request; see the verb end in time, and all put right."""
    site.await_patience()
    scenario.prepare(site)
    before = surviving(site)
    logged = site.hub.log.stat().st_size
    site.wake()
    site.order("service", step, delay)
    began = time.monotonic()
    complaint = attempt(site, scenario.verb)
    took = time.monotonic() - began
    site.no_order()
    site.demand_killed()
    assert took < VERB_SECONDS, f"{took:.0f} s"
    if complaint:
        assert TYPED.search(complaint), complaint
        demand_success(site, scenario.verb, name)
    if UNWRITTEN.search(name):
        site.forgive_a_lock()
    after = site.servers()
    if scenario.verb is come_back:
        assert after == before
    else:
        assert len(after) == (scenario.verb in (start, restart))
    # what a stop or a deletion could not do stands in the log alone, until the next start
    log = site.hub.log.read_bytes()[logged:].decode()
    stays = "secrets" in name and BROKEN_SECRETS.search(log) is not None
    demand_only(site, after, kept=scenario.kept or stays)
    demand_success(site, start, name)
    demand_only(site, site.servers(), kept=False)
    if scenario.prepare in (nothing, start_and_stop):
        clean_up(site)


def demand_success(site: Site, verb: Callable[[Site], None], name: str) -> None:
    """See it succeed now; if it is secrets that are broken, after the remedy that it tells."""
    complaint = attempt(site, verb)
    if "secrets" in name and BROKEN_SECRETS.search(complaint):
        site.mend_secrets()
        complaint = attempt(site, verb)
    assert not complaint, f"nor now: {complaint}"


def warm_up(site: Site) -> None:
    """Let be done what is done once in a Hub's life, so that all starts are alike."""
    start(site)
    clean_up(site)


def attempt(site: Site, verb: Callable[[Site], None]) -> str:
    """Let the Hub do it; return its complaint, if it has one."""
    try:
        verb(site)
    except Refused as refused:
        return str(refused)
    except requests.HTTPError as error:
        return error.response.json()["message"]
    return ""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SERVED, ids=lambda scenario: scenario.name)
def test_the_service_is_killed_at_every_request(configured, scenario, tell):
    with ThreadPoolExecutor(len(configured)) as pool:
        list(pool.map(warm_up, configured))
    steps = enumerated(configured[0], scenario, "service")
    work = [
        (f"{number}, {name}, {delay} s", {"step": number, "name": name, "delay": delay})
        for number, name, delay in instants(steps)
    ]
    shared_out(configured, partial(kill_the_service, scenario=scenario), work)
    locks, secrets = 0, 0
    for site in configured:
        clean_up(site)
        locks += site.find_locks_again()
        secrets += site.secrets_mended
        site.secrets_mended = 0
    tell(
        f"{scenario.name}: the service killed {len(work)} times at {len(steps)} steps, nothing "
        f"lost or left but {locks} locks, and secrets broken {secrets} times, for which there "
        "are remedies"
    )


def instants(steps: dict[int, str]) -> list[tuple[int, str, float]]:
    """Return number and name of steps, and seconds from there, at which the service is killed.

    If not at every step, then once in each request that changes something.
    """
    changes = {number for number, name in steps.items() if CHANGES.match(name)}
    if EVERY > 1:
        return [(number, steps[number], DELAYS[1]) for number in sorted(changes)]
    return [
        (number, name, delay)
        for number, name in steps.items()
        for delay in (DELAYS if number in changes else DELAYS[:1])
    ]
