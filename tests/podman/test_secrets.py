"""Secrets: those of the account, those that are made for a server, and the server's token."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from accounts import TINY_JOVYAN
from podmanspawner import PodmanError, SpecError, UserPodman, launching, server
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings
from podmanspawner.vault import prefix

TOKEN = "0123456789abcdef0123456789abcdef"
SERVER = ServerName("8081", "ada")
SETTINGS = ServerSettings(
    image=TINY_JOVYAN,
    server=SERVER,
    cmd=[
        "sh",
        "-c",
        "exec 2>&1; ls -ln /run/secrets; env; cat /run/secrets/*; echo; echo END; sleep 60",
    ],
    environment={"JUPYTERHUB_API_TOKEN": TOKEN, "JPY_API_TOKEN": TOKEN, "A": "1"},
)


@pytest.fixture(scope="module")
def podman(ada):
    ada.load(TINY_JOVYAN)
    with UserPodman.for_user(ada.name) as podman:
        yield podman


@pytest.fixture(autouse=True)
def nothing_left_over(podman):
    yield
    for container in podman.containers():
        podman.remove(container.id)
    left = podman.secrets.names()
    for name in left:
        podman.secrets.remove(name)
    assert left == []


def launch(podman, **options):
    return launching.launch(podman, replace(SETTINGS, **options), pull_policy="never")


def printed(podman, started):
    """Return all that the server has to say."""
    end = time.monotonic() + 20
    while not (said := podman.logs(started.id)).endswith("\nEND\n"):
        assert time.monotonic() < end, said
        time.sleep(0.05)
    return said


def inside(podman, started):
    """Return the variables of the first process, then what is in the secrets' folder."""
    script = "tr '\\0' '\\n' < /proc/1/environ; cat /run/secrets/* 2>/dev/null || true"
    return podman.exec(started.id, ["sh", "-c", script]).output


def end(podman, started):
    server.remove(podman, podman.inspect(started.id))


def test_the_accounts_store(podman):
    assert podman.secrets.create("a", "text")
    with pytest.raises(PodmanError, match="in use"):
        podman.secrets.create("a", b"bytes")
    podman.secrets.put("a", b"bytes")
    podman.secrets.put("b.c-d_e", "x" * 511_999)
    assert sorted(podman.secrets.names()) == ["a", "b.c-d_e"]
    assert podman.secrets.remove("a")
    assert not podman.secrets.remove("a")
    podman.secrets.remove("b.c-d_e")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("", "a", "no name"),
        ("../a", "a", "no name"),
        ("a" * 65, "a", "no name"),
        ("a-", "a", "no name"),
        ("a", "", "1 to 511999"),
        ("a", "x" * 512_000, "1 to 511999"),
    ],
)
def test_what_the_store_does_not_take(podman, name, value, remedy):
    with pytest.raises(SpecError, match=remedy) as caught:
        podman.secrets.create(name, value)
    assert caught.value.option == "secrets"


def test_secrets_of_the_account(podman):
    podman.secrets.create("licence", "of the account")
    podman.secrets.create("db-ada", "of ada")
    podman.secrets.create("own", "one's own")
    started = launch(
        podman,
        home_target="",
        secrets=[
            "licence",
            {"source": "db-{username}", "type": "env", "target": "DB"},
            "own,target=/home/jovyan/own,uid=1000,gid=100,mode=0400",
        ],
    )
    said = printed(podman, started)
    assert "DB=of ada" in said
    assert "-r--r--r--    1 0        0" in said
    assert "of the account" in said
    script = "stat -c '%u %g %a' ~/own; cat ~/own"
    assert podman.exec(started.id, ["sh", "-c", script]).output == "1000 100 400\none's own"
    end(podman, started)
    assert sorted(podman.secrets.names()) == ["db-ada", "licence", "own"]  # they are the account's
    for name in podman.secrets.names():
        podman.secrets.remove(name)


def test_an_account_without_the_secret(podman):
    with pytest.raises(SpecError, match=r"no secret 'nothing'.*podman secret create") as caught:
        launch(podman, secrets=["nothing"])
    assert caught.value.option == "secrets"
    assert podman.containers() == []


MADE = [
    {"source": "key", "value": b"a key\x00\n", "target": "/home/jovyan/key"},
    {"source": "password", "value": lambda: "pass" + "word", "type": "env", "target": "DB"},
]


def test_secrets_that_are_made_for_a_server(podman):
    started = launch(podman, secrets=MADE, home_target="")
    assert "DB=password" in printed(podman, started)
    key = podman.exec(started.id, ["od", "-c", "/home/jovyan/key"])
    assert "a       k   e   y  \\0" in key.output
    own = prefix(SERVER)
    assert sorted(podman.secrets.names()) == [f"{own}key", f"{own}password"]
    inspected = podman.request_json("inspect", "GET", f"containers/{started.id}/json")
    assert "a key" not in json.dumps(inspected)
    end(podman, started)


def test_what_a_hub_that_died_left(podman):
    """Between the two steps of a start: the next start replaces it, the next end removes it."""
    podman.secrets.create(f"{prefix(SERVER)}key", "stale")
    podman.secrets.create(f"{prefix(SERVER)}of-an-older-configuration", "stale")
    other = f"{prefix(ServerName('8081', 'ada', 'other'))}key"
    podman.secrets.create(other, "of another server")
    started = launch(podman, secrets=[{"source": "key", "value": "fresh"}])
    assert "fresh" in printed(podman, started)
    end(podman, started)
    assert podman.secrets.names() == [other]
    podman.secrets.remove(other)


def image_of(ada, container):
    """Return what an inspect shows of an image that the account makes of a container."""
    ada.podman("commit", "-q", container, "localhost/committed")
    shown = ada.podman("image", "inspect", "localhost/committed")
    ada.podman("rmi", "localhost/committed")
    return shown


@pytest.mark.parametrize("way", [False, "env", "file"])
def test_the_token(podman, ada, way):
    """Inside it is as ever; outside it is seen the less, the more is asked for."""
    started = launch(podman, token_as_secret=way)
    said = printed(podman, started)
    assert f"JUPYTERHUB_API_TOKEN={TOKEN}" in said
    assert f"JPY_API_TOKEN={TOKEN}" in said
    assert "\nA=1\n" in said
    assert (TOKEN in image_of(ada, started.id)) is (way is False)
    running = ada.podman("inspect", started.id)
    if way == "env" and podman.engine_version < (5, 3):
        # ref: containers/podman pull request 23959
        assert TOKEN in running
    else:
        assert (TOKEN in running) is (way is False)
    end(podman, started)


def test_the_file_of_a_token_is_not_kept(podman):
    with pytest.raises(SpecError, match="use 'env', or remove = True") as caught:
        launch(podman, remove=False, token_as_secret="file")
    assert caught.value.option == "token_as_secret"


def test_a_kept_container_gets_the_new_token(podman):
    first = launch(podman, remove=False, token_as_secret="env")
    podman.stop(first.id, seconds=0)
    environment = {**SETTINGS.environment, "JUPYTERHUB_API_TOKEN": "new", "JPY_API_TOKEN": "new"}
    again = launch(podman, remove=False, token_as_secret="env", environment=environment)
    assert again.resumed
    assert again.id == first.id
    assert inside(podman, again).count("_API_TOKEN=new") == 2
    end(podman, again)


def test_a_kept_container_with_another_file_is_made_anew(podman):
    def start(key, password):
        secrets = [
            {"source": "key", "value": key},
            {"source": "password", "value": password, "type": "env", "target": "DB"},
        ]
        started = launch(podman, remove=False, secrets=secrets)
        said = inside(podman, started)
        podman.stop(started.id, seconds=0)
        return started, said

    start("key one", "one")
    second, said = start("key one", "two")
    assert second.resumed
    assert "DB=two" in said
    third, said = start("key three", "two")
    assert not third.resumed
    assert "key three" in said
    end(podman, third)
