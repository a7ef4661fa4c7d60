"""``podmanspawner prune`` ends what no server of a running Hub owns, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from accounts import TINY_JOVYAN
from hub import TOKEN
from lone import ANSWERING
from podmanspawner.names import ServerName

CONFIG = f"""
c.PodmanSpawner.image = "{TINY_JOVYAN}"
c.PodmanSpawner.cmd = {ANSWERING}
c.JupyterHub.services = [
    dict(name="tests", api_token="{TOKEN}"),
    dict(name="prune", api_token="{TOKEN[::-1]}"),
    dict(name="blind", api_token="{TOKEN[2:] * 2}"),
]
c.JupyterHub.api_page_max_limit = 2
scopes = ["admin:server_state", "list:users", "read:servers"]
c.JupyterHub.load_roles += [
    dict(name="prune", scopes=scopes, services=["prune"]),
    dict(name="blind", scopes=[f"{{scope}}!user=bob" for scope in scopes], services=["blind"]),
]
"""
ONE_ACCOUNT = """
c.JupyterHub.authenticator_class = "dummy"
c.PodmanSpawner.account_template = "{}"
c.PodmanSpawner.home_target = ""
"""
SLOW = """
async def first_slow(spawner):
    if spawner.name == "slow":
        spawner.cmd = ["sleep", "600"]
c.Spawner.pre_spawn_hook = first_slow
"""


@pytest.fixture
def user(ada):
    ada.load(TINY_JOVYAN)
    yield ada
    ada.clear()


def prune(hub, user, *words, token=TOKEN[::-1], status=0, **options):
    command = [sys.executable, "-m", "podmanspawner.cli", "prune", "-f", hub.config, user.name]
    done = subprocess.run(
        [*command, *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "JUPYTERHUB_API_TOKEN": token},
        **options,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def results(said):
    return {one["id"]: one["result"] for one in json.loads(said)}


def ids(user):
    return {*user.podman("ps", "-aq", "--no-trunc").split()}


def put(user, labels, *flags):
    flags = ["--network=none", *flags, *(f"--label={key}={text}" for key, text in labels.items())]
    return user.podman("run", "-d", "--init", *flags, TINY_JOVYAN, "sleep", "600").strip()


def test_orphans_are_removed_and_nothing_else_is(make_hub, user):
    hub = make_hub(CONFIG + SLOW + ONE_ACCOUNT.format(user.name))
    for name in ("first", "second", "third"):  # two pages of users
        hub.api("POST", f"users/{name}").raise_for_status()
    hub.begin(user.name)
    hub.begin("third", "b")
    hub.api("PATCH", "users/third", json={"name": "other"}).raise_for_status()
    hub.request_start(user.name, "slow")
    hub.until(lambda: len(ids(user)) == 3)
    of_hub = ServerName(str(hub.hub_port), user.name, "gone")
    bystanders = ids(user) | {
        put(user, ServerName("another", user.name, "gone").labels()),
        put(user, {}, f"--name={of_hub.container()}"),
    }
    assert prune(hub, user, "--yes") == "no orphans\n"
    running = put(user, of_hub.labels())
    kept = put(user, {**of_hub.labels(), "podmanspawner.keep": "1"})
    made = user.podman("create", "--label=x=y", TINY_JOVYAN).strip()
    ended = put(user, ServerName(of_hub.hub, user.name, "ended").labels())
    user.podman("stop", "-t0", ended)
    mine = {running, kept, ended}
    bystanders |= {made}
    assert results(prune(hub, user, "--json", "--dry-run")) == dict.fromkeys(mine, "left")
    assert (
        "End 3 containers"
        in subprocess.run(
            [sys.executable, "-m", "podmanspawner.cli", "prune", "-f", hub.config, user.name],
            input="n\n",
            capture_output=True,
            text=True,
            env={**os.environ, "JUPYTERHUB_API_TOKEN": TOKEN[::-1]},
        ).stdout
    )
    assert ids(user) == bystanders | mine
    done = {running: "removed", kept: "stopped", ended: "removed"}
    assert results(prune(hub, user, "--json", "--yes")) == done
    assert ids(user) == bystanders | {kept}
    assert kept not in user.podman("ps", "-q", "--no-trunc")
    assert prune(hub, user, "--yes") == "no orphans\n"


def test_a_hub_that_cannot_be_asked_ends_nothing(make_hub, user):
    hub = make_hub(CONFIG)
    left = put(user, ServerName(str(hub.hub_port), user.name, "gone").labels())
    said = prune(hub, user, "--yes", token="", status=1)
    assert "JUPYTERHUB_API_TOKEN" in said
    assert "does not take the token" in prune(hub, user, "--yes", token="wrong", status=1)
    said = prune(hub, user, "--yes", token=TOKEN[2:] * 2, status=1)
    assert "has not the scopes admin:server_state, list:users, read:servers" in said
    assert "say --yes, or --dry-run" in prune(hub, user, "--json", status=2)
    proxy = f"{hub.url}/hub/api"
    assert left in prune(hub, user, "--json", "--dry-run", "--hub-url", proxy)
    assert "No Hub's API" in prune(hub, user, "--yes", "--hub-url", hub.url, status=1)
    hub.stop()
    said = prune(hub, user, "--yes", status=1)
    assert f"No Hub's API answers at http://127.0.0.1:{hub.hub_port}/hub/api" in said
    assert ids(user) == {left}
