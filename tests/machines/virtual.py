"""A virtual machine with a kernel of its own, hence with every cgroup controller and auditing.

Debian 13 in software emulation: it needs no right to virtualise, and takes one to two minutes to
boot. Its disk stays as it is; the checkout and the images come on a second one.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from free_ports import free_port
from machine import HERE, TOP, inner_command

BOOT_SECONDS = 400
TINY = ("PODMANSPAWNER_TINY", "PODMANSPAWNER_TINY_JOVYAN")


class VirtualMachine:
    """The machine ``limits``, from ``with`` to its end."""

    name = "limits"

    def __enter__(self) -> VirtualMachine:
        with contextlib.ExitStack() as stack:
            disk = Path(_output(HERE / "build-disk").strip())
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
            self._make_second_disk()
            self._port = free_port()
            self._start(disk)
            stack.callback(self._end)
            self._wait_until_booted()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make_second_disk(self) -> None:
        content = self._folder / "work"
        shutil.copytree(
            TOP,
            content / "checkout",
            symlinks=True,
            ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"),
        )
        (content / "cache").mkdir()
        for variable in TINY:
            shutil.copy(os.environ[variable], content / "cache")
        _output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / "key")
        shutil.copy(self._folder / "key.pub", content)
        _output("truncate", "-s", "300M", self._folder / "work.img")
        _output("mke2fs", "-q", "-t", "ext4", "-F", "-d", content, self._folder / "work.img")

    def _start(self, disk: Path) -> None:
        image = "format=raw,if=virtio"
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
                *("-accel", "tcg,thread=multi", "-cpu", "max", "-m", "3G", "-smp", "2"),
                *("-kernel", disk / "vmlinuz", "-initrd", disk / "initrd"),
                *("-append", "root=/dev/vda rw console=ttyS0 quiet audit=1"),
                *("-drive", f"file={disk / 'disk.img'},{image},snapshot=on"),
                *("-drive", f"file={self._folder / 'work.img'},{image},readonly=on"),
                # nothing but this one port leads in, and nothing out
                "-nic",
                f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22",
                *("-nographic", "-monitor", "none"),
                *("-serial", f"file:{self._folder / 'console.log'}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(self._folder)},
        )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait_until_booted(self) -> None:
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            ask = self._ssh("systemctl", "is-system-running", "--wait")
            asked = subprocess.run(ask, capture_output=True, text=True, check=False)
            if asked.stdout.strip() in ("running", "degraded"):
                return
            time.sleep(1)
        console = (self._folder / "console.log").read_text(errors="replace")
        raise SystemExit(f"{self.name} does not boot:\n{console[-4000:]}")

    def _ssh(self, *command: str, terminal: bool = False) -> list[str]:
        options = {
            "IdentityFile": self._folder / "key",
            "Port": self._port,
            "UserKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "no",
            "LogLevel": "ERROR",
            "ConnectTimeout": 20,
            # one connection for all, since each takes seconds in emulation
            "ControlMaster": "auto",
            "ControlPath": self._folder / "ssh",
            "ControlPersist": "600",
        }
        words = [f"-o{name}={value}" for name, value in options.items()]
        words += ["-t"] if terminal else []
        return ["ssh", *words, "root@127.0.0.1", shlex.join(command)]

    def command(self, *command: str, terminal: bool = False) -> list[str]:
        """Return the words that run a command as root in the machine, in a unit of its own."""
        cache = {name: f"/work/cache/{Path(os.environ[name]).name}" for name in TINY}
        inner = inner_command(*command, terminal=terminal, settings=cache)
        return self._ssh(*inner, terminal=terminal)

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        """Run a command as root in the machine; options as of ``subprocess.run``."""
        options = {"check": True, "text": True, "timeout": 600, **options}
        return subprocess.run(self.command(*command), **options)


def _output(*command: str | Path) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
