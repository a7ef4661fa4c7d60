"""What no server of the Hub owns is found and ended; nothing else is."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN, booted, real_account
from free_ports import free_port
from lone import ANSWERING, lone_spawner
from podmanspawner import UserPodman, orphans
from podmanspawner.names import ServerName

CONFIG = f"""
c.PodmanSpawner.image = "{TINY_JOVYAN}"
c.PodmanSpawner.cmd = {ANSWERING}
c.PodmanSpawner.delete_grace_period = 1
"""
SLOW = """
async def first_slow(spawner):
    if spawner.name == "slow":
        spawner.cmd = ["sleep", "600"]
c.Spawner.pre_spawn_hook = first_slow
"""
FORGED = "[I 2026-01-01 00:00:00.000 JupyterHub app:1] root logged in"
GONE = "gone"
"""A server that no Hub of these tests has."""


@pytest.fixture
def user(ada):
    ada.load(TINY_JOVYAN)
    yield ada
    ada.clear()


def put(user, labels, *, name="", ended=False):
    """Have a container with these labels; return its id."""
    flags = [f"--label={key}={value}" for key, value in labels.items()]
    if name:
        flags.append(f"--name={name}")
    command = ["true"] if ended else ["sleep", "600"]
    network = ["--network=none", "--init"]
    made = user.podman("run", "-d", *network, *flags, TINY_JOVYAN, *command).strip()
    if ended:
        user.podman("wait", made)
    return made


def bait(hub, user, **options):
    """Have an orphan; when it is gone, there has been a search in the account."""
    gone = ServerName(str(hub.hub_port), user.name, GONE)
    return put(user, gone.labels(), name=gone.container(), **options)


def ids(user):
    return {*user.podman("ps", "-aq", "--no-trunc").split()}


def until_gone(hub, user, container):
    hub.until(lambda: container not in ids(user), 60)


def restart(hub, *, lose_database=False):
    if lose_database:
        (hub.folder / "hub.sqlite").unlink()
    hub.start()


def test_a_hub_that_lost_its_database_leaves_nothing_running(make_hub, user):
    """It knows no user any more; nobody logs in."""
    hub = make_hub(CONFIG, cleanup_servers=False)
    for name in ("", "a"):
        hub.begin(user.name, name)
    ours = ids(user)
    other = ServerName(str(free_port()), user.name, "").labels()
    name = ServerName(str(hub.hub_port), user.name, "own").container()
    bystanders = {
        put(user, other),
        put(user, {}, name=name),
        put(user, {"podmanspawner.hub": str(hub.hub_port)}),
    }
    hub.kill()
    assert ids(user) == ours | bystanders
    restart(hub, lose_database=True)
    hub.until(lambda: ids(user) <= bystanders, 60)
    assert ids(user) == bystanders
    assert {*user.podman("ps", "-q", "--no-trunc").split()} == bystanders  # all run


@pytest.mark.parametrize("running", [True, False])
def test_what_a_start_that_was_broken_off_leaves(make_hub, user, running):
    """Also where nothing runs that could be seen: the database says where to look."""
    hub = make_hub(
        CONFIG + SLOW + 'c.PodmanSpawner.token_as_secret = "env"\n', cleanup_servers=False
    )
    hub.request_start(user.name, "slow")
    hub.until(lambda: user.containers("--filter", "status=running"))
    hub.kill()
    assert user.podman("secret", "ls", "-q").split()
    if not running:
        user.podman("stop", "-t", "0", *user.containers())
    restart(hub)
    hub.until(lambda: not user.containers(), 60)
    hub.until(lambda: not user.podman("secret", "ls", "-q").split())


def test_what_is_kept_is_never_removed(make_hub, user):
    """It is stopped, and the next start of its server takes it up again."""
    hub = make_hub(
        CONFIG + 'c.PodmanSpawner.remove = False\nc.PodmanSpawner.token_as_secret = "env"\n',
        cleanup_servers=False,
    )
    stopped = hub.begin(user.name, "stopped")["state"]["container_id"]
    hub.end(user.name, "stopped")
    running = hub.begin(user.name)["state"]["container_id"]
    hub.kill()
    search = bait(hub, user)
    restart(hub, lose_database=True)
    until_gone(hub, user, search)
    hub.until(lambda: not user.containers("--filter", "status=running"))
    assert ids(user) == {stopped, running}
    assert hub.begin(user.name)["state"]["container_id"] == running
    hub.end(user.name)


def test_servers_of_profiles_are_no_orphans(make_hub, user):
    hub = make_hub(
        CONFIG + 'c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"\n'
        "import podmanspawner\n"
        'c.ProfilesSpawner.profiles = [("One", "one", podmanspawner.PodmanSpawner, '
        f"dict(image={TINY_JOVYAN!r}, cmd={ANSWERING}))]\n",
        cleanup_servers=False,
    )
    for name in ("", "a"):
        hub.begin(user.name, name, options={"profile": "one"})
    ours = ids(user)
    hub.kill()
    search = bait(hub, user)
    restart(hub)
    until_gone(hub, user, search)
    assert ids(user) == ours
    for name in ("", "a"):
        assert hub.server(user.name, name)["ready"]
        hub.end(user.name, name)


def test_a_renamed_user_keeps_the_server(make_hub, user):
    """Its labels have the old name; the Hub knows it by its id."""
    hub = make_hub(
        CONFIG + f'c.PodmanSpawner.account_template = "{user.name}"\n', cleanup_servers=False
    )
    kept = hub.begin(user.name)["state"]["container_id"]
    hub.api("PATCH", f"users/{user.name}", json={"name": "new"}).raise_for_status()
    hub.kill()
    search = bait(hub, user)
    restart(hub)
    until_gone(hub, user, search)
    assert hub.server("new")["state"]["container_id"] == kept
    assert ids(user) == {kept}
    hub.end("new")


def test_a_server_that_starts_is_no_orphan(make_hub, user):
    """The search comes with the first server that has started; another one is starting then."""
    hub = make_hub(CONFIG + SLOW)
    search = bait(hub, user, ended=True)
    hub.request_start(user.name, "slow")
    hub.until(lambda: user.containers("--filter", "status=running"))
    slow = ids(user) - {search}
    quick = hub.begin(user.name)["state"]["container_id"]
    until_gone(hub, user, search)
    assert ids(user) == slow | {quick}
    assert user.podman("ps", "-q", "--no-trunc").count("\n") == 2


def test_what_does_not_run_is_found_when_a_server_of_the_account_starts(make_hub, user):
    """No service is woken for it before."""
    hub = make_hub(CONFIG)
    hub.kill()
    left = bait(hub, user, ended=True)
    restart(hub)
    own = hub.begin(user.name)["state"]["container_id"]
    until_gone(hub, user, left)
    assert ids(user) == {own}


def test_orphans_are_only_told_of_if_so_configured(make_hub, user):
    hub = make_hub(CONFIG + "c.PodmanSpawner.remove_orphans = False\n")
    hub.kill()
    left = bait(hub, user)
    forger = ServerName(str(hub.hub_port), f"x\n{FORGED}\r\x1b[2K", "a\nb")
    forged = put(user, forger.labels())
    restart(hub)
    told = f"of the server 'gone' of {user.name} belongs to no server that runs\n"
    hub.until(lambda: told in hub.log.read_text())
    hub.begin(user.name)
    hub.end(user.name)
    assert ids(user) == {left, forged}
    log = hub.log.read_text()
    assert FORGED in log
    assert "\x1b[2K" not in log
    assert not any(line.lstrip().startswith(FORGED) for line in log.split("\n"))


async def test_a_start_waits_for_a_removal_in_its_account(user):
    spawner = lone_spawner(user.name)
    async with spawner._turn(user.name):
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(0.5)
        assert not ids(user)
        assert await spawner.poll() is None  # the Hub sees that it starts
    await starting
    await spawner.stop(now=True)


def test_a_script_finds_and_removes_them(user):
    hub_id = str(free_port())
    names = {each: ServerName(hub_id, user.name, each) for each in ("runs", GONE, "kept")}
    made = {each: put(user, name.labels()) for each, name in names.items() if each != "kept"}
    made["kept"] = put(user, {**names["kept"].labels(), "podmanspawner.keep": "1"})
    put(user, ServerName(str(free_port()), user.name, GONE).labels(), name="another-hubs")
    asked = []

    def owned(server):
        asked.append(server)
        return server.servername == "runs"

    with UserPodman.for_user(user.name) as podman:
        found = orphans.find_orphans(podman, hub_id, owned)
        assert {orphan.container.id for orphan in found} == {made[GONE], made["kept"]}
        assert {*asked} == {*names.values()}
        for orphan in found:
            orphans.remove_orphan(podman, orphan, seconds=0)
        assert orphans.find_orphans(podman, hub_id, owned) == []
        orphans.remove_orphan(podman, found[0], seconds=0)  # gone already
    states = {
        each["Id"]: each["State"] for each in json.loads(user.podman("ps", "-a", "--format=json"))
    }
    assert made[GONE] not in states
    assert [states[made[each]] for each in ("runs", "kept")] == ["running", "exited"]
    assert len(states) == 3


@pytest.mark.skipif(not booted(), reason="there is no logind")
def test_a_processs_name_makes_nobody_linger(make_hub):
    """Whose account it is need not be a user of the Hub's, and nothing need run there."""
    hub = make_hub(CONFIG)
    hub.kill()
    with real_account(runtime_dir=False) as forger:
        script = f"{forger.account.home}/conmon"
        forger.run("sh", "-c", f"echo '#!/bin/sh' >{script}; echo sleep 99 >>{script}")
        forger.run("chmod", "+x", script)
        name = ServerName(str(hub.hub_port), forger.name).container()
        process = subprocess.Popen([script, "-n", name], user=forger.account.uid)
        restart(hub)
        hub.until(lambda: f"service of {forger.name}: " in hub.log.read_text(), 60)
        process.kill()
        process.wait()
        assert not Path("/var/lib/systemd/linger", forger.name).exists()


def test_where_containers_run_is_seen_without_a_service(user):
    told = set()

    def wanted(account, container):
        told.add((account, container))
        return container == "seen"

    put(user, {}, name="seen")
    assert orphans.accounts_running(wanted) == {user.name}
    assert (user.name, "seen") in told
    assert orphans.accounts_running(lambda account, _: False) == set()
