"""The original's settings, against the real engine."""

from __future__ import annotations

import json
import logging
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tornado import web

from accounts import TINY_JOVYAN
from lone import lone_spawner
from podmanspawner import compat

ORIGINAL = {"podman_additional_cmds": ["--rm"]}  # of no effect, but one of the original's


@pytest.fixture(scope="module")
def user(ada):
    ada.load(TINY_JOVYAN)
    ada.run("sh", "-c", "mkdir $HOME/shared; echo of-the-account > $HOME/shared/file")
    return ada


@pytest.fixture(autouse=True)
def nothing_left_over(user):
    compat._told.clear()
    yield
    left = user.containers()
    if left:
        user.podman("rm", "-f", "-t", "0", *left)
    assert left == []


@asynccontextmanager
async def running(user, **options):
    """Start a server; what it gives runs a command in its container."""
    spawner = lone_spawner(user.name, **options)
    await spawner.start()
    try:
        yield lambda *words: user.podman("exec", spawner.container_id, *words).strip()
    finally:
        await spawner.stop()


async def test_the_home_is_where_the_original_had_it(user):
    async with running(user, **ORIGINAL) as inside:
        assert inside("cat", "/home/jovyan/home/shared/file") == "of-the-account"
        assert inside("sh", "-c", "ls -d /home/jovyan/shared || true") == ""


async def test_without_one_of_its_settings_nothing_is_the_originals(user):
    async with running(user) as inside:
        assert inside("cat", "/home/jovyan/shared/file") == "of-the-account"
        assert "JUPYTER_IMAGE_SPEC" not in inside("env")


async def test_home_of_the_users_name_and_start_in_it(user):
    command = ["sh", "-c", "pwd >/tmp/began-in; exec httpd -f -p 8888 -h /"]
    options = {"conthome": "/home/USERNAME/", "startatconthome": True}
    async with running(user, **options, cmd=command) as inside:
        assert inside("cat", f"/home/{user.name}/shared/file") == "of-the-account"
        assert inside("cat", "/tmp/began-in") == f"/home/{user.name}"
        assert inside("pwd") == f"/home/{user.name}"


async def test_command_with_a_port_and_more_words(user):
    options = {
        "start_cmd": "httpd -f -p PORT",
        "jupyter_additional_cmds": ["-h", "/home/jovyan"],
        "standard_jupyter_port": 9999,
        "enable_lab": True,
    }
    async with running(user, **options) as inside:
        shown = inside("sh", "-c", "tr '\\0' ' ' < /proc/$(pidof httpd)/cmdline")
        assert shown == "httpd -f -p 9999 -h /home/jovyan"
        variables = inside("env").splitlines()
        assert {"JUPYTER_ENABLE_LAB=yes", f"JUPYTER_IMAGE_SPEC={TINY_JOVYAN}"} <= {*variables}
        (url,) = [line for line in variables if line.startswith("JUPYTERHUB_SERVICE_URL=")]
        assert ":9999/" in url


async def test_the_port_with_the_network_of_the_host(user):
    flags = ["--net", "host"]
    async with running(user, start_cmd="httpd -f -p PORT", podman_additional_cmds=flags) as inside:
        shown = inside("sh", "-c", "tr '\\0' ' ' < /proc/$(pidof httpd)/cmdline")
        (port,) = re.findall(r"-p (\d+)", shown)
        assert f":{port}/" in inside("sh", "-c", "echo $JUPYTERHUB_SERVICE_URL")


async def test_flags_reach_the_container(user):
    home = user.account.home
    flags = [
        *("-v", f"{home}/shared:/shared:ro", f"-v {home}/shared:/sh{{a}}red", "--rm", "-it"),
        *("--tmpfs", "/scratch:size=1m", "-e", "GREETING=hello {name}", "--env=EMPTY="),
        *("--hostname", "lab", "--umask", "0027", "--ulimit", "core=0", "-w", "/shared"),
        *("--security-opt", "seccomp=unconfined", "--security-opt=no-new-privileges:false"),
        *("--cap-drop", "ALL", "--tz", "UTC", "--shm-size=16m", "--add-host", "db:192.0.2.7"),
        *("--entrypoint", '["env", "OF=entrypoint"]'),
    ]
    async with running(user, podman_additional_cmds=flags) as inside:
        assert inside("cat", "/sh{a}red/file") == "of-the-account"
        assert inside("sh", "-c", "touch /shared/x 2>&1 || true").endswith("Read-only file system")
        assert inside("sh", "-c", "echo $GREETING") == "hello {name}"
        assert "EMPTY=" in inside("env").splitlines()
        assert inside("hostname") == "lab"
        assert inside("pwd") == "/shared"
        status = inside("cat", "/proc/1/status")
        assert re.search(r"Seccomp:\s+0", status)
        assert re.search(r"NoNewPrivs:\s+0", status)
        assert re.search(r"CapBnd:\s+0{16}", status)
        assert "192.0.2.7" in inside("grep", "-w", "db", "/etc/hosts")
        assert "OF=entrypoint" in inside("sh", "-c", "cat /proc/$(pidof httpd)/environ")


async def test_the_time_to_stop(user):
    command = ["sh", "-c", "trap '' TERM; httpd -p 8888; while :; do sleep 1; done"]
    flags = ["--stop-timeout", "0"]
    async with running(user, cmd=command, podman_additional_cmds=flags, delete_grace_period=100):
        pass  # it is stopped at once


async def test_variables_of_a_file_that_the_account_reads(user):
    file = Path(user.account.home, "variables")
    file.write_text("# a comment\n\nFIRST=1\n  SECOND=two words = 'quoted'\nTHIRD=of file\n")
    flags = ["--env-file", str(file), "-e", "THIRD=of flag"]
    async with running(user, podman_additional_cmds=flags) as inside:
        lines = inside("env").splitlines()
        assert {"FIRST=1", "SECOND=two words = 'quoted'", "THIRD=of flag"} <= {*lines}


async def test_a_file_that_only_root_reads_is_not_read(user, tmp_path):
    """It is the account that reads, not the Hub: a link of the user's leads nowhere else."""
    secret = tmp_path / "secret"
    secret.write_text("SECRET=of root\n")
    link = Path(user.account.home, "link")
    link.symlink_to(secret)
    flags = ["--env-file", str(link)]
    with pytest.raises(web.HTTPError, match=f"--env-file {link}: {user.name} has no such file"):
        await lone_spawner(user.name, podman_additional_cmds=flags).start()


async def test_a_variable_of_the_hub_is_not_passed_on(user, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HUB", "do not tell")
    flags = ["-e", "SECRET_OF_THE_HUB"]
    with pytest.raises(web.HTTPError, match="-e SECRET_OF_THE_HUB: .*env_keep"):
        await lone_spawner(user.name, podman_additional_cmds=flags).start()
    kept = {"env_keep": ["SECRET_OF_THE_HUB"], "podman_additional_cmds": flags}
    async with running(user, **kept) as inside:
        assert inside("sh", "-c", "echo $SECRET_OF_THE_HUB") == "do not tell"


async def test_the_proxy_is_the_services_and_the_servers(user):
    options = {"https_proxy": "http://proxy.test:3128", "service_idle_seconds": 2}
    async with running(user, **options) as inside:
        environments = [
            Path(f"/proc/{pid}/environ").read_bytes() for pid in user.processes("system service")
        ]
        assert any(b"https_proxy=http://proxy.test:3128\0" in text for text in environments)
        assert inside("sh", "-c", "echo $https_proxy") == "http://proxy.test:3128"


async def test_the_image_is_pulled_first(user):
    options = {"pull_image_first": True, "pull_image": "localhost/no-such-registry/image:1"}
    spawner = lone_spawner(user.name, **options)
    with pytest.raises(web.HTTPError, match="image localhost/no-such-registry/image:1 could not"):
        await spawner.start()
    spawner = lone_spawner(user.name, pull_image=options["pull_image"])  # not asked for
    await spawner.start()
    await spawner.stop()


async def test_a_flag_says_when_to_pull(user):
    options = {"image": "localhost/no-such:1", "pull_policy": "always"}
    flags = {"podman_additional_cmds": ["--pull=never"]}
    with pytest.raises(web.HTTPError, match="There is no image localhost/no-such:1 here"):
        await lone_spawner(user.name, **options, **flags).start()


# hooks


@pytest.fixture
def hooks(user):
    """A folder with a hook that leaves the container's id in the account's home."""
    folder, trace = Path(user.account.home, "hooks"), Path(user.account.home, "trace")
    folder.mkdir(exist_ok=True)
    program = folder / "hook.sh"
    # the runtime gives it the container's state, and no environment
    program.write_text(f"#!/bin/sh\n/bin/cat >> {trace}; /usr/bin/id -u >> {trace}\n")
    program.chmod(0o755)
    hook = {
        "version": "1.0.0",
        "hook": {"path": str(program)},
        "when": {"always": True},
        "stages": ["prestart"],
    }
    (folder / "trace.json").write_text(json.dumps(hook))
    yield folder
    trace.unlink(missing_ok=True)


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("activation", ["auto", "direct"])
async def test_a_hook_runs_as_the_account(user, hooks, flag, activation):
    options = {"podman_additional_cmds": ["--hooks-dir", f"{hooks}/"]}
    if not flag:
        options = {"hooks_dir": [str(hooks)]}
    await lone_spawner(user.name).start()  # there is a service without hooks
    spawner = lone_spawner(user.name, activation=activation, **options)
    await spawner.start()
    trace = Path(user.account.home, "trace")
    assert spawner.container_id in trace.read_text()
    assert trace.stat().st_uid == user.account.uid
    await spawner.stop()
    without = lone_spawner(user.name)  # another profile has no hooks
    await without.start()
    assert without.container_id not in trace.read_text()
    await without.stop()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"hooks_dir": ["/hooks"]}, r"hooks_dir: .*containers.conf"),
        (
            {"podman_additional_cmds": ["--hooks-dir=/hooks"]},
            "podman_additional_cmds: .*hooks_dir",
        ),
        ({"service_environment": {"A": "b"}}, "service_environment: .*containers.conf"),
        ({"https_proxy": "http://proxy.test"}, "https_proxy: .*containers.conf"),
    ],
)
@pytest.mark.parametrize("activation", ["existing", "systemd"])
async def test_a_service_of_another_is_told_nothing(user, options, named, activation):
    with pytest.raises(web.HTTPError, match=named):
        await lone_spawner(user.name, activation=activation, **options).start()


async def test_a_server_stops_whatever_its_service_should_be_told(fresh):
    """As when the option was set while the server ran."""
    fresh.load(TINY_JOVYAN)
    await lone_spawner(fresh.name).start()
    spawner = lone_spawner(fresh.name, activation="existing", hooks_dir=["/hooks"])
    await spawner.stop()
    assert fresh.containers() == []


# bad values, and what is told


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"podman_additional_cmds": ["--name", "x"]}, "--name cannot be honoured.*name_template"),
        ({"podman_additional_cmds": ["-v", "/no/such:/data"]}, "mounts: .*/no/such"),
        ({"podman_additional_cmds": ["-v 'a"]}, "podman_additional_cmds: .*quotes"),
        ({"podman_additional_cmds": ["--userns", "ns:/x"]}, "--userns ns:/x: .*user_mapping"),
        ({"start_cmd": "httpd 'a"}, "start_cmd: .*quotes"),
        ({"conthome": "home"}, "conthome: 'home'"),
        ({"hooks_dir": ["hooks"]}, "hooks_dir: 'hooks'"),
        ({"podman_additional_cmds": ["--env-file=file"]}, "--env-file file: .*absolute"),
    ],
)
async def test_a_bad_value_is_named(user, options, remedy):
    with pytest.raises(web.HTTPError) as failure:
        await lone_spawner(user.name, **options).start()
    assert re.search(remedy, failure.value.jupyterhub_message), failure.value.jupyterhub_message


async def test_stop_and_poll_do_not_mind_a_bad_flag(user):
    await lone_spawner(user.name).start()
    spawner = lone_spawner(user.name, podman_additional_cmds=["--no-such-flag"])
    assert await spawner.poll() == 0
    await spawner.stop()
    assert user.containers() == []


async def test_each_name_is_told_once(user, caplog):
    options = {
        "podman_additional_cmds": ["-e", "A=b"],
        "popen_kwargs": {"shell": True},
        "preexec_fn_set": 1,
        "startatconthome": True,
    }
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        spawner = lone_spawner(user.name, **options)
        spawner.log.addHandler(caplog.handler)
        await spawner.start()
        await spawner.stop()
        spawner.log.removeHandler(caplog.handler)
    told = [record.getMessage() for record in caplog.records if "0.2" in record.getMessage()]
    assert sorted(line.split(" is a setting")[0] for line in told) == [
        "podman_additional_cmds",
        "podman_additional_cmds -e",
        "popen_kwargs",
        "preexec_fn_set",
        "startatconthome",
    ]
    assert any("it is working_dir now" in line for line in told)
    assert any("no effect" in line for line in told)
