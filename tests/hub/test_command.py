"""Options that every spawner has, by their effect in a real single-user server; and its hooks."""

from __future__ import annotations

import json

import pytest

from hub import Hub

CONFIG = """
from pathlib import Path

def before(spawner):
    plain = spawner.name == "plain"
    spawner.environment = {"FROM_THE_HOOK": spawner.name}
    if spawner.name == "old":
        spawner.environment["JUPYTERHUB_SINGLEUSER_EXTENSION"] = "0"
    spawner.extra_labels = {"team": "of-" + spawner.name}
    if plain:
        spawner.cmd = None
        spawner.notebook_dir = spawner.default_url = ""
        spawner.disable_user_config = spawner.debug = False
        spawner.args = []

def after(spawner):
    with (Path.cwd() / "stopped").open("a") as file:
        print(spawner.name, spawner.user.name, file=file)

c.Spawner.pre_spawn_hook = before
c.Spawner.post_stop_hook = after
c.Spawner.notebook_dir = "/home/jovyan/of {username}"
c.Spawner.default_url = "/lab/tree/{username}.ipynb"
c.Spawner.disable_user_config = True
c.Spawner.debug = True
c.Spawner.args = ["--ServerApp.terminals_enabled=False"]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory, prepared):
    with Hub(tmp_path_factory.mktemp("hub"), CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def servers(hub, prepared):
    """A user with a server "set", which has the options, and one "plain", which does not."""
    user = prepared[0]
    config = "open('/tmp/user-config-was-read', 'w').close()"
    home = f"'{user.account.home}/of {user.name}'"
    user.run("sh", "-c", f"mkdir -p {home} ~/.jupyter && touch {home}/mine.txt")
    user.run("sh", "-c", f'echo "{config}" > ~/.jupyter/jupyter_server_config.py')
    for name in ("set", "plain"):
        hub.begin(user.name, name)
    yield user
    for name in ("set", "plain"):
        hub.end(user.name, name)
    assert user.containers() == []
    stopped = (hub.folder / "stopped").read_text().splitlines()
    assert {f"set {user.name}", f"plain {user.name}"} <= set(stopped)
    user.run("sh", "-c", f"rm -r {home} ~/.jupyter")


def shown(user, name):
    (container,) = user.containers("--filter", f"label=hub.jupyter.org/servername={name}")
    return json.loads(user.podman("inspect", container))[0]


@pytest.mark.parametrize(("name", "there"), [("set", True), ("plain", False)])
def test_notebook_dir_with_the_users_name(hub, servers, name, there):
    listed = hub.notebook(servers.name, name).request("GET", "api/contents").json()["content"]
    assert ("mine.txt" in {entry["name"] for entry in listed}) is there


def test_default_url_with_the_users_name(hub, servers):
    answer = hub.notebook(servers.name, "set").request("GET", "", allow_redirects=False)
    assert answer.headers["Location"].rstrip("?").endswith(f"/set/lab/tree/{servers.name}.ipynb")
    answer = hub.notebook(servers.name, "plain").request("GET", "", allow_redirects=False)
    assert answer.headers["Location"].rstrip("?").endswith("/plain/lab")


@pytest.mark.parametrize(("name", "read"), [("set", "False\n"), ("plain", "True\n")])
def test_the_users_own_configuration(hub, servers, name, read):
    code = "import os; print(os.path.exists('/tmp/user-config-was-read'))"
    assert hub.notebook(servers.name, name).compute(code) == read


def test_debug_is_seen_in_the_servers_log(hub, servers):
    """By JupyterHub's older single-user server only: its newer one does not look at it."""
    for name, debug in (("set", "1"), ("plain", None)):
        environment = dict(item.split("=", 1) for item in shown(servers, name)["Config"]["Env"])
        assert environment.get("JUPYTERHUB_DEBUG") == debug
    hub.begin(servers.name, "old")
    log = servers.run("sh", "-c", f"podman logs {shown(servers, 'old')['Id']} 2>&1").stdout
    hub.end(servers.name, "old")
    assert "[D " in log


@pytest.mark.parametrize(("name", "status"), [("set", 404), ("plain", 200)])
def test_args_are_added(hub, servers, name, status):
    notebook = hub.notebook(servers.name, name)
    assert notebook.session.get(f"{notebook.url}api/terminals", timeout=30).status_code == status


def test_the_images_own_command_and_the_hubs(hub, servers):
    image = json.loads(servers.podman("image", "inspect", shown(servers, "plain")["Image"]))[0]
    assert shown(servers, "plain")["Config"]["Cmd"] == image["Config"]["Cmd"]
    assert shown(servers, "set")["Config"]["Cmd"] == [
        "jupyterhub-singleuser",
        "--ServerApp.terminals_enabled=False",
    ]


@pytest.mark.parametrize("name", ["set", "plain"])
def test_a_hook_before_the_start_sets_options(hub, servers, name):
    code = "import os; print(os.environ['FROM_THE_HOOK'])"
    assert hub.notebook(servers.name, name).compute(code) == f"{name}\n"
    assert shown(servers, name)["Config"]["Labels"]["team"] == f"of-{name}"


def test_a_hook_that_fails_leaves_nothing(make_hub, prepared):
    user = prepared[1]  # the first one's servers go on
    hub = make_hub("def before(spawner): raise ValueError('not today')\n"
                   "c.Spawner.pre_spawn_hook = before")  # fmt: skip
    hub.fail_to_begin(user.name)
    assert "not today" in hub.log.read_text()
    assert user.containers() == []
