#!/usr/bin/env python3
"""Test machines: a Debian with systemd, logind and user managers, booted in namespaces.

``. .ci/env && tests/machines/machine.py NAME [COMMAND …]``, as root, boots one, runs a command in
it (or a shell) and ends it; ``make machine NAME=trixie`` gives a shell too. Options before the
name choose another runtime, another helper for networks, another JupyterHub.

All that a machine writes is in memory, and all its mounts and processes are in namespaces that
end with its first process, which the kernel kills when this one ends, however it does. A small
process that waits for just that removes the control group.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from virtual import VirtualMachine

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
NAMES = ("bookworm", "trixie", "forky")
"""Those in namespaces; ``limits`` is the one in ``virtual.py``."""
BOOT_SECONDS = 60
SLOTS = 20
CARRIED = [f"PODMANSPAWNER_{name}" for name in ("CACHE", "IMAGE", "TINY", "TINY_JOVYAN")]
"""What ``.ci/env`` says of the cache, which is at the same place in a machine."""


REAP = """
    cat
    echo 1 >"$0/cgroup.kill"
    while grep -q "populated 1" "$0/cgroup.events"; do sleep 0.05; done
    find "$0" -depth -type d -exec rmdir {} \\;
"""


class Slot:
    """A machine's place on its host: a control group, and numbers for its accounts."""

    def __init__(self) -> None:
        """Take the first place that is free."""
        unified = Path("/sys/fs/cgroup/unified")  # cgroups in hybrid mode
        parent = unified if unified.is_dir() else Path("/sys/fs/cgroup")
        for self.number in range(SLOTS):
            self.group = parent / f"podmanspawner-machine-{self.number}"
            if self._take():
                return
        raise SystemExit(f"there are {SLOTS} machines already")

    def _take(self) -> bool:
        """Lock the group, and start the process that removes it when this one ends, anyhow."""
        self.group.mkdir(exist_ok=True)
        lock = os.open(self.group, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.group.stat().st_ino != os.fstat(lock).st_ino:
                return False
            self._reaper = subprocess.Popen(
                ["sh", "-c", REAP, self.group],
                stdin=subprocess.PIPE,
                pass_fds=[lock],  # it is who holds the lock
                start_new_session=True,
            )
        except (BlockingIOError, FileNotFoundError):  # taken, or removed a moment ago
            return False
        finally:
            os.close(lock)
        return True

    def release(self) -> None:
        """Kill what is in the group and remove it."""
        self._reaper.stdin.close()
        self._reaper.wait()

    @property
    def first_uid(self) -> int:
        return 20000 + 1000 * self.number

    @property
    def first_subuid(self) -> int:
        return 1_000_000_000 + 100_000_000 * self.number


@dataclass
class Machine:
    """One machine, from ``with`` to its end."""

    name: str
    pid: int = 0
    """Its first process, as its host sees it."""
    network: str = ""
    """``"slirp4netns"``: pasta is not installed, and Podman told so."""
    runtime: str = ""
    """``"crun"`` or ``"runc"``, if not as Debian has it."""
    jupyterhub: str = "6"
    PYTHON: ClassVar = "/opt/venv/bin/python"

    def __enter__(self) -> Machine:
        with contextlib.ExitStack() as stack:
            root, venv = build(self.name, self.jupyterhub)
            self.slot = Slot()
            stack.callback(self.slot.release)
            self._start(root, venv)
            stack.callback(self._end)
            self._wait_until_booted()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, root: str, venv: str) -> None:
        join = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
        namespaces = ["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child"]
        unshare = ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, HERE / "init"]
        self._process = subprocess.Popen(
            ["sh", "-c", join, self.slot.group, *unshare],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is for whoever uses the machine
            env={
                "PATH": os.environ["PATH"],
                "ROOT": root,
                "VENV": venv,
                "TOP": str(TOP),
                "CACHE": str(Path(root).parent),
                "NAME": f"{self.name}{self.slot.number}",
                "NETWORK": self.network,
                "RUNTIME": self.runtime,
                "FIRST_UID": str(self.slot.first_uid),
                "FIRST_SUBUID": str(self.slot.first_subuid),
            },
        )

    def _end(self) -> None:
        """Kill ``unshare``; the first process does not outlive it, nor do the others that."""
        self._process.kill()
        self._process.wait()

    def _wait_until_booted(self) -> None:
        unshare = self._process.pid
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise SystemExit(f"{self.name} ended with status {self._process.returncode}")
            with contextlib.suppress(ValueError):
                self.pid = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())
            if self.pid and Path(f"/proc/{self.pid}/comm").read_text() == "systemd\n":
                state = self._inside("systemctl", "is-system-running").stdout.strip()
                if state in ("running", "degraded"):
                    break
            time.sleep(0.2)
        else:
            raise SystemExit(f"{self.name} does not boot:\n{self._complaints()}")
        if state == "degraded":
            raise SystemExit(f"{self.name} is degraded:\n{self._complaints()}")

    def _complaints(self) -> str:
        return "".join(
            self._inside(*command).stdout
            for command in (
                ["systemctl", "list-jobs"],
                ["systemctl", "--failed"],
                ["journalctl", "--no-pager", "-n", "40"],
            )
        )

    def _nsenter(self, *command: str) -> list[str]:
        environment = ["HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        return ["nsenter", "-t", str(self.pid), "-a", "env", "-i", *environment, *command]

    def _inside(self, *command: str) -> subprocess.CompletedProcess:
        """Run a command before systemd can, or when it cannot."""
        return subprocess.run(
            self._nsenter(*command), capture_output=True, text=True, timeout=30, check=False
        )

    def command(self, *command: str, terminal: bool = False) -> list[str]:
        """Return the words that run a command as root in the machine, in a unit of its own."""
        carried = {name: os.environ[name] for name in CARRIED}
        return self._nsenter(*inner_command(*command, terminal=terminal, settings=carried))

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        """Run a command as root in the machine; options as of ``subprocess.run``."""
        options = {"check": True, "text": True, "timeout": 120, **options}
        return subprocess.run(self.command(*command), **options)


def inner_command(*command: str, terminal: bool, settings: dict[str, str]) -> list[str]:
    """Return the words that, in a machine, run a command in a unit of its own."""
    proxy = f"{os.environ['PODMANSPAWNER_CACHE']}/chp-5/node_modules/.bin"
    settings = {
        **settings,
        "PATH": f"/opt/venv/bin:{proxy}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        # the checkout is only read
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
    }
    if terminal:
        settings["TERM"] = os.environ.get("TERM", "dumb")
    run = ["systemd-run", "--quiet", "--wait", "--collect", "--pty" if terminal else "--pipe"]
    run += [f"--setenv={name}={value}" for name, value in settings.items()]
    run += ["--working-directory=/podmanspawner", "--property=Delegate=yes", "--", "env"]
    return [*run, *command]


def build(name: str, jupyterhub: str = "6") -> list[str]:
    """Return the folders of a machine's root and virtual environment; built if they are not."""
    command = [HERE / "build", name, jupyterhub]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return made.stdout.split()


def _virtual_machine() -> VirtualMachine:
    sys.path.append(str(HERE.parent))  # this file is run by its path, too
    from virtual import VirtualMachine  # noqa: PLC0415, it imports this module

    return VirtualMachine()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=("slirp4netns",), default="")
    parser.add_argument("--runtime", choices=("crun", "runc"), default="")
    parser.add_argument("--jupyterhub", choices=("5", "6"), default="6")
    parser.add_argument("name", choices=(*NAMES, "limits"))
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def main() -> int:
    """Boot the machine of the first argument and run what the others say in it."""
    asked = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    variant = {name: getattr(asked, name) for name in ("network", "runtime", "jupyterhub")}
    with Machine(asked.name, **variant) if asked.name in NAMES else _virtual_machine() as machine:
        terminal = not asked.command or sys.stdin.isatty()
        words = asked.command or ["bash", "-l"]
        return subprocess.call(machine.command(*words, terminal=terminal))


if __name__ == "__main__":
    sys.exit(main())
