"""Servers and users that are deleted from the Hub, and what goes with them."""

from __future__ import annotations

CONFIG = """
c.PodmanSpawner.volumes = {"of-{username}": "/a", "of-{username}-{servername}": "/b"}
c.PodmanSpawner.delete_volumes = True
c.PodmanSpawner.remove = False
"""


def volumes(user):
    listed = user.podman("volume", "ls", "-q").split()
    return {name for name in listed if name.startswith(f"of-{user.name}")}


def test_a_server_then_its_user(make_hub, users):
    user = users[0]
    hub = make_hub(CONFIG)
    for name in ("", "a", "b"):
        hub.begin(user.name, name)
        hub.end(user.name, name)
    of = f"of-{user.name}"
    assert volumes(user) == {of, f"{of}-", f"{of}-a", f"{of}-b"}
    assert len(user.containers()) == 3

    hub.api("DELETE", hub.path(user.name, "a"), json={"remove": True}).raise_for_status()
    hub.until(lambda: volumes(user) == {of, f"{of}-", f"{of}-b"})
    assert len(user.containers()) == 2
    assert f"volumes: {of}-a." in hub.log.read_text()

    renamed = hub.api("PATCH", hub.path(user.name, "b"), json={"name": "c"})
    if renamed.ok:  # JupyterHub 6
        assert len(user.containers()) == 1
        assert volumes(user) == {of, f"{of}-", f"{of}-b"}
        hub.begin(user.name, "c")
        assert hub.notebook(user.name, "c").compute("print(6*7)") == "42\n"
        hub.end(user.name, "c")

    hub.api("DELETE", f"users/{user.name}").raise_for_status()
    hub.until(lambda: volumes(user) == set())
    assert user.containers() == []
