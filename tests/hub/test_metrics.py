"""What the Hub's metrics page tells, after things that really happened."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from accounts import TINY_JOVYAN, real_account
from lone import ANSWERING
from podmanspawner import metrics
from podmanspawner.names import ServerName
from registry import build_layers, registry, trust_plain_http

CONFIG = """
c.JupyterHub.authenticate_prometheus = False
c.PodmanSpawner.activation = "direct"
c.PodmanSpawner.image = "127.0.0.1:{port}/lab:1"
c.PodmanSpawner.pull_policy = "missing"
c.PodmanSpawner.cmd = {command}
c.PodmanSpawner.delete_grace_period = 1
c.Spawner.poll_interval = 2

def another_image(spawner):
    if spawner.name == "missing":
        spawner.image = "127.0.0.1:{port}/no-such:1"
c.Spawner.pre_spawn_hook = another_image
"""


@pytest.fixture(scope="module")
def user():
    with real_account() as made:
        made.load(TINY_JOVYAN)
        trust_plain_http(made)
        yield made


@pytest.fixture(scope="module")
def port(user, tmp_path_factory):
    """A registry with an image."""
    with registry(tmp_path_factory.mktemp("registry")) as port:
        name = f"127.0.0.1:{port}/lab:1"
        build_layers(user, name, TINY_JOVYAN, [1_000_000])
        user.podman("push", "-q", name)
        user.podman("rmi", name)
        yield port


@pytest.fixture
def config(port):
    return CONFIG.format(port=port, command=ANSWERING)


def page(hub):
    return requests.get(f"{hub.url}/hub/metrics", timeout=10).text


def series(hub):
    """Return the names and labels of all that is this spawner's."""
    lines = page(hub).splitlines()
    return [line.rpartition(" ")[0] for line in lines if line.startswith("podmanspawner_")]


def value(hub, sample, **labels):
    """Return the one value of a sample, after its name and labels."""
    (found,) = (
        each.value
        for family in text_string_to_metric_families(page(hub))
        for each in family.samples
        if each.name == sample and labels.items() == each.labels.items()
    )
    return found


def stage(hub, name, status="success"):
    sample = f"{metrics.STAGES.name}_count"
    return value(hub, sample, stage=name, status=status)


def pulls(hub, status, sample="count"):
    return value(hub, f"{metrics.PULLS.name}_{sample}", source="registry", status=status)


def deaths(hub, cause):
    return value(hub, metrics.DEATHS.name, cause=cause)


@contextmanager
def paused(pid):
    """Let a process see all at once what is done meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def pid_of_the_server(user):
    return int(user.podman("inspect", "--format", "{{.State.Pid}}", *user.containers()))


def test_what_happened_is_on_the_page(make_hub, config, user):
    hub = make_hub(config)
    at_first = series(hub)
    assert {stage(hub, name) for name in ("wake", "image", "create", "start", "answer")} == {0}

    hub.begin(user.name)  # pulls
    for name in ("wake", "image", "create", "start", "answer"):
        assert stage(hub, name) == 1, name
        assert stage(hub, name, "failure") == 0
    assert stage(hub, "health") == 0
    assert pulls(hub, "success") == 1
    assert 0 < pulls(hub, "success", "sum") < 60
    assert value(hub, metrics.WAKEUPS.name, activation="direct") >= 1
    assert value(hub, f"{metrics.ANSWERS.name}_count", status="success") >= 2

    os.kill(pid_of_the_server(user), signal.SIGKILL)
    hub.until(lambda: deaths(hub, "error") == 1)

    hub.until(lambda: not hub.server(user.name))
    hub.begin(user.name)
    assert stage(hub, "image") == 2
    assert pulls(hub, "success") == 1, "the image was there"
    for word in ("rootlessport", "pasta"):
        for pid in user.processes(word):
            with suppress(ProcessLookupError):  # it ends with the one before
                os.kill(pid, signal.SIGKILL)
    hub.until(lambda: deaths(hub, "lost_port") == 1)
    assert deaths(hub, "error") == 1

    hub.until(lambda: not hub.server(user.name))
    hub.begin(user.name)
    with paused(hub.process.pid):
        user.podman("rm", "-f", "-t0", *user.containers())
    hub.until(lambda: deaths(hub, "gone") == 1)

    hub.until(lambda: not hub.server(user.name))
    hub.begin(user.name)
    server = pid_of_the_server(user)
    with paused(hub.process.pid):
        for pid in (*user.processes("conmon"), server):
            os.kill(pid, signal.SIGKILL)
    hub.until(lambda: deaths(hub, "missed") == 1)
    hub.until(lambda: not hub.server(user.name))

    assert "could not be pulled" in hub.fail_to_begin(user.name, "missing")
    assert stage(hub, "image", "failure") == 1
    assert pulls(hub, "failure") == 1

    assert series(hub) == at_first, "a label got a value that was not known beforehand"


def test_orphans_and_refusals_are_counted(make_hub, config, user):
    """An orphan waits, and at the socket's place there is something that leads elsewhere."""
    hub = make_hub(config + 'c.PodmanSpawner.activation = "auto"\n')
    gone = ServerName(str(hub.hub_port), user.name, "gone")
    labels = [f"--label={key}={text}" for key, text in gone.labels().items()]
    user.podman("run", "--network=none", *labels, TINY_JOVYAN, "true")
    user.run("sh", "-c", 'ln -sf /etc/passwd "$XDG_RUNTIME_DIR/podman/podman.sock"')
    hub.begin(user.name)
    hub.until(lambda: value(hub, metrics.ORPHANS.name, result="removed") == 1)
    assert value(hub, metrics.REFUSED.name, reason="peer") == 1
    hub.end(user.name)
