"""Running programs as an account; here the account is whoever runs the tests."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fake_service import ME
from podmanspawner import AccountError, ServiceError, privileges

NOBODY = 65534


@pytest.fixture
def not_root():
    """Be an ordinary user, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def children():
    lists = Path("/proc/self/task").glob("*/children")
    return {child for each in lists for child in each.read_text().split()}


@pytest.fixture(autouse=True)
def nothing_left():
    """No child outlives a test, nor does a descriptor; what was there before does not count."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd")), children()
    yield
    assert children() <= before[1]
    assert len(os.listdir("/proc/self/fd")) <= before[0]


def test_who_may_become_whom(not_root):
    del not_root
    me, other = replace(ME, uid=os.geteuid()), replace(ME, name="ada", uid=1 << 20)
    assert privileges.may_become(me)
    privileges.demand_may_become(me)
    assert not privileges.may_become(other)
    with pytest.raises(AccountError, match="account_template") as caught:
        privileges.run(other, ["true"])
    assert caught.value.account == "ada"


def test_the_environment_is_made_from_nothing(monkeypatch):
    for secret in ("CONFIGPROXY_AUTH_TOKEN", "JUPYTERHUB_CRYPT_KEY", "PYTHONPATH", "LD_PRELOAD"):
        monkeypatch.setenv(secret, "")
    seen = dict(line.split("=", 1) for line in privileges.run(ME, ["env"]).splitlines())
    assert seen == {
        "HOME": ME.home,
        "USER": "me",
        "LOGNAME": "me",
        "PATH": privileges.PATH,
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": f"/run/user/{ME.uid}",
        **{
            k: v
            for k, v in seen.items()
            if k in ("DBUS_SESSION_BUS_ADDRESS", "DISABLE_HC_SYSTEMD")
        },
    }


def test_configured_variables_win():
    found = privileges.environment(ME, {"https_proxy": "http://proxy", "LANG": "C"})
    assert (found["https_proxy"], found["LANG"]) == ("http://proxy", "C")


def test_a_helper_that_was_stopped_while_it_complained(monkeypatch, tmp_path):
    """Who has become the account can be stopped by it: nobody waits for its end."""
    helper = tmp_path / "helper.py"
    helper.write_text(
        "import os, signal, sys\n"
        "os.write(int(sys.argv[1]), b'no\\n[W forged')\n"
        "os.close(int(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    monkeypatch.setattr(privileges, "_BECOME", str(helper))
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"could not be started as me: no \[W forged"):
        privileges.run(ME, ["true"])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("bus", [True, False])
def test_a_bus_is_named_where_there_is_one(tmp_path, monkeypatch, bus):
    monkeypatch.setattr("podmanspawner.account.RUNTIME_ROOT", tmp_path)
    ME.runtime_dir.mkdir(mode=0o700)
    if bus:
        (ME.runtime_dir / "bus").touch()
    address = privileges.environment(ME).get("DBUS_SESSION_BUS_ADDRESS")
    assert address == (f"unix:path={ME.runtime_dir}/bus" if bus else None)


@pytest.mark.parametrize("systemd", [True, False])
def test_health_checks_are_left_to_an_accounts_systemd_if_it_has_one(
    tmp_path, monkeypatch, systemd
):
    monkeypatch.setattr("podmanspawner.account.RUNTIME_ROOT", tmp_path)
    ME.runtime_dir.mkdir(mode=0o700)
    if systemd:
        (ME.runtime_dir / "systemd").mkdir()
    found = privileges.environment(ME).get("DISABLE_HC_SYSTEMD")
    assert found == (None if systemd else "true")


def test_a_program_has_only_its_standard_descriptors(tmp_path):
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        listed = privileges.run(ME, ["ls", "-l", "/proc/self/fd"])
    names = [line.split()[8] for line in listed.splitlines()[1:]]
    assert names == ["0", "1", "2", "3"]  # the last is ls's own, of the folder it lists
    assert "secret" not in listed


def test_a_program_runs_apart():
    """In a session and a folder of its own: a Ctrl-C for the Hub does not reach it."""
    pid, session = privileges.run(ME, ["sh", "-c", "echo $$; ps -o sid= -p $$; pwd"]).split()[:2]
    assert pid == session
    assert privileges.run(ME, ["pwd"]).strip() == "/"


def test_output_is_read_up_to_a_limit():
    began = time.monotonic()
    assert privileges.run(ME, ["yes"], max_bytes=1000) == "y\n" * 500
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("script", ["exec sleep 4321", "sleep 4321 & wait", "sleep 4321 & exit 0"])
def test_time_is_limited_for_all_that_was_started(script):
    began = time.monotonic()
    with pytest.raises(ServiceError, match=r"longer than 0.5 s"):
        privileges.run(ME, ["sh", "-c", f"exec 3>&1; {script}"], seconds=0.5)
    assert time.monotonic() - began < 8
    # Killed already, but who is nobody's child here is gone only once the kernel got round to it.
    while (
        b"sleep 4321"
        in subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout
    ):
        assert time.monotonic() - began < 10
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["no-such-program", "podmän"])
def test_a_program_that_is_missing(name):
    with pytest.raises(ServiceError, match=f"apt-get install {name}") as caught:
        privileges.run(ME, [name])
    assert "FileNotFoundError" in caught.value.stderr


@pytest.mark.parametrize("words", [["a b", "", "ü", "$HOME", "'"], ["-c", "x"], [f"{'x' * 5000}"]])
def test_arguments_arrive_as_they_are(words):
    assert privileges.run(ME, ["printf", "%s|", "", *words]) == "|".join(["", *words, ""])


# a service on a socket


@pytest.fixture
def served(tmp_path):
    """Return a function that serves with a shell script and returns its whole output."""
    with socket.socket(socket.AF_UNIX) as listener:

        def serve(script, bind_to=tmp_path / "folder" / "a.sock", log=tmp_path / "log"):
            process = privileges.serve(
                ME,
                ["sh", "-c", script],
                listener,
                bind_to=str(bind_to),
                log_path=str(log),
                extra_environment={"EXTRA": "1"},
            )
            process.wait(10)
            return log.read_text()

        yield serve


def test_a_service_finds_its_socket(served):
    text = served("echo $$ $LISTEN_PID $LISTEN_FDS $EXTRA; ls -l /proc/$$/fd")
    pid, listen_pid, fds, extra = text.splitlines()[0].split()
    assert (pid, fds, extra) == (listen_pid, "1", "1")
    opened = {line.split()[8]: line.split()[10] for line in text.splitlines()[2:]}
    assert sorted(opened) == ["0", "1", "2", "3"]
    assert opened["0"] == "/dev/null"
    assert opened["1"].endswith("/log")
    assert opened["3"].startswith("socket:")


def test_the_socket_and_its_folder_are_private(served, tmp_path):
    served("true")
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "folder" / "a.sock").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_symlink_in_the_way_is_replaced_not_followed(served, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.sock").symlink_to(victim)
    (tmp_path / "log").symlink_to(victim)
    assert served("echo hello") == "hello\n"
    assert victim.read_text() == "untouched"
    assert (tmp_path / "folder" / "a.sock").is_socket()
    assert not (tmp_path / "log").is_symlink()


@pytest.mark.parametrize(
    ("bind_to", "complaint"),
    [
        ("missing/folder/a.sock", "listening on .*FileNotFoundError"),
        ("file/a.sock", "listening on .*NotADirectoryError"),
        ("folder", "listening on .*(IsADirectoryError|PermissionError)"),
        ("x" * 200, "listening on .*OSError: AF_UNIX path too long"),
    ],
)
def test_a_socket_that_cannot_be_bound(served, tmp_path, bind_to, complaint):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ServiceError, match=complaint) as caught:
        served("true", bind_to=tmp_path / bind_to)
    assert caught.value.socket == str(ME.socket_path)
    assert not Path(tmp_path / "log").exists()


def test_several_may_put_their_sockets_in_one_place(tmp_path):
    """Two Hubs, or a Hub and a script, wake an account at the same moment."""

    def serve(_):
        with socket.socket(socket.AF_UNIX) as listener:
            privileges.serve(
                ME,
                ["true"],
                listener,
                bind_to=str(tmp_path / "folder" / "a.sock"),
                log_path=str(tmp_path / "log"),
            ).wait(30)

    with ThreadPoolExecutor(4) as pool:
        assert len([*pool.map(serve, range(200))]) == 200


LOGIN_UID = Path("/proc/self/loginuid")
NOBODY_YET = "4294967295"


@pytest.fixture
def audited():
    if not LOGIN_UID.exists():
        pytest.skip("this kernel does not audit")
    return LOGIN_UID.read_text()


def test_the_audit_names_the_account_if_nobody_yet(served, audited):
    """What is set stays: on a developer's own host that is the developer."""
    assert served("cat /proc/self/loginuid") == (str(ME.uid) if audited == NOBODY_YET else audited)


def test_the_audit_goes_on_naming_who_started_the_hub(audited, tmp_path):
    log = tmp_path / "log"
    hub = 'echo 54321 >/proc/self/loginuid; cat /proc/self/loginuid; exec "$@"'
    become = [sys.executable, "-I", "-S", privileges._BECOME]
    with (tmp_path / "status").open("w") as status:
        arguments = [
            status.fileno(),
            ME.uid,
            ME.gid,
            ME.gid,
            "",
            log,
            "cat",
            "/proc/self/loginuid",
        ]
        before = subprocess.run(
            ["sh", "-c", hub, "sh", *become, *map(str, arguments)],
            env={"PATH": privileges.PATH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=[status.fileno()],
            text=True,
            check=True,
        ).stdout
    assert before == ("54321" if audited == NOBODY_YET else before)
    assert log.read_text() == before


def test_a_short_errand_is_no_login(audited):
    assert privileges.run(ME, ["cat", "/proc/self/loginuid"]) == audited


def test_who_prints_without_end_is_ended():
    """Long before the time is over: to read it all would keep the Hub from others."""
    told = []
    began = time.monotonic()
    with pytest.raises(ServiceError, match="printed more than"):
        privileges.run_to_end(ME, ["yes", ""], seconds=60, tell=told.append)
    assert time.monotonic() - began < 20
    assert 500_000 < len(told) < 1_100_000
