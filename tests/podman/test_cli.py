"""The command ``podmanspawner`` with real accounts: one thing broken at a time, and mended."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import pwd
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from accounts import SINGLEUSER, TINY, TINY_JOVYAN, archive, booted, by_hand, real_account
from lone import ANSWERING, lone_spawner
from podmanspawner import cgroups
from podmanspawner.cli import accounts
from podmanspawner.cli.app import cli
from registry import build_layers, registry
from typist import Typist

PORT = 18093
"""Of the Hub that the configuration speaks of."""
KNOWN = {"cgroups", "clock", "disk", "linger"}
"""Checks that warn of some hosts that are well enough for these tests."""


@pytest.fixture(scope="module", autouse=True)
def images(ada):
    ada.load(TINY_JOVYAN)


@pytest.fixture
def config(tmp_path):
    """Return a function that writes a configuration and returns its path."""

    def write(**options):
        path = tmp_path / "jupyterhub_config.py"
        hub = {name: options.pop(name) for name in list(options) if name.startswith("hub_")}
        hub = {"spawner_class": "podman", "hub_port": PORT, **hub}
        options = {"image": TINY_JOVYAN, "pull_policy": "never", "cmd": ANSWERING, **options}
        lines = ["c = get_config()  # noqa"]
        lines += [f"c.JupyterHub.{name} = {value!r}" for name, value in hub.items()]
        lines += [f"c.PodmanSpawner.{name} = {value!r}" for name, value in options.items()]
        path.write_text("\n".join(lines))
        return path

    return write


def run(*words, status=0, **options):
    done = CliRunner().invoke(cli, [str(word) for word in words], **options)
    assert done.exit_code == status, done.output
    assert "\x1b" not in done.output
    return done.output


def doctor(user, path, *words):
    """Return the findings about a user by name, and the exit status."""
    done = CliRunner().invoke(cli, ["doctor", "--json", "-f", str(path), user.name, *words])
    found = json.loads(done.stdout)["findings"]
    return {one["name"]: one for one in found if one["subject"] == user.name}, done.exit_code


def by_status(found, *statuses):
    return {name for name, one in found.items() if one["status"] in statuses}


def the_failure(user, path, name):
    """Return the one check that fails, which is to be this one."""
    found, status = doctor(user, path)
    assert by_status(found, "failure") == {name}, found
    assert status == 1
    assert found[name]["why"]
    return found[name]


def is_well(user, path, *words):
    found, status = doctor(user, path, *words)
    bad = by_status(found, "failure", "skipped")
    assert not bad, [found[name]["seen"] for name in bad]
    assert by_status(found, "warning") <= KNOWN
    assert status == 0
    return found


def shell(command):
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)


# doctor


def test_a_good_account(ada, config):
    found = is_well(ada, config())
    assert "jovyan (1000:100)" in found["user mapping"]["seen"]
    assert "answers at" in found["hub reachable"]["seen"]
    assert ada.containers() == []


@pytest.fixture
def hub():
    """Somebody who answers at the Hub's address."""
    with http.server.HTTPServer(("127.0.0.1", PORT), http.server.BaseHTTPRequestHandler) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        yield
        hub.shutdown()
        thread.join()


def test_a_hub_that_runs(ada, config, hub):
    assert is_well(ada, config())["hub reachable"]["seen"].startswith("the Hub answers at ")


def think_and_answer(listener):
    """Leave who hangs up before there is an answer, as the Hub's web server does."""
    with listener.accept()[0] as connection:
        connection.recv(1000)
        if not select.select([connection], [], [], 0.5)[0]:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")


def test_a_hub_that_is_busy(ada, config):
    with socket.create_server(("127.0.0.1", PORT)) as busy:
        thinking = threading.Thread(target=think_and_answer, args=[busy])
        thinking.start()
        assert is_well(ada, config())["hub reachable"]["seen"].startswith("the Hub answers at ")
        thinking.join()


def take_and_leave(listener):
    listener.accept()[0].close()


def test_somebody_who_takes_connections_and_says_nothing(ada, config):
    with socket.create_server(("127.0.0.1", PORT)) as mute:
        closing = threading.Thread(target=take_and_leave, args=[mute])
        closing.start()
        seen = the_failure(ada, config(), "hub reachable")["seen"]
        closing.join()
    assert seen.startswith("a container gets no answer from the Hub at ")


def test_what_people_see(ada, config):
    command = [sys.executable, "-m", "podmanspawner.cli", "doctor", ada.name, "-f", config()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("all is well")
    assert f"\n{ada.name}\n  ok " in done.stdout


def test_a_server_is_tried(ada, config):
    volumes = {"try-{username}-{servername}": "/work"}
    path = config(volumes=volumes, remove=False, port=18099)
    found = is_well(ada, path, "--try")
    assert "started, answered at http://127.0.0.1:" in found["a server"]["seen"]
    assert ada.containers() == []
    assert ada.podman("volume", "ls", "-q").split() == []


def test_a_server_that_does_not_start(ada, config):
    path = config(cmd=["sh", "-c", "echo no such luck; exit 3"])
    found, status = doctor(ada, path, "--try")
    assert by_status(found, "failure") == {"a server"}
    assert "exit code 3" in found["a server"]["seen"]
    assert "no such luck" in found["a server"]["seen"] + found["a server"]["remedy"]
    assert status == 1
    assert ada.containers() == []


def mended(remedy, first):
    """Do what is said about ids, with others: the proposed ones may be a next test's by now."""
    command, _, own = remedy.partition("; then, if ")
    assert own.endswith(": podman system migrate")
    command = re.sub(r"(--add-sub.ids) \d+-\d+", rf"\1 {first}-{first + 65535}", command)
    shell(re.sub(r"(/\w+):\d+:65536/", rf"\1:{first}:65536/", command))


def test_no_subordinate_ids(config):
    with real_account(subordinate_ids=False) as user:
        path = config()
        mended(the_failure(user, path, "subordinate ids")["remedy"], 3_000_000)
        the_failure(user, path, "image")  # what comes next
        user.load(TINY_JOVYAN)
        is_well(user, path, "--try")


def test_ids_of_somebody_else(fresh, config):
    first = fresh.account.subuids[0].start
    try:
        with by_hand(), open("/etc/subuid", "a") as file:
            file.write(f"somebody-else:{first + 65000}:500\n")
        seen = the_failure(fresh, config(), "subordinate ids")
        assert "somebody-else" in seen["seen"]
        with by_hand():
            mended(seen["remedy"], 3_100_000)
        assert doctor(fresh, config())[0]["subordinate ids"]["status"] == "ok"
    finally:
        with by_hand():
            shell("sed -i /^somebody-else:/d /etc/subuid")


def test_too_few_ids(fresh, config):
    with by_hand():
        shell(f"sed -i 's/^\\({fresh.name}:.*\\):65536$/\\1:64536/' /etc/subuid")
    found, _ = doctor(fresh, config())
    seen = found["subordinate ids"]
    assert (seen["status"], seen["seen"].split(",")[0]) == ("warning", "64536")
    mended(seen["remedy"], 3_200_000)
    assert doctor(fresh, config())[0]["subordinate ids"]["status"] == "ok"


def test_no_runtime_directory(config):
    with real_account(runtime_dir=False) as user:
        seen = doctor(user, config())[0]["runtime dir"]
        assert (seen["status"], "a start makes it" in seen["seen"]) == ("ok", True)
    with real_account(runtime_dir=False) as user:
        path = config(activation="existing")
        shell(the_failure(user, path, "runtime dir")["remedy"])
        end = time.monotonic() + 10  # logind makes it a moment later
        while booted() and not user.account.runtime_dir.exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert doctor(user, path)[0]["runtime dir"]["status"] == "ok"


def test_a_runtime_directory_for_everybody(fresh, config):
    folder = fresh.account.runtime_dir
    folder.chmod(0o755)
    assert "mode 0755" in the_failure(fresh, config(), "runtime dir")["seen"]
    folder.chmod(0o700)


def test_no_home(fresh, config):
    shutil.rmtree(fresh.account.home)
    shell(the_failure(fresh, config(), "home")["remedy"])
    assert doctor(fresh, config())[0]["home"]["status"] == "ok"


def test_no_image(fresh, config):
    path = config()
    remedy = the_failure(fresh, path, "image")["remedy"]
    command, *words = remedy.replace("ARCHIVE", archive(TINY_JOVYAN)).split()
    assert command == "podmanspawner"
    assert f"loaded {TINY_JOVYAN}" in run(*words, "-f", path)
    is_well(fresh, path, "--try")


def test_an_image_that_nobody_has(ada, config):
    path = config(image="localhost:1/nobody/has-this:latest", pull_policy="missing")
    assert "connection refused" in the_failure(ada, path, "image")["seen"]


def test_an_image_that_can_be_had(fresh, config, tmp_path):
    with registry(tmp_path) as port:
        name = f"localhost:{port}/jovyan:1"
        folder = f"{fresh.account.home}/.config/containers"
        fresh.run("mkdir", "-p", folder)
        insecure = f'[[registry]]\nlocation = "localhost:{port}"\ninsecure = true\n'
        fresh.run("sh", "-c", f"cat >{folder}/registries.conf", input=insecure)
        fresh.load(TINY_JOVYAN)
        fresh.podman("tag", TINY_JOVYAN, name)
        fresh.podman("push", "-q", name)
        fresh.podman("rmi", name, TINY_JOVYAN)
        path = config(image=name, pull_policy="missing")
        found, status = doctor(fresh, path)
        assert (found["image"]["status"], status) == ("warning", 0)
        assert by_status(found, "skipped") == {"user mapping", "hub reachable"}
        command, *words = found["image"]["remedy"].split()
        assert command == "podmanspawner"
        run(*words, "-f", path)
        is_well(fresh, path)
        fresh.podman("rmi", name)
        somebody = typist(*words, "-f", path)
        somebody.see(f"{fresh.name}: {name}")
        somebody.see("100%  done")
        assert somebody.leave() == 0
        missing = config(image=f"localhost:{port}/jovyan:2", pull_policy="missing")
        assert "Check its name, its tag" in the_failure(fresh, missing, "image")["remedy"]


def test_vfs(fresh, config):
    folder = f"{fresh.account.home}/.config/containers"
    fresh.run("mkdir", "-p", folder)
    fresh.run("sh", "-c", f"cat >{folder}/storage.conf", input='[storage]\ndriver = "vfs"\n')
    path = config(service_idle_seconds=1)
    seen = doctor(fresh, path)[0]["storage"]
    assert seen["status"] == "warning"
    assert 'driver = "overlay"' in seen["remedy"]
    assert "podman system reset" in seen["remedy"]
    while fresh.processes("system service"):  # it knows the old store
        time.sleep(0.1)
    text = '[storage]\ndriver = "overlay"\n'
    fresh.run("sh", "-c", f"cat >{folder}/storage.conf", input=text)
    fresh.podman("system", "reset", "-f")
    fresh.load(TINY_JOVYAN)
    is_well(fresh, path, "--try")


def test_limits(ada, config):
    path = config(mem_limit="512M")
    obstacles = cgroups.obstacles(ada.account)
    if "mem_limit" not in obstacles:
        assert doctor(ada, path)[0]["limits"]["seen"] == f"mem_limit {512 << 20}"
        return
    seen = the_failure(ada, path, "limits")
    assert seen["remedy"] == obstacles["mem_limit"].partition("; ")[2]
    found, status = doctor(ada, config(mem_limit="512M", unenforced_limits="warn"))
    assert (found["limits"]["status"], status) == ("warning", 0)


def test_a_hub_that_containers_do_not_reach(ada, config):
    remedy = the_failure(ada, config(hub_connect_ip="192.0.2.1"), "hub reachable")["remedy"]
    assert "hub_connect_ip" in remedy
    assert "hub_connect_ip" not in config().read_text()  # which is what it says
    is_well(ada, config(), "--try")


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [
        ("user_mapping", "keep-id:uid=0,gid=0", "configuration"),
        ("network", "no-such-network", "network"),
        ("image_stores", ["/no/such/store"], "shared stores"),
        ("home_target", "{nonsense}", "user mapping"),
        ("container_user", "nobody-there", "user mapping"),
    ],
)
def test_an_option_that_makes_no_server(ada, config, option, value, name):
    path = config(**{option: value}, hub_ip="0.0.0.0")
    done = CliRunner().invoke(cli, ["doctor", "--json", "-f", str(path), ada.name])
    failures = [f for f in json.loads(done.stdout)["findings"] if f["status"] == "failure"]
    assert [one["name"] for one in failures] == [name]
    assert failures[0]["remedy"]
    assert done.exit_code == 1


# servers


@pytest.fixture
def server(ada):
    """A server of ada's, and one of another name, both running."""
    script = "printf '\\033[2J\\033]0;evil\\007hello\\n'; exec httpd -f -p 8888 -h /home/jovyan"
    spawners = [
        lone_spawner(ada.name, name=name, hub_port=PORT, cmd=["sh", "-c", script])
        for name in ("", "project")
    ]

    async def start():
        for spawner in spawners:
            await spawner.start()

    asyncio.run(start())
    yield spawners[0]
    left = ada.containers()
    if left:
        ada.podman("rm", "-f", "-t", "0", *left)


def test_servers(ada, config, server, monkeypatch):
    path = config()
    # other accounts of the host are none of this test's
    monkeypatch.setattr(
        accounts.pwd, "getpwall", lambda: list(map(pwd.getpwnam, ("root", ada.name)))
    )
    listed = json.loads(run("servers", "-f", path, ada.name, "--json"))
    assert [(one["user"], one["server"], one["state"]) for one in listed] == [
        (ada.name, "", "running"),
        (ada.name, "project", "running"),
    ]
    names = ada.containers()
    assert sorted(one["container"] for one in listed) == sorted(names)
    everybody = run("servers", "-f", path)
    assert all(name in everybody for name in names)
    elsewhere = config(hub_port=PORT + 1)
    assert run("servers", "-f", elsewhere, ada.name) == "no servers\n"
    _logs_and_exec(ada, config())
    _stop(ada, config())


def _logs_and_exec(ada, path):
    assert run("logs", "-f", path, ada.name) == "[2J]0;evilhello\n"
    assert run("exec", "-f", path, ada.name, "--", "sh", "-c", "echo out; exit 7", status=7) == (
        "out\n"
    )
    assert run("exec", "-f", path, ada.name, "printf", r"\033[31m%s", "-n") == "[31m-n"
    said = run("logs", "-f", path, ada.name, "--name", "none", status=1)
    assert said.startswith(f"Error: There is no server {ada.name}:none here.")


def _stop(ada, path):
    asked = run("stop", "-f", path, ada.name, input="n\n", status=1)
    assert asked.startswith("Stop 2 servers")
    assert len(ada.podman("ps", "-q").split()) == 2
    assert run("stop", "-f", path, ada.name, "--name", "") == f"stopped {ada.name}\n"
    assert run("stop", "-f", path, ada.name, "--yes") == f"stopped {ada.name}:project\n"


def test_what_the_logs_say_next(ada, config, server):
    command = [sys.executable, "-m", "podmanspawner.cli", "logs", "--follow", ada.name]
    with subprocess.Popen([*command, "-f", config()], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "[2J]0;evilhello\n"
        assert reader.poll() is None
        run("stop", "-f", config(), ada.name, "--name", "")
        assert reader.stdout.read() == ""
        assert reader.wait(20) == 0


def typist(*words):
    return Typist(sys.executable, "-m", "podmanspawner.cli", *words)


def test_a_terminal(ada, config, server):
    somebody = typist("exec", "-f", config(), "-it", ada.name, "--", "sh")
    somebody.see("$ ")
    somebody.type("stty size; echo $TERM $((6*7))\r")
    somebody.see("24 80")
    somebody.see("xterm 42")
    somebody.resize(33, 99)
    somebody.type("sleep 1; stty size; printf '\\033[31mred\\n'; read x; echo got:$x:\r")
    somebody.see("33 99")
    somebody.see("\x1b[31mred")
    somebody.type("a\x03")  # Ctrl-C is for what runs inside
    somebody.see("$ ")
    somebody.type("exit 7\r")
    assert somebody.leave() == 7


def test_a_terminal_that_is_let_go_of(ada, config, server):
    script = "stty raw; echo ready; exec cat -v"
    somebody = typist("exec", "-f", config(), "-it", ada.name, "--", "sh", "-c", script)
    somebody.see("ready")
    somebody.type("\x1d\x1dhere")
    somebody.see("^]^]here")
    somebody.type("\x1d\x1d\x1d")
    somebody.see("let go of it")
    assert somebody.leave() == 1


def test_a_terminal_that_is_flooded(ada, config, server):
    script = "trap '' INT; echo ready; while :; do echo much more of it; done"
    somebody = typist("exec", "-f", config(), "-it", ada.name, "--", "sh", "-c", script)
    somebody.see("ready")
    somebody.type("\x03\x1d\x1d\x1d")
    somebody.see("let go of it")
    assert somebody.leave() == 1


def test_no_terminal(ada, config, server):
    assert "leave -it out" in run("exec", "-f", config(), "-it", ada.name, "--", "sh", status=2)


def test_one_account_that_cannot_be_asked(ada, fresh, config, server):
    fresh.account.runtime_dir.chmod(0o755)
    done = CliRunner().invoke(cli, ["servers", "-f", str(config()), fresh.name, ada.name])
    assert done.exit_code == 1
    assert f"{ada.name}  " in done.stdout
    assert f"{fresh.name}: The runtime directory" in done.stderr
    fresh.account.runtime_dir.chmod(0o700)


# images


def test_images_are_prepared(fresh, config):
    path = config(allowed_images=[TINY_JOVYAN, TINY])
    rows = run("images", "list", "-f", path, fresh.name).splitlines()[1:]
    assert [row.split()[1:] for row in rows] == [[TINY_JOVYAN, "no"], [TINY, "no"]]
    for image in (TINY_JOVYAN, TINY):
        run("images", "preload", "-f", path, fresh.name, "--from", archive(image))
    rows = run("images", "list", "-f", path, fresh.name).splitlines()[1:]
    assert [row.split()[-1] for row in rows] == ["jovyan", "root"]
    layers = Path(fresh.account.home, ".local/share/containers/storage/overlay-layers/layers.json")
    before = len(json.loads(layers.read_text()))
    said = run("images", "prepare", "-f", path, fresh.name).splitlines()
    assert f"{fresh.name}: {TINY_JOVYAN} is here" in said
    assert f"{fresh.name}: preparing {TINY_JOVYAN}: done" in said
    assert len(json.loads(layers.read_text())) > before  # the copy that is mapped
    assert fresh.containers() == []
    assert "could not be pulled" in run(
        "images", "preload", "-f", path, fresh.name, "--image", "localhost:1/x:1", status=1
    )


def test_a_terminal_is_shown_how_far_it_is(fresh, config):
    """A copy of an image that takes some seconds."""
    fresh.load(TINY_JOVYAN)
    build_layers(fresh, "localhost/large:1", TINY_JOVYAN, [150_000_000] * 2)
    path = config(image="localhost/large:1")
    somebody = typist("images", "prepare", "-f", path, fresh.name)
    somebody.see(f"{fresh.name}: preparing localhost/large:1")
    somebody.see("about ")
    somebody.see(" of 288 MB")
    somebody.see("100%  done")
    assert somebody.leave() == 0


def test_a_terminal_is_shown_how_a_store_is_made():
    folder = Path("/var/tmp", f"pst-cli-{os.getpid()}")
    try:
        somebody = typist("images", "share", folder, archive(SINGLEUSER))
        somebody.see("Copying blob")
        somebody.type("\x03")
        somebody.see("Aborted!")
        assert somebody.leave() == 1
        assert not list(folder.parent.glob(f"{folder.name}*"))
        somebody = typist("images", "share", folder, archive(TINY))
        somebody.see("Copying blob")
        somebody.see(f"{folder} is made.")
        assert somebody.leave() == 0
        somebody = typist("images", "share", folder, archive(TINY))
        somebody.see("exists; a store is not changed")
        somebody.see("Error: It could not be made.")
        assert somebody.leave() == 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_images_are_shared(ada, config, tmp_path_factory):
    """With an account that has used its Podman before, without the store."""
    ada.podman("info")
    folder = Path("/var/tmp", f"pst-cli-{os.getpid()}")
    try:
        said = run("images", "share", folder, archive(TINY_JOVYAN))
        assert f"c.PodmanSpawner.image_stores = ['{folder}']" in said
        found = is_well(ada, config(image_stores=[str(folder)]))
        assert found["shared stores"]["seen"] == str(folder)
        said = run("images", "share", folder, archive(TINY_JOVYAN), status=1)
        assert f"{folder} exists; a store is not changed" in said
    finally:
        shutil.rmtree(folder, ignore_errors=True)
