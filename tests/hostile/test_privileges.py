"""What root does in the folders of an account, and what an account learns from the Hub: nothing.

A server's whole life is traced, system call by system call, and so is every process that it needs.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN, archive, real_account
from hub import Hub
from lone import ANSWERING

SECRETS = {
    "CONFIGPROXY_AUTH_TOKEN": "marker-proxy",
    "JUPYTERHUB_CRYPT_KEY": "marker-crypt",
    "JUPYTERHUB_COOKIE_SECRET": "marker-cookie",
    "SECRET_OF_THE_HUB": "marker-of-the-hub",
    "LD_LIBRARY_PATH": "/marker-library",
}
CALLS = "%file,%process,%creds,fchown,fchmod,bind,connect,ftruncate"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<words>.*)\) += (?P<result>.*)")
_FOLDER = re.compile(r"(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
CHANGING = re.compile(
    r"mkdir|rmdir|unlink|rename|link|symlink|mknod|.*chown|.*chmod|.*truncate|.*xattr|utime|bind"
)
STRACE = ("strace", "-f", "-y", "-v", "-s", "100000", "--seccomp-bpf", "-e", CALLS)
FORKS = ("clone", "clone3", "fork", "vfork")
LOOKING = {"openat": "O_PATH", "newfstatat": "AT_SYMLINK_NOFOLLOW", "statx": "AT_SYMLINK_NOFOLLOW"}


def whole_calls(trace):
    """Yield the lines of a trace, those that another process interrupted put together."""
    begun = {}
    for line in trace.read_text(errors="replace").splitlines():
        pid = line.split()[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
        elif resumed := re.match(r"\d+ +<\.\.\. \w+ resumed>(.*)", line):
            yield begun.pop(pid, pid) + resumed.group(1)
        else:
            yield line


class Trace:
    """What a traced program and all that it started did, and as whom."""

    def __init__(self, file: Path) -> None:
        self.uids: dict[str, int] = {}
        self.as_root: list[tuple[str, str, list[str]]] = []
        """Of each call: its name, its words, the paths that it names."""
        self.programs: list[tuple[int, str, str]] = []
        """Of each program that was started: as whom, which, its environment."""
        calls = [found.groups() for line in whole_calls(file) if (found := _LINE.match(line))]
        self._parents = {result.split()[0]: pid for pid, call, _, result in calls if call in FORKS}
        self.uids[calls[0][0]] = 0
        for call in calls:
            self._add(*call)

    def _uid(self, pid):
        """Return as whom a process runs; one of unknown parents is in a container."""
        if pid not in self.uids:
            self.uids[pid] = self._uid(self._parents[pid]) if pid in self._parents else -1
        return self.uids[pid]

    def _add(self, pid, call, words, result):
        uid = self._uid(pid)
        if call == "setresuid" and result == "0":
            # who has dropped root is 0 again only in a user namespace of its own
            self.uids[pid] = uid or int(words.split(",")[0])
        elif call == "execve" and result == "0":
            self.programs.append((uid, *_program(words)))
        elif uid == 0:
            self.as_root.append((call, words, _paths(words)))


def _program(words):
    path, _, rest = words.partition(", ")
    return ast.literal_eval(path), rest


def _paths(words):
    """Return the absolute paths that a call's words name."""
    folder, paths = "/", [found.group("folder") for found in _FOLDER.finditer(words)]
    if paths:
        folder = paths[0]
    texts = [text.encode().decode("unicode_escape") for text in _QUOTED.findall(words)]
    return paths + [os.path.normpath(os.path.join(folder, text)) for text in texts]


def traced(account, folder):
    """Trace a server's life and return the trace, and how it ended."""
    if not shutil.which("strace"):
        pytest.fail("strace is missing; run '.ci/setup test'")
    file = folder / "trace"
    life = str(Path(__file__).with_name("life.py"))
    done = subprocess.run(
        [*STRACE, "-o", str(file), sys.executable, life, account.name],
        env={**os.environ, **SECRETS, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return Trace(file), done


@pytest.fixture(scope="module")
def owner():
    """An account whose service no other test has started."""
    with real_account() as made:
        made.load(TINY_JOVYAN)
        yield made


@pytest.fixture(scope="module")
def account(owner):
    return owner.account


class TracedHub(Hub):
    """A Hub that runs under strace, which keeps Ctrl-C from itself."""

    def stop(self):
        pid = self.process.pid
        hub = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(hub, signal.SIGINT)
        self.process.wait(60)
        super().stop()


OF_THE_ACCOUNT = """
c.PodmanSpawner.image = "docker-archive:{home}/image.tar"
c.PodmanSpawner.volumes = {{"{home}/new/folder": "/new", "of-{{username}}": "/data"}}
c.PodmanSpawner.create_sources = True
c.PodmanSpawner.podman_additional_cmds = ["--env-file={home}/variables"]
c.PodmanSpawner.token_as_secret = "file"
c.PodmanSpawner.delete_volumes = True
c.PodmanSpawner.pull_policy = "missing"
"""
"""What leads into an account's folders: an image to import, a folder to make, a file to read."""


def traced_hub(owner, folder):
    """Trace a Hub that starts a server, is asked for it, stops it and deletes its user."""
    file, home = folder / "trace", owner.account.home
    owner.run(
        "sh", "-c", f"cp {archive(TINY_JOVYAN)} {home}/image.tar; echo A=b >{home}/variables"
    )
    config = (
        f"c.Spawner.cmd = {ANSWERING!r}\nimport os\nos.environ.update({SECRETS!r})\n"
        + OF_THE_ACCOUNT.format(home=home)
    )
    hub = TracedHub(folder, config)
    hub.tracer = (*STRACE, "-o", str(file))
    with hub:
        hub.begin(owner.name)
        assert "A=b" in owner.podman("inspect", "-l")
        hub.end(owner.name)
        hub.api("DELETE", f"users/{owner.name}").raise_for_status()
    assert Path(home, "new/folder").stat().st_uid == owner.account.uid
    assert owner.podman("volume", "ls", "-q") == ""
    return Trace(file)


@pytest.fixture(scope="module", params=["spawner", "hub"])
def found(request, owner, account, tmp_path_factory):
    """What was seen in the life of a server."""
    folder = tmp_path_factory.mktemp("trace")
    if request.param == "hub":
        return traced_hub(owner, folder)
    seen, done = traced(account, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert owner.containers() == []
    return seen


def below(path, *folders):
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def test_root_only_looks_at_what_an_account_owns(account, found):
    """And never through a symlink; the file that it looks at is held, not named again."""
    looked = 0
    for call, words, paths in found.as_root:
        touched = any(below(path, account.home, str(account.runtime_dir)) for path in paths)
        if touched and "AT_EMPTY_PATH" not in words and call != "connect":
            assert LOOKING.get(call, "nothing") in words, (call, words)
            assert "NOFOLLOW" in words, (call, words)
            looked += 1
    assert looked >= 3, "the runtime directory, the folder, the socket"


def changes(account, found):
    """Yield what root changed in the home, or among the runtime directories."""
    for call, words, paths in found.as_root:
        writes = call == "openat" and re.search(r"O_(WRONLY|RDWR|CREAT)", words)
        if (writes or CHANGING.match(call)) and any(
            below(path, account.home, "/run/user") for path in paths
        ):
            yield call, *(path for path in paths if path != "/")


def test_root_changes_nothing(account, found):
    assert list(changes(account, found)) == []


def test_root_makes_the_runtime_directory_and_nothing_else(tmp_path):
    """On a host where no logind does; a traced podman then makes no namespace, and ends."""
    with real_account() as made:
        account = made.account
        account.runtime_dir.rmdir()
        seen, done = traced(account, tmp_path)
        assert account.runtime_dir.stat().st_uid == account.uid
    assert "HTTPError" in done.stderr
    changed = list(changes(account, seen))
    assert len(changed) == 4, changed
    staging = changed[1][1]
    assert re.fullmatch(rf"/run/user/\.{account.uid}\.[a-z0-9_]+", staging)
    assert changed == [
        ("mkdir", "/run/user"),  # which is there
        ("mkdir", staging),
        ("chown", staging),
        ("rename", staging, str(account.runtime_dir)),
    ]


def test_root_connects_to_what_it_holds(found):
    to = [words for call, words, _ in found.as_root if call == "connect" and "AF_UNIX" in words]
    ours = [words for words in to if "/run/user" in words or "/proc/self" in words]
    assert ours
    assert all('sun_path="/proc/self/fd/' in words for words in ours), ours


def test_nothing_of_the_hubs_environment_is_passed_on(account, found):
    """Neither to what runs as the account, nor to what is about to become it."""
    theirs = [each for each in found.programs if each[0] != 0 or "/_become.py" in each[2]]
    assert len([uid for uid, _, _ in theirs if uid == account.uid]) >= 3
    assert len([uid for uid, _, _ in theirs if uid == 0]) >= 1
    for uid, program, words in theirs:
        assert "marker" not in words, (uid, program)
        assert "proxy-secret" not in words, (uid, program)


def test_what_runs_as_whom(found):
    as_account = {os.path.basename(program) for uid, program, _ in found.programs if uid != 0}
    assert {"podman", "conmon"} <= as_account
    as_root = {os.path.basename(program) for uid, program, _ in found.programs if uid == 0}
    assert as_root.isdisjoint(as_account)
