"""The command ``podmanspawner``: what it reads, prints and returns, without any account."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from traitlets.config import Config

from podmanspawner import PodmanError, PodmanSpawner, SpecError
from podmanspawner.cli import (
    account,
    doctor,
    engine,
    findings,
    from_docker,
    host,
    hub,
    text,
    trial,
)
from podmanspawner.cli.app import cli
from podmanspawner.cli.findings import Check, failure, ok, refused, warning
from podmanspawner.cli.migrate import migrate
from podmanspawner.compat import Original
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings
from typist import Typist

TOP = Path(__file__).parents[2]
COMMANDS = [(), *((name,) for name in cli.commands)]
COMMANDS += [("images", name) for name in cli.commands["images"].commands]
ESCAPE = "\x1b"


def run(*words, **options):
    return CliRunner().invoke(cli, [str(word) for word in words], **options)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a configuration."""

    def write(*lines):
        path = tmp_path / "jupyterhub_config.py"
        path.write_text("\n".join(["c = get_config()  # noqa", *lines, ""]))
        return path

    return write


@pytest.fixture
def healthy(monkeypatch):
    """A host whose checks find what a test says."""

    def found(*seen):
        checks = [Check(f"check {n}", f"why {n}", lambda _, s=s: s) for n, s in enumerate(seen)]
        monkeypatch.setattr(host, "CHECKS", checks)

    return found


# the command as such


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command_itself(words):
    done = run(*words, "--help")
    assert done.exit_code == 0
    assert re.search(rf"\n {{4}}{' '.join(('podmanspawner', *words))}\b", done.output)


@pytest.mark.parametrize("words", COMMANDS[1:], ids=" ".join)
def test_the_reference_has_it(words):
    page = (TOP / "docs" / "reference" / "command.md").read_text()
    assert words == ("images",) or f"\n## podmanspawner {' '.join(words)}\n" in page


def test_the_reference_shows_what_migrate_prints(tmp_path):
    page = (TOP / "docs" / "reference" / "command.md").read_text()
    shown = page.partition("$ cat jupyterhub_config.py\n")[2].partition("```")[0]
    given, printed = shown.split("$ podmanspawner migrate jupyterhub_config.py\n")
    path = tmp_path / "jupyterhub_config.py"
    path.write_text(f"c = get_config()\n{given}")
    assert migrate(path) == printed


def test_it_is_installed_and_needs_no_hub_for_its_help():
    script = "import sys; from podmanspawner.cli.app import cli\n"
    script += "cli(['doctor', '--help'], standalone_mode=False)\nprint(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert "click" in loaded
    assert "jupyterhub" not in loaded


def test_the_entry_point_is_the_command():
    project = (TOP / "pyproject.toml").read_text()
    assert 'podmanspawner = "podmanspawner.cli.app:main"' in project


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    done = run("completion", shell)
    assert "_PODMANSPAWNER_COMPLETE" in done.output


def test_a_shell_completes_commands():
    env = {**os.environ, "_PODMANSPAWNER_COMPLETE": "bash_complete"}
    env |= {"COMP_WORDS": "podmanspawner im", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "podmanspawner.cli"]
    assert subprocess.check_output(command, env=env, text=True) == "plain,images\n"


def test_bash_completes_what_is_typed(tmp_path):
    start = f"PATH={Path(sys.executable).parent}:$PATH; PS1='> '\n"
    (tmp_path / "rc").write_text(f"{start}. <(podmanspawner completion bash)\n")
    somebody = Typist("bash", "--noprofile", "--rcfile", tmp_path / "rc", "-i")
    somebody.see("> ")
    for typed, completed in (("images sh", "images share "), ("doctor --j", "doctor --json ")):
        somebody.type(f"podmanspawner {typed}\t")
        somebody.see(f"podmanspawner {completed}")
        somebody.type("\x15")  # the line is thrown away
    somebody.type("exit\r")
    assert somebody.leave() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["servers", "no-such-account"], "There is no Unix account 'no-such-account'"),
        (["logs", "root"], "The account root is root"),
        (["servers", "-f", "/no/such/file"], "Name the Hub's configuration with -f FILE"),
        (["migrate", "/no/such/file"], "No such file"),
        (["images", "preload", "root"], "The account root is root"),
    ],
)
def test_an_error_is_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 1
    assert said in done.output
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.output


@pytest.mark.parametrize("words", [["stop"], ["stop", "--all", "ada"], ["images", "prepare"]])
def test_nobody_is_everybody_by_mistake(words):
    done = run(*words)
    assert done.exit_code == 2
    assert "Name users, or say --all" in done.output


def test_the_log_is_as_it_was_afterwards(caplog):
    run("completion", "bash")
    logging.getLogger("podmanspawner").warning("heard")
    assert "heard" in caplog.text


# what doctor prints


def test_findings_say_what_why_and_what_to_do(healthy, write):
    healthy(ok("fine"), warning("slow", "mend it"), failure("broken", "repair it"))
    path = write('c.JupyterHub.spawner_class = "podman"')
    done = run("doctor", "-f", path, env={"HOME": "/"})
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert done.exit_code == 1
    for line in ("ok check 0 fine", "warning check 1 slow", "FAILED check 2 broken"):
        assert line in lines
    assert [line for line in lines if line.startswith(("why", "do"))] == [
        *("why why 1", "do mend it", "why why 2", "do repair it")
    ]
    assert lines[-1] == "1 failed, 1 warning: servers will not start"
    assert ESCAPE not in done.output


def test_colours_are_for_terminals(healthy, write):
    healthy(ok("fine"))
    path = write('c.JupyterHub.spawner_class = "podman"')
    assert ESCAPE in run("doctor", "-f", path, color=True).output
    assert ESCAPE not in run("doctor", "-f", path, color=True, env={"NO_COLOR": "1"}).output


@pytest.mark.parametrize(
    ("seen", "status"), [(warning("slow", "mend"), 0), (failure("x", "y"), 1)]
)
def test_exit_status_and_json(healthy, write, seen, status, monkeypatch):
    monkeypatch.setattr(doctor, "_usual_users", lambda _: [])
    healthy(seen)
    done = run("doctor", "--json", "-f", write('c.JupyterHub.spawner_class = "podman"'))
    assert done.exit_code == status
    said = json.loads(done.output)
    assert said["ok"] is (status == 0)
    assert said["findings"][1] == {
        "subject": "host",
        "name": "check 0",
        "status": seen.status,
        "seen": seen.text,
        "why": "why 0",
        "remedy": seen.remedy,
    }


def test_what_an_account_says_reaches_no_terminal_raw(capsys):
    evil = f"{ESCAPE}]0;title\x07{ESCAPE}[2Jboo\nFAILED forged"
    checks = [Check("engine", "", lambda _: failure(evil, evil))]
    (finding,) = findings.look("ada", checks, None)
    text.show(finding)
    text.table(["A"], [[evil]])
    printed = capsys.readouterr().out
    assert ESCAPE not in printed
    assert "\x07" not in printed
    assert all(not line.startswith("FAILED") for line in printed.splitlines())


def test_what_needs_a_failed_check_is_skipped():
    def raising(_case):
        raise PodmanError("Podman could not do it. Try again.")

    checks = [
        Check("a", "", raising),
        Check("b", "", lambda _: ok("unseen"), ["a"]),
        Check("c", "", lambda _: ok("unseen"), ["b"]),
        Check("d", "", lambda _: ok("seen")),
        Check("e", "", lambda _: None),
        Check("f", "", lambda _: 1 / 0),
    ]
    found = {one.name: (one.status, one.seen) for one in findings.look("x", checks, None)}
    assert found == {
        "a": ("failure", "Podman could not do it"),
        "b": ("skipped", "not looked at, because of a"),
        "c": ("skipped", "not looked at, because of a"),
        "d": ("ok", "seen"),
        "f": ("failure", "ZeroDivisionError: division by zero"),
    }


def test_checks_need_only_what_is_looked_at_before():
    known = {check.name for check in account.CHECKS}
    for table in (account.CHECKS, (*engine.CHECKS, *trial.CHECKS, *trial.TRY)):
        seen = set(known) if table is not account.CHECKS else set()
        for check in table:
            assert set(check.needs) <= seen, check.name
            assert check.why
            seen.add(check.name)


def test_an_error_of_the_library_is_parted_in_what_and_what_to_do():
    error = SpecError("mem_limit", "1G is too much. Use 'M' instead; or buy more.")
    assert refused(error) == failure("mem_limit: 1G is too much", "Use 'M' instead; or buy more.")


# the host


def test_a_host_without_podman(monkeypatch):
    monkeypatch.setattr(host.privileges, "PATH", "/nonexistent")
    seen = host.podman(None)
    assert seen.status == "failure"
    assert "apt-get install podman" in seen.remedy
    assert host.mappers(None).remedy == "apt-get install uidmap"
    assert host.networks(None).remedy == "apt-get install passt slirp4netns"


@pytest.mark.parametrize(
    ("said", "status"),
    [("podman version 5.4.2", "ok"), ("podman version 4.2.0", "failure"), ("what?", "failure")],
)
def test_the_version_of_podman(monkeypatch, tmp_path, said, status):
    program = tmp_path / "podman"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(host.privileges, "PATH", f"{tmp_path}:/usr/bin:/bin")
    assert host.podman(None).status == status


def test_a_podman_with_half_a_configuration(monkeypatch, tmp_path):
    """Podman 5 does not even tell root its version then."""
    program = tmp_path / "podman"
    program.write_text(
        "#!/bin/sh\necho 'Failed to obtain podman configuration: runroot must be set'"
    )
    program.chmod(0o755)
    monkeypatch.setattr(host.privileges, "PATH", f"{tmp_path}:/usr/bin:/bin")
    assert host.podman(None).remedy.startswith('write runroot = "/run/containers/storage"')


def test_a_clock_before_the_installation(monkeypatch):
    monkeypatch.setattr(host.time, "time", lambda: 0.0)
    assert host.clock(None).status == "failure"


def test_mappers_without_power(monkeypatch, tmp_path):
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(host.privileges, "PATH", str(tmp_path))
    assert "neither the setuid bit" in host.mappers(None).text


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("tool", ["python3", "nc"])
def test_asking_for_the_hub_inside_an_image(tmp_path, tool, scheme):
    """What a container of the image runs, with the one program or the other."""
    (tmp_path / "python3").symlink_to(sys.executable)
    if tool == "nc":
        if not shutil.which("busybox"):
            pytest.skip("no busybox, which has nc")
        (tmp_path / "python3").unlink()
        (tmp_path / "nc").symlink_to(shutil.which("busybox"))

    def ask(port):
        words = [shutil.which("sh"), "-c", trial._ASK, "sh", "127.0.0.1", port, "/hub/api", scheme]
        env = {"PATH": str(tmp_path)}
        return subprocess.run([*map(str, words)], env=env, capture_output=True).returncode

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with trial._somebody_at("127.0.0.1", port) as who:
        assert who.startswith("a stand-in")
        with trial._somebody_at("127.0.0.1", port) as second:
            assert second == "the Hub"
        assert ask(port) == 0
    assert ask(port) != 0
    with socket.create_server(("127.0.0.1", port)) as mute:
        leaving = threading.Thread(target=lambda: _read_and_leave(mute))
        leaving.start()
        assert (ask(port) == 0) is (scheme == "https")
        leaving.join()


def _read_and_leave(listener):
    with listener.accept()[0] as connection:
        connection.recv(1000)


def test_an_image_that_cannot_ask(tmp_path):
    sh = shutil.which("sh")
    done = subprocess.run([sh, "-c", trial._ASK, "sh", "h", "1", "/", "http"], env={"PATH": "/no"})
    assert done.returncode == trial._NO_TOOL


# the Hub's configuration


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["c.PodmanSpawner.image = 3"], "image"),
        (["c.PodmanSpawner.mem_limit = 'much'"], "much"),
        (["1 / 0"], "line 3: ZeroDivisionError: division by zero"),
        (["import no_such_module"], "line 3: ModuleNotFoundError"),
        (["if"], "line 3: SyntaxError"),
        (["c.JupyterHub.spawner_class = 'no-such-one'"], "no-such-one"),
        (["c.JupyterHub.spawner_class = 'simple'"], "Set c.JupyterHub.spawner_class = 'podman'"),
        (["exit(3)"], "line 3: SystemExit"),
    ],
)
def test_a_configuration_that_makes_no_hub(write, healthy, lines, said):
    healthy(ok("fine"))
    done = run("doctor", "--json", "-f", write('c.JupyterHub.spawner_class = "podman"', *lines))
    finding = json.loads(done.output)["findings"][0]
    assert done.exit_code == 1
    assert (finding["name"], finding["status"]) == ("configuration", "failure")
    assert said in f"{finding['seen']}. {finding['remedy']}"
    assert finding["remedy"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c.PodmanSpawner.imag = 'x'", "did you mean image"),
        ("c.Spawner.mem_limits = '1G'", "did you mean mem_limit"),
        ("c.JupyterHub.hub_prot = 1", "did you mean hub_port"),
        ("c.PodmanSpawner.xyzzy = 1", "jupyterhub --generate-config"),
    ],
)
def test_an_option_that_is_none(write, healthy, line, said):
    healthy(ok("fine"))
    done = run("doctor", "--json", "-f", write('c.JupyterHub.spawner_class = "podman"', line))
    finding = json.loads(done.output)["findings"][0]
    assert (finding["name"], finding["status"], done.exit_code) == ("configuration", "warning", 0)
    assert line.split(" ")[0] in finding["seen"]
    assert said in finding["remedy"]


def test_options_of_every_kind_are_known(write, healthy):
    healthy(ok("fine"))
    path = write(
        'c.JupyterHub.spawner_class = "podman"',
        "c.Application.log_level = 10",
        'c.Spawner.mem_limit = "1G"',
        'c.PodmanSpawner.start_cmd = "start"',
        "c.LocalAuthenticator.create_system_users = True",
        'c.Spawner.home_target = ""',
    )
    finding = json.loads(run("doctor", "--json", "-f", path).output)["findings"][0]
    assert (finding["name"], finding["status"]) == ("configuration", "ok")


def test_a_configuration_that_others_can_write_is_not_run(write, tmp_path):
    mark = tmp_path / "run"
    path = write(f"open({str(mark)!r}, 'w')")
    path.chmod(0o666)
    with pytest.raises(hub.ConfigurationError, match="would be run with your rights"):
        hub.load(path)
    if os.geteuid() == 0:
        path.chmod(0o600)
        os.chown(path, 4711, 4711)
        with pytest.raises(hub.ConfigurationError, match="belongs to uid 4711"):
            hub.load(path)
    assert not mark.exists()


def test_a_spawner_is_as_the_hub_makes_it(write):
    path = write(
        'c.JupyterHub.spawner_class = "podman"',
        "c.JupyterHub.hub_port = 18099",
        'c.JupyterHub.base_url = "/lab/"',
        'c.PodmanSpawner.account_template = "u-{username}"',
        'c.Spawner.mem_limit = "1G"',
        'c.Authenticator.allowed_users = {"bob", "ada"}',
    )
    read = hub.read(path)
    spawner = read.spawner("ada", read.offers[0], name="project")
    assert spawner.account_name == "u-ada"
    assert spawner.mem_limit == 1 << 30
    assert spawner.server_name == ServerName("18099", "ada", "project")
    assert spawner.get_env()["JUPYTERHUB_API_URL"] == "http://127.0.0.1:18099/lab/hub/api"
    assert spawner.get_env()["JUPYTERHUB_SERVICE_PREFIX"] == "/lab/user/ada/project/"
    assert read.users == ["ada", "bob"]


def test_a_subclass_keeps_its_ways(write):
    path = write(
        "from podmanspawner import PodmanSpawner",
        "class Ours(PodmanSpawner):",
        "    def get_env(self): return {**super().get_env(), 'OURS': '1'}",
        "c.JupyterHub.spawner_class = Ours",
        'c.Ours.image = "ours"',
    )
    read = hub.read(path)
    spawner = read.spawner("ada", read.offers[0])
    assert spawner.image == "ours"
    assert spawner.get_env()["OURS"] == "1"


def test_profiles_get_what_the_wrapper_gives_them(write):
    path = write(
        'c.JupyterHub.spawner_class = "wrapspawner.ProfilesSpawner"',
        'c.Spawner.mem_limit = "1G"',
        "c.PodmanSpawner.cpu_limit = 7.0",
        'c.PodmanSpawner.image = "one"',
        "c.ProfilesSpawner.profiles = [",
        '    ("Host", "host", "jupyterhub.spawner.LocalProcessSpawner", {}),',
        '    ("A", "a", "podmanspawner.PodmanSpawner", {}),',
        '    ("B", "b", "podmanspawner.PodmanSpawner", {"image": "two", "mem_limit": "2G"}),',
        "]",
    )
    read = hub.read(path)
    assert [offer.name for offer in read.offers] == ["a", "b"]
    first, second = (read.spawner("ada", offer) for offer in read.offers)
    assert (first.image, first.mem_limit) == ("one", 1 << 30)
    assert first.cpu_limit is None  # the wrapper overwrites what c.PodmanSpawner says of it
    assert (second.image, second.mem_limit) == ("two", 2 << 30)


async def test_the_images_that_users_may_get(write):
    path = write(
        'c.JupyterHub.spawner_class = "podman"',
        'c.PodmanSpawner.image = "base"',
        'c.PodmanSpawner.account_template = "{username}"',
        "c.PodmanSpawner.profile_list = [",
        '    {"display_name": "Small", "default": True},',
        '    {"display_name": "R", "overrides": {"image": "r"}, "profile_options": {',
        '        "v": {"display_name": "V", "choices": {',
        '            "1": {"display_name": "1", "overrides": {"image": "r:1"}}}}}},',
        "]",
    )
    read = hub.read(path)
    assert await read.spawner("ada", read.offers[0]).images() == ["base", "r", "r:1"]


# migrate


def executed(configuration):
    """Return what a configuration sets, as the Hub would read it, and its notes."""
    c = Config()
    exec(configuration, {"get_config": lambda: c})
    notes = [line[2:] for line in configuration.splitlines() if line.startswith("# ")]
    return c, notes[1:]


def settings_of(options):
    known = ServerSettings.__dataclass_fields__
    values = {name: value for name, value in options.items() if name in known}
    return ServerSettings(**{"image": "x", **values, "server": ServerName("", "")})


def test_the_original_means_the_same_after_it_is_migrated():
    config = TOP / "tests" / "hub" / "original_config.py"
    before = Config()
    exec(config.read_text(), {"get_config": lambda: before})
    after, notes = executed(migrate(config))
    assert notes == []
    assert after.JupyterHub.spawner_class == "wrapspawner.ProfilesSpawner"
    profiles = zip(before.ProfilesSpawner.profiles, after.ProfilesSpawner.profiles, strict=True)
    host_process, *podman = profiles
    assert host_process[0] == host_process[1]
    for old, new in podman:
        assert old[:3] == new[:3]
        names = Original.__dataclass_fields__
        assert not set(names) & set(new[3])
        original = Original(**{name: old[3][name] for name in set(names) & set(old[3])})
        rest = {name: value for name, value in old[3].items() if name not in names}
        meant = original.settings(settings_of(rest))
        means = settings_of(new[3])
        if "image" not in old[3]:
            spoken = dict(meant.environment)
            del spoken["JUPYTER_IMAGE_SPEC"]
            meant = replace(meant, environment=spoken)
        for name in ServerSettings.__dataclass_fields__:
            old_value, new_value = getattr(meant, name), getattr(means, name)
            if isinstance(old_value, tuple):
                new_value = tuple(new_value)
            if name != "port_word":  # the new configuration names no word for the port
                assert new_value == old_value, name
        PodmanSpawner(**new[3])  # refuses what is no value of an option


ORIGINAL = [
    'c.JupyterHub.spawner_class = "podmanspawner.PodmanSpawner"',
    'c.PodmanSpawner.start_cmd = "start --port PORT"',
    'c.PodmanSpawner.podman_additional_cmds = ["-e", "LANG", "--env-file", "/etc/env"]',
    'c.PodmanSpawner.podman_additional_cmds += ["-m", "1g", "--log-level", "debug"]',
    "c.PodmanSpawner.popen_kwargs = {'a': 1}",
    "c.PodmanSpawner.pull_image_first = True",
    'c.Spawner.environment = {"A": "1"}',
    'c.Spawner.default_url = "/lab"',
]


def test_the_original_with_what_has_no_counterpart(write):
    after, notes = executed(migrate(write(*ORIGINAL)))
    assert after.JupyterHub.spawner_class == "podman"
    options = after.PodmanSpawner
    assert options.cmd == ["start", "--port", "8888"]
    assert (options.pull_policy, options.mem_limit) == ("always", 1 << 30)
    assert not {"environment", "default_url"} & set(options)  # c.Spawner stays as it is
    said = "\n".join(notes)
    for name in ("-e LANG", "--env-file /etc/env", "--log-level=debug", "popen_kwargs"):
        assert name in said


def test_the_original_with_a_flag_that_cannot_be_honoured(write):
    path = write(ORIGINAL[0], 'c.PodmanSpawner.podman_additional_cmds = ["--pod", "x"]')
    done = run("migrate", path)
    assert done.exit_code == 1
    assert "--pod cannot be honoured" in done.output


DOCKER = """
c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.JupyterHub.hub_ip = "0.0.0.0"
c.DockerSpawner.image = "quay.io/jupyter/base-notebook:latest"
c.DockerSpawner.network_name = "jupyterhub"
c.DockerSpawner.volumes = {"jupyter-{username}": "/home/jovyan/work"}
c.DockerSpawner.extra_create_kwargs.update({"user": "root", "entrypoint": "tini --"})
c.DockerSpawner.extra_host_config = {
    "mem_limit": "2g", "runtime": "nvidia", "cap_drop": ["NET_RAW"], "nano_cpus": 1500000000,
    "restart_policy": {"Name": "always"}, "security_opt": ["no-new-privileges:false"],
    "ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}], "tmpfs": {"/t": "size=1m"},
    "binds": ["/srv/data:/data:ro"], "privileged": True, "shm_size": "64m",
}
c.DockerSpawner.pull_policy = "ifnotpresent"
c.DockerSpawner.hub_ip_connect = "hub"
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.pre_spawn_hook = lambda spawner: None
c.DockerSpawner.no_such_option = 1
c.Spawner.start_timeout = 900
"""


def test_dockerspawner(write):
    after, notes = executed(migrate(write(DOCKER)))
    assert after.PodmanSpawner == {
        "image": "quay.io/jupyter/base-notebook:latest",
        "remove": False,
        "home_target": "",
        "volumes": {
            "jupyter-{username}": "/home/jovyan/work",
            "/srv/data": {"bind": "/data", "mode": "ro"},
        },
        "container_user": "root",
        "entrypoint": ["tini", "--"],
        "mem_limit": "2G",
        "shm_size": "64M",
        "cpu_limit": 1.5,
        "gpus": "all",
        "cap_drop": ["NET_RAW"],
        "no_new_privileges": False,
        "ulimits": {"nofile": (1024, 2048)},
        "tmpfs": {"/t": "size=1m"},
        "extra_spec": {"privileged": True},
        "pull_policy": "missing",
    }
    PodmanSpawner(config=after)
    said = "\n".join(notes)
    assert "c.JupyterHub.hub_ip: leave it out if" in said
    for name in ("network_name", "restart_policy", "hub_ip_connect", "pre_spawn_hook"):
        assert name in said
    assert "no_such_option: this spawner has no such option" in said
    assert "use_internal_ip" not in said


@pytest.mark.parametrize(
    "lines",
    [
        ["from dockerspawner import DockerSpawner", "c.JupyterHub.spawner_class = DockerSpawner"],
        ["import dockerspawner", "c.JupyterHub.spawner_class = dockerspawner.SystemUserSpawner"],
    ],
)
def test_a_file_that_imports_dockerspawner(write, lines, monkeypatch):
    """As where it is not installed: what stands in for it is gone afterwards."""
    monkeypatch.setitem(sys.modules, "dockerspawner", None)
    after, _ = executed(migrate(write(*lines, 'c.DockerSpawner.image = "x"')))
    assert after.PodmanSpawner.image == "x"
    assert "dockerspawner" not in sys.modules


def test_the_page_says_what_migrate_makes(write):
    page = (TOP / "docs" / "how-to" / "migrate-from-dockerspawner.md").read_text()
    before = re.search(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    shown = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    after, _ = executed(migrate(write(before)))
    c = Config()
    exec(shown, {"c": c})
    assert after.PodmanSpawner == {"remove": True, **c.PodmanSpawner}
    assert PodmanSpawner().remove, "which the page leaves out"


def test_system_user_spawner(write):
    lines = ['c.JupyterHub.spawner_class = "dockerspawner.SystemUserSpawner"']
    lines += ['c.SystemUserSpawner.host_homedir_format_string = "/srv/home/{username}"']
    after, notes = executed(migrate(write(*lines, 'c.DockerSpawner.image = "x"')))
    assert after.PodmanSpawner.home_source == "/srv/home/{username}"
    assert after.PodmanSpawner.home_target == "/home/{username}"
    assert notes[0].startswith("user: ")


def test_an_example_of_dockerspawner_is_what_migrate_would_make():
    made, _ = from_docker.docker_spawner(
        {
            "image": "x",
            "volumes": {"jupyter-{username}-{servername}": "/home/jovyan/work"},
            "read_only_volumes": {"/usr/share/dict": "/data"},
        }
    )
    example = Config()
    file = TOP / "examples" / "from-dockerspawner" / "user_volumes.py"
    exec(file.read_text(), {"get_config": lambda: example})
    for name in ("volumes", "read_only_volumes", "home_target"):
        assert made[name] == example.PodmanSpawner[name]


def test_a_spawner_that_is_not_known(write):
    done = run("migrate", write('c.JupyterHub.spawner_class = "systemdspawner.SystemdSpawner"'))
    assert done.exit_code == 1
    assert "systemdspawner.SystemdSpawner, which this command does not know" in done.output
