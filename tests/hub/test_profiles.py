"""Servers of profiles: ProfilesSpawner of wrapspawner around PodmanSpawner."""

from __future__ import annotations

import json

import pytest

PROFILES = """
c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"
import podmanspawner
c.ProfilesSpawner.profiles = [
    ("One", "one", podmanspawner.PodmanSpawner, dict(hostname="one")),
    ("Two", "two", podmanspawner.PodmanSpawner, dict(
        hostname="two", cmd=["jupyterhub-singleuser", "--IdentityProvider.cookie_name=two"],
        environment={"WHO": "profile"}, pids_limit=-1, stop_timeout=7,
    )),
]
"""
ONE, TWO = {"profile": "one"}, {"profile": "two"}
LOOK = (
    "import os, socket; print(socket.gethostname(), os.environ.get('WHO'), os.environ.get('ALL'))"
)


def wait_for_removal(hub, user):
    hub.until(lambda: user.containers() == [], 30)


def test_named_servers_of_two_profiles_and_their_progress(make_hub, users):
    user = users[0]
    hub = make_hub(PROFILES + 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}\n')
    hub.begin(user.name, options=ONE)
    hub.request_start(user.name, "a", options=TWO)
    stages = hub.progress(user.name, "a")
    hub.until(lambda: (server := hub.server(user.name, "a")) and server["ready"], 120)
    assert stages[-1]["progress"] == 100
    assert {20, 50, 70, 80} & {stage["progress"] for stage in stages}
    assert len(user.containers()) == 2
    assert hub.notebook(user.name).compute(LOOK).split()[0] == "one"
    assert hub.notebook(user.name, "a").compute(LOOK).split()[0] == "two"
    hub.end(user.name, "a")
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    assert [name.endswith("--a") for name in user.containers()] == [False]
    hub.end(user.name)
    assert user.containers() == []


def test_a_hub_that_restarts_finds_the_servers_of_profiles(make_hub, users):
    user = users[0]
    hub = make_hub(PROFILES, cleanup_servers=False)
    hub.begin(user.name, options=ONE)
    hub.begin(user.name, "a", options=TWO)
    before = set(user.podman("ps", "-q").split())
    hub.kill()
    assert set(user.podman("ps", "-q").split()) == before
    hub.start()
    for name, host in (("", "one"), ("a", "two")):
        state = hub.server(user.name, name)["state"]
        assert state["child_state"]["container_id"][:12] in before
        assert hub.notebook(user.name, name).compute(LOOK).split()[0] == host
        hub.end(user.name, name)
    assert user.containers() == []


def test_a_server_of_a_profile_that_ended_while_the_hub_was_away(make_hub, users):
    user = users[0]
    hub = make_hub(PROFILES, cleanup_servers=False)
    hub.begin(user.name, options=TWO)
    hub.kill()
    user.podman("stop", "-t", "0", *user.containers())
    hub.start()
    hub.until(lambda: not hub.server(user.name))
    assert user.containers() == []


VALUES = """
c.Spawner.environment = {"WHO": "Spawner", "ALL": "Spawner"}
c.PodmanSpawner.environment = {"WHO": "PodmanSpawner", "ALL": "PodmanSpawner"}
c.PodmanSpawner.hostname = "set-for-all"
c.PodmanSpawner.extra_labels = {"set": "for-all"}
c.PodmanSpawner.umask = "0027"
c.Spawner.cpu_limit = 2.0
c.PodmanSpawner.unenforced_limits = "warn"
c.PodmanSpawner.mem_limit = "3G"
"""


def test_whose_value_counts(make_hub, users):
    """A profile's own first; of this spawner's options c.PodmanSpawner; of the Hub's c.Spawner."""
    user = users[0]
    hub = make_hub(PROFILES + VALUES)
    hub.begin(user.name, options=ONE)
    hub.begin(user.name, "a", options=TWO)
    assert hub.notebook(user.name).compute(LOOK).split() == ["one", "Spawner", "Spawner"]
    assert hub.notebook(user.name, "a").compute(LOOK).split() == ["two", "profile", "None"]
    for shown in json.loads(user.podman("inspect", *user.containers())):
        environment = dict(item.split("=", 1) for item in shown["Config"]["Env"])
        assert shown["Config"]["Labels"]["set"] == "for-all"
        assert shown["Config"]["Umask"] == "0027"
        assert environment["CPU_LIMIT"] == "2.0"
        assert "MEM_LIMIT" not in environment  # an option of every spawner's: c.Spawner counts
        two = shown["Config"]["Hostname"] == "two"
        assert shown["Config"]["StopTimeout"] == (7 if two else 10)
    for name in ("", "a"):
        hub.end(user.name, name)
    assert user.containers() == []


@pytest.mark.parametrize("running", [True, False])
def test_nothing_is_left_of_a_deleted_server(make_hub, users, running):
    """The wrapper does not pass the deletion on: it is the stop that removes the container."""
    user = users[0]
    hub = make_hub(PROFILES)
    hub.begin(user.name, "a", options=ONE)
    if not running:
        hub.end(user.name, "a")
    hub.api("DELETE", hub.path(user.name, "a"), json={"remove": True}).raise_for_status()
    hub.until(lambda: not hub.server(user.name, "a"))
    wait_for_removal(hub, user)


def test_a_profile_with_a_bad_value_is_explained(make_hub, users):
    user = users[0]
    hub = make_hub(
        PROFILES + "c.ProfilesSpawner.profiles = [('Bad', 'bad', podmanspawner.PodmanSpawner, "
        "dict(volumes={'/no/such': '/data'}))]\n"
    )
    hub.api("POST", f"users/{user.name}")
    answer = hub.api("POST", hub.path(user.name), json={"profile": "bad"})
    if answer.ok:
        hub.until(lambda: any(s.get("failed") for s in hub.progress(user.name)), 60)
    assert "/no/such does not exist" in hub.log.read_text()
    assert user.containers() == []
