"""The main job, from end to end: real accounts, engine, Hub, proxy and single-user server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accounts import PASSWORD
from hub import Hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory, prepared):
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def server(hub, users):
    """A running server of the first account."""
    user = users[0]
    hub.begin(user.name)
    yield user
    if hub.server(user.name):
        hub.end(user.name)
    assert user.containers() == []


def test_two_accounts_have_their_servers_in_their_own_podman(hub, users):
    for user in users:
        hub.begin(user.name)
    ada, bob = users
    assert [len(user.containers()) for user in users] == [1, 1]
    assert ada.name in ada.containers()[0]
    assert bob.name in bob.containers()[0]
    for user in users:
        assert hub.notebook(user.name).request("GET", "api/status").json()["kernels"] == 0
        assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
        hub.end(user.name)
        assert user.containers() == []


def test_a_saved_file_belongs_to_the_account(hub, server):
    body = {"type": "file", "format": "text", "content": "6*7"}
    hub.notebook(server.name).request("PUT", "api/contents/saved.txt", json=body)
    saved = Path(server.account.home, "saved.txt")
    assert saved.read_text() == "6*7"
    assert (saved.stat().st_uid, saved.stat().st_gid) == (server.account.uid, server.account.gid)
    who = hub.notebook(server.name).compute("import getpass; print(getpass.getuser())")
    assert who == "jovyan\n"


def test_the_server_sees_nothing_of_the_hubs_environment(hub, server):
    names = hub.notebook(server.name).compute("import os; print(*os.environ)").split()
    assert "JUPYTERHUB_API_TOKEN" in names
    assert "SECRET_OF_THE_HUB" not in names
    for pid in server.processes("podman"):
        assert b"SECRET_OF_THE_HUB" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_hub_is_reached_at_its_default_address(hub, server):
    code = "import os, urllib.request as r; u = os.environ['JUPYTERHUB_API_URL'];"
    answer = hub.notebook(server.name).compute(code + "print(r.urlopen(u + '/').read().decode())")
    assert "version" in answer
    assert f"http://127.0.0.1:{hub.hub_port}" in hub.log.read_text()


def test_named_servers_run_side_by_side_and_stop_apart(hub, users):
    user = users[0]
    for name in ("a", "b"):
        hub.begin(user.name, name)
    assert len(user.containers()) == 2
    hub.end(user.name, "a")
    assert [name.endswith("--b") for name in user.containers()] == [True]
    assert hub.notebook(user.name, "b").compute("print(6*7)") == "42\n"
    hub.end(user.name, "b")
    assert user.containers() == []


def test_the_network_of_the_host(make_hub, users):
    user = users[0]
    hub = make_hub('c.PodmanSpawner.network = "host"')
    hub.begin(user.name)
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    code = "import os, urllib.request as r; u = os.environ['JUPYTERHUB_API_URL'];"
    code += "print(u, r.urlopen(u + '/').status)"
    assert (
        hub.notebook(user.name).compute(code) == f"http://127.0.0.1:{hub.hub_port}/hub/api 200\n"
    )
    hub.end(user.name)
    assert user.containers() == []


def test_all_users_in_one_service_account(make_hub, users):
    ada, bob = users
    one = f'c.PodmanSpawner.account_template = "{ada.name}"\n'
    assert "home_source" in make_hub(one).fail_to_begin(bob.name)
    hub = make_hub(one + 'c.PodmanSpawner.home_target = ""\n')
    for user in users:
        hub.begin(user.name)
    assert len(ada.containers()) == 2
    assert bob.containers() == []
    for user in users:
        assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    hub.end(bob.name)
    (left,) = ada.containers()
    assert left.endswith(ada.name)
    hub.end(ada.name)
    assert ada.containers() == []


@pytest.mark.parametrize("hub_ip", ["", "0.0.0.0"])
def test_a_hub_that_listens_everywhere_is_reached(make_hub, users, hub_ip):
    hub = make_hub(f'c.JupyterHub.hub_ip = "{hub_ip}"')
    hub.begin(users[0].name)
    code = "import os, urllib.request as r; u = os.environ['JUPYTERHUB_API_URL'];"
    assert (
        hub.notebook(users[0].name).compute(code + "print(r.urlopen(u + '/').status)") == "200\n"
    )


def test_a_profile_of_profilesspawner(make_hub, users):
    profile = {"image": "localhost/podmanspawner/singleuser:latest", "pull_policy": "never"}
    hub = make_hub(
        'c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"\n'
        "import podmanspawner\n"
        "c.ProfilesSpawner.profiles = "
        f'[("One", "one", podmanspawner.PodmanSpawner, {profile!r})]\n'
    )
    user = users[0]
    hub.begin(user.name, options={"profile": "one"})
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    hub.end(user.name)
    assert user.containers() == []


def test_a_server_that_dies_at_once_is_explained_on_the_page(make_hub, users):
    command = ["sh", "-c", "echo these are the last words >&2; exit 3"]
    hub = make_hub(f"c.Spawner.cmd = {command!r}")
    user = users[0]
    message = hub.fail_to_begin(user.name)
    assert "exit code 3" in message
    assert "these are the last words" in message
    page = hub.login(user.name, PASSWORD).get(
        f"{hub.url}/hub/spawn-pending/{user.name}", timeout=30
    )
    assert "exit code 3" in page.text
    assert "these are the last words" in page.text
    assert user.containers() == []


def test_a_start_that_takes_too_long_leaves_nothing(make_hub, users):
    hub = make_hub('c.Spawner.cmd = ["sleep", "1000"]\nc.Spawner.start_timeout = 3')
    hub.fail_to_begin(users[0].name)
    assert "failed to start in 3 seconds" in hub.log.read_text()
    assert users[0].containers() == []
    assert hub.server(users[0].name) is None


def test_an_unknown_account_is_explained(make_hub, users):
    hub = make_hub('c.PodmanSpawner.account_template = "no-such-account"')
    message = hub.fail_to_begin(users[0].name)
    assert "no Unix account 'no-such-account'" in message
    assert "account_template" in message


@pytest.mark.parametrize("wrapper", ["", 'c.JupyterHub.spawner_class = "wrapspawner.WrapSpawner"'])
def test_a_bad_value_is_told_when_the_hub_starts(make_hub, wrapper):
    """Not with the first login: a trait is looked at when a spawner is made."""
    # so does a profile of a wrapper's that names the class itself
    hub = make_hub(
        f"from podmanspawner import PodmanSpawner\n{wrapper}\n"
        'c.PodmanSpawner.profile_list = [{"display_name": "A", "default": "yes"}]\n'
    )
    (line,) = [line for line in hub.log.read_text().splitlines() if "configuration of" in line]
    assert "[C " in line
    assert "configuration of PodmanSpawner is wrong: profile_list: profile 'A': default" in line
    assert "Traceback" not in hub.log.read_text()


def test_ctrl_c_leaves_no_container(make_hub, users):
    hub = make_hub()
    hub.begin(users[0].name)
    hub.stop()
    assert users[0].containers() == []
    assert os.path.exists(f"/run/user/{users[0].account.uid}/podman/podman.sock")
