"""Real Unix accounts, made for tests and removed with all that is theirs."""

from __future__ import annotations

import contextlib
import fcntl
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
NO_SUBORDINATE_IDS = ("-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0")
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
        uid = self.account.uid
        return [pid for pid in _running() if _owner(pid) == uid and word in _command_line(pid)]

    def all_processes(self) -> dict[int, str]:
        """Return the command lines of all that runs as the account or its subordinate ids."""
        subuids, uid = _subordinate_uids(self.name), self.account.uid
        return {
            pid: _command_line(pid)
            for pid in _running()
            if (owner := _owner(pid)) == uid or owner in subuids
        }

    def clear(self) -> tuple[list[str], list[str]]:
        """Remove the account's containers and secrets; return what there was of each."""
        containers, secrets = self.containers(), self.podman("secret", "ls", "-q").split()
        if containers:
            self.podman("rm", "-f", "-t", "0", *containers)
        if secrets:
            self.podman("secret", "rm", *secrets)
        return containers, secrets

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


def change_accounts(*command: str, **options) -> None:
    """Run a tool of the host's accounts; it gives up when another one has locked the files."""
    for _ in range(60):
        done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
        if "lock" not in done.stderr:
            break
        time.sleep(0.5)
    assert done.returncode == 0, done.stderr


@contextmanager
def by_hand():
    """Hold back the tools that change accounts: what is written beside them would be lost.

    ref: lckpwdf(3)
    """
    with open("/etc/.pwd.lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


def booted() -> bool:
    """Whether this host runs systemd, which then makes runtime directories."""
    return Path("/run/systemd/system").is_dir()


@contextmanager
def real_account(*, subordinate_ids: bool = True, runtime_dir: bool = True):
    """Make an account with a home and subordinate ids; remove it and all that is its own.

    With systemd, one that has a runtime directory lingers, as one that has logged in does not.
    """
    if os.geteuid() != 0:
        pytest.fail("these tests make Unix accounts: run them as root")
    name = f"pst{secrets.token_hex(4)}"
    ids = () if subordinate_ids else NO_SUBORDINATE_IDS
    change_accounts("useradd", "-m", "-s", "/bin/bash", *ids, name)
    change_accounts("chpasswd", input=f"{name}:{PASSWORD}")
    uid = int(subprocess.check_output(["id", "-u", name]))
    try:
        if subordinate_ids and runtime_dir:
            _make_runtime_dir(name, uid)
        yield RealAccount(name)
    finally:
        if booted():
            subprocess.run(["loginctl", "disable-linger", name], check=True)
        _end_processes(uid, _subordinate_uids(name))
        if booted():
            _end_user_manager(uid)
        shutil.rmtree(f"/run/user/{uid}", ignore_errors=True)
        change_accounts("userdel", "-rf", name)


def _make_runtime_dir(name: str, uid: int) -> None:
    if booted():
        subprocess.run(["loginctl", "enable-linger", name], check=True)
        subprocess.run(["systemctl", "start", f"user@{uid}.service"], check=True)
    else:
        runtime = Path(f"/run/user/{uid}")
        shutil.rmtree(runtime, ignore_errors=True)  # of a former account with this uid
        runtime.mkdir(mode=0o700, parents=True)
        # with another group than the account's, Podman opens the folder to everybody
        os.chown(runtime, uid, int(subprocess.check_output(["id", "-g", name])))


def _end_user_manager(uid: int) -> None:
    """See logind forget the account: the next one of that uid must not meet it half ended."""
    subprocess.run(["loginctl", "terminate-user", str(uid)], check=False, capture_output=True)
    units = [f"user@{uid}.service", f"user-runtime-dir@{uid}.service"]
    subprocess.run(["systemctl", "stop", *units], check=True)
    subprocess.run(["systemctl", "reset-failed", *units], check=False, capture_output=True)
    for _ in range(300):
        shown = subprocess.run(
            ["loginctl", "show-user", str(uid)], check=False, capture_output=True
        )
        if shown.returncode:
            return
        time.sleep(0.1)
    raise AssertionError(f"logind does not forget uid {uid}")


def _end_processes(uid: int, subuids: range) -> None:
    """Kill what runs as the account or as one of its subordinate ids, and see it gone."""
    for _ in range(100):
        left = [pid for pid in _running() if (owner := _owner(pid)) == uid or owner in subuids]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    raise AssertionError(f"these processes of uid {uid} do not end: {left}")


def _running() -> list[int]:
    """Return the pids of all processes but zombies, which their parents will reap."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _status(pid).get("State", "Z")[0] != "Z"]


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _owner(pid: int) -> int:
    return int(_status(pid).get("Uid", "-1").split()[0])


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _subordinate_uids(name: str) -> range:
    for line in Path("/etc/subuid").read_text().splitlines():
        owner, start, count = line.split(":")
        if owner == name:
            return range(int(start), int(start) + int(count))
    return range(0)
