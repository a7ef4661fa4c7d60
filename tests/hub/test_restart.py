"""The Hub may die at any instant; the database may be lost with it."""

from __future__ import annotations

import time


def test_a_killed_hub_finds_its_servers_again(make_hub, users):
    user = users[0]
    hub = make_hub(cleanup_servers=False)
    before = {name: hub.begin(user.name, name)["state"] for name in ("", "a")}
    hub.kill()
    assert len(user.containers()) == 2
    hub.start()
    after = {name: hub.server(user.name, name)["state"] for name in ("", "a")}
    assert after == before
    assert all(state["container_id"] for state in after.values())
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    for name in ("", "a"):
        hub.end(user.name, name)
    assert user.containers() == []


def test_a_server_that_ended_while_the_hub_was_away_is_noticed(make_hub, users):
    user = users[0]
    hub = make_hub(cleanup_servers=False)
    hub.begin(user.name)
    hub.kill()
    user.podman("stop", "-t", "0", *user.containers())
    hub.start()
    hub.until(lambda: not hub.server(user.name))
    assert user.containers() == []


def test_an_empty_database_leaves_nothing_over(make_hub, users):
    user = users[0]
    hub = make_hub(cleanup_servers=False)
    old = hub.begin(user.name)["state"]["container_id"]
    hub.kill()
    (hub.folder / "hub.sqlite").unlink()
    hub.start()
    new = hub.begin(user.name)["state"]["container_id"]
    assert new != old
    assert user.podman("ps", "-aq", "--no-trunc").split() == [new]
    hub.end(user.name)
    assert user.containers() == []


def test_two_hubs_leave_each_others_servers_alone(make_hub, users):
    user = users[0]
    one, two = make_hub(), make_hub()
    first = one.begin(user.name)["state"]["container_id"]
    second = two.begin(user.name)["state"]["container_id"]
    assert set(user.podman("ps", "-q", "--no-trunc").split()) == {first, second}
    two.end(user.name)
    assert one.notebook(user.name).compute("print(6*7)") == "42\n"


def test_an_idle_service_ends_while_servers_run(make_hub, users):
    user = users[0]
    hub = make_hub("c.PodmanSpawner.service_idle_seconds = 1\nc.Spawner.poll_interval = 0")
    hub.begin(user.name)
    hub.until(lambda: not user.processes("system service"), seconds=15)
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    time.sleep(1)
    assert user.processes("system service") == []
    hub.begin(user.name, "a")
    assert len(user.containers()) == 2
    hub.until(lambda: not user.processes("system service"), seconds=15)
    hub.end(user.name)
    hub.end(user.name, "a")
    assert user.containers() == []


def test_a_kept_container_is_started_again(make_hub, users):
    user = users[0]
    keep = "c.PodmanSpawner.remove = False\n"
    hub = make_hub(keep)
    first = hub.begin(user.name)["state"]["container_id"]
    hub.notebook(user.name).compute("open('/tmp/kept', 'w')")
    hub.end(user.name)
    assert user.podman("ps", "-aq", "--no-trunc", "--filter", "status=exited").split() == [first]

    assert hub.begin(user.name)["state"]["container_id"] == first
    found = hub.notebook(user.name).compute("import os; print(os.path.exists('/tmp/kept'))")
    assert found == "True\n"
    hub.end(user.name)

    hub.stop()
    hub.config.write_text(hub.config.read_text() + 'c.Spawner.environment = {"NEW": "1"}\n')
    hub.start()
    second = hub.begin(user.name)["state"]["container_id"]
    assert second != first
    assert user.podman("ps", "-aq", "--no-trunc").split() == [second]
    assert hub.notebook(user.name).compute("import os; print(os.environ['NEW'])") == "1\n"
    hub.end(user.name)
    user.podman("rm", "-f", second)
