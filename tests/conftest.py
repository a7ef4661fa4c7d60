"""Real accounts for the tests that need them, made and removed here."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from podmanspawner import Account

PASSWORD = "correct horse battery staple"
TINY = "localhost/podmanspawner/tiny:latest"
TINY_JOVYAN = "localhost/podmanspawner/tiny-jovyan:latest"
SINGLEUSER = "localhost/podmanspawner/singleuser:latest"
ARCHIVES = {
    TINY: "PODMANSPAWNER_TINY",
    TINY_JOVYAN: "PODMANSPAWNER_TINY_JOVYAN",
    SINGLEUSER: "PODMANSPAWNER_IMAGE",
}


@dataclass(frozen=True)
class RealAccount:
    """A Unix account that a test made."""

    name: str

    @property
    def account(self) -> Account:
        return Account.lookup(self.name)

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        """Run a command as the account, as a login shell would."""
        account = self.account
        options = {"check": True, "capture_output": True, "text": True, "timeout": 120, **options}
        return subprocess.run(
            command,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=list(account.groups),
            env={
                "HOME": account.home,
                "USER": self.name,
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "XDG_RUNTIME_DIR": str(account.runtime_dir),
                **options.pop("env", {}),
            },
            **options,
        )

    def podman(self, *arguments: str, **options) -> str:
        """Run ``podman`` as the account and return what it prints."""
        return self.run("podman", *arguments, **options).stdout

    def containers(self, *arguments: str) -> list[str]:
        """Return the names of the account's containers, in any state."""
        return self.podman("ps", "-a", "--format", "{{.Names}}", *arguments).split()

    def processes(self, word: str) -> list[int]:
        """Return the pids of the account's processes whose command line has the word."""
        return [pid for pid in _pids_of(self.account.uid) if word in _command_line(pid)]

    def load(self, image: str) -> None:
        if self.run("podman", "image", "exists", image, check=False).returncode == 0:
            return
        self.podman("load", "-q", "-i", archive(image))


def archive(image: str) -> str:
    """Return the path of an image's archive, or fail saying how to get it."""
    variable = ARCHIVES[image]
    path = os.environ.get(variable, "")
    if not Path(path).is_file():
        pytest.fail(f"{variable} names no image archive; run '.ci/setup test' and '. .ci/env'")
    return path


@contextmanager
def real_account(*, subordinate_ids: bool = True):
    """Make an account with a home and subordinate ids; remove it and all that is its own."""
    if os.geteuid() != 0:
        pytest.fail("these tests make Unix accounts: run them as root")
    name = f"pst{secrets.token_hex(4)}"
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], check=True)
    subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}", text=True, check=True)
    uid = int(subprocess.check_output(["id", "-u", name]))
    if not subordinate_ids:
        for file in ("/etc/subuid", "/etc/subgid"):
            subprocess.run(["sed", "-i", f"/^{name}:/d", file], check=True)
    else:
        runtime = Path(f"/run/user/{uid}")
        runtime.mkdir(mode=0o700, parents=True)
        os.chown(runtime, uid, uid)
    try:
        yield RealAccount(name)
    finally:
        _end_processes(uid)
        shutil.rmtree(f"/run/user/{uid}", ignore_errors=True)
        subprocess.run(["userdel", "-r", name], check=True, capture_output=True)


def _pids_of(uid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _end_processes(uid: int) -> None:
    """Kill what runs as the account or as one of its subordinate ids."""
    entry = subprocess.run(["id", "-un", str(uid)], capture_output=True, text=True, check=True)
    owned = [uid]
    for line in Path("/etc/subuid").read_text().splitlines():
        name, start, count = line.split(":")
        if name == entry.stdout.strip():
            owned = [uid, *range(int(start), int(start) + min(int(count), 65536))]
    owned = set(owned)
    for _ in range(50):
        left = []
        for proc in Path("/proc").iterdir():
            if proc.name.isdigit():
                try:
                    if proc.stat().st_uid in owned:
                        left.append(int(proc.name))
                except OSError:
                    continue
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)


@pytest.fixture(scope="session")
def ada():
    with real_account() as made:
        yield made


@pytest.fixture(scope="session")
def bob():
    with real_account() as made:
        yield made


@pytest.fixture
def fresh():
    """An account of a test's own."""
    with real_account() as made:
        yield made
