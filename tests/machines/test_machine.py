"""What a machine is, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import machine as machines

SCRIPT = machines.HERE / "machine.py"


def test_it_has_systemd_logind_and_user_managers(machine):
    shown = machine.run("ps", "-o", "comm=", "-p", "1", capture_output=True).stdout
    assert shown == "systemd\n"
    machine.run("useradd", "-m", "one")
    machine.run("loginctl", "enable-linger", "one")
    machine.run("systemctl", "--user", "--machine=one@.host", "start", "podman.socket")
    uid = int(machine.run("id", "-u", "one", capture_output=True).stdout)
    assert uid >= machine.slot.first_uid
    podman = ["runuser", "-u", "one", "--", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "podman"]
    asked = machine.run(*podman, "--remote", "info", "--format", "{{.Host.CgroupManager}}",
                        capture_output=True)  # fmt: skip
    assert asked.stdout == "systemd\n"
    machine.run("loginctl", "disable-linger", "one")
    machine.run("loginctl", "terminate-user", "one")
    machine.run("sh", "-c", "until userdel -rf one 2>/dev/null; do sleep 0.2; done")


def test_a_failure_in_it_is_a_failure(machine):
    assert machine.run("sh", "-c", "exit 7", check=False).returncode == 7
    assert machine.run("pytest", "tests/none", check=False, capture_output=True).returncode == 4


def test_the_virtual_one_is_found_by_its_script():
    """As ``make machine NAME=limits`` runs it: with no other folder to import from."""
    script = "import machine; machine._virtual_machine()"
    subprocess.run([sys.executable, "-c", script], cwd=machines.HERE, check=True)


def test_the_checkout_is_only_read(machine):
    assert machine.run("touch", "here", check=False, capture_output=True).returncode != 0


def descendants(pid):
    """Return the pids of a process's children, and theirs, in whatever namespace."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # ended meanwhile
            for child in children.read_text().split():
                found += [child, *descendants(child)]
    return found


def group_of(pids):
    """Return the machine's control group, once one of the processes has joined it."""
    for pid in pids:
        with contextlib.suppress(OSError):
            *_, joined = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            if found := re.search("podmanspawner-machine-[0-9]+", joined):
                return found[0]
    return ""


def mounts():
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if "podmanspawner" in line]


@pytest.mark.parametrize(
    "how", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how and how.name
)
@pytest.mark.parametrize("after", ["at once", "when it works"])
def test_nothing_is_left(how, after):
    before = mounts()
    command = ["sh", "-c", "echo works; sleep 60" if how else "echo works"]
    process = subprocess.Popen(
        [sys.executable, SCRIPT, machines.NAMES[0], *command], stdout=subprocess.PIPE, text=True
    )
    if after == "when it works":
        assert process.stdout.readline() == "works\n"
    group = until(lambda: group_of(descendants(process.pid)))
    pids = descendants(process.pid)
    folder = next(Path("/sys/fs/cgroup").glob(f"**/{group}"))
    if how:
        process.send_signal(how)
    process.wait(30)
    until(lambda: not folder.exists())
    until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
    assert mounts() == before


def until(condition):
    end = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_two_at_once():
    """Machines are apart: each has its own numbers for accounts."""
    with machines.Machine("trixie") as one, machines.Machine("trixie") as two:
        uids = [
            booted.run("sh", "-c", "useradd -m a && id -u a", capture_output=True).stdout
            for booted in (one, two)
        ]
    assert uids[0] != uids[1]
