"""What is said of a server that ran out of memory, by the engine's word and the kernel's."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fake_service import ME
from podmanspawner import cgroups
from podmanspawner.answers import Container, ContainerState
from podmanspawner.cgroups import memory_events, memory_kills
from podmanspawner.ports import free_port
from podmanspawner.server import ServerEnded, how_it_ended, memory_limit
from podmanspawner.watch import Watch

STATE = ContainerState("exited", False, 137, 0, 0.0, True, "")
ENDED = Container("0" * 12, "a", "0" * 12, {}, {}, (), STATE, "crun", 512 << 20)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (ENDED, "exit code 137, out of memory, limit 512 MB"),
        (
            replace(ENDED, memory_limit=0),
            "exit code 137, out of memory, without a limit of its own",
        ),
        (replace(ENDED, state=replace(STATE, oom_killed=False)), "exit code 137"),
        (
            replace(ENDED, state=replace(STATE, exit_code=1)),
            "exit code 1, one of its processes was out of memory before, limit 512 MB",
        ),
        (
            replace(ENDED, state=replace(STATE, oom_killed=False, error="no")),
            "exit code 137, no",
        ),
    ],
)
def test_how_it_ended(ended, said):
    assert how_it_ended(ended) == said
    assert f"({said})" in str(ServerEnded(ended, ""))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (6 << 20, "6 MB"),
        (512 << 20, "512 MB"),
        (1 << 30, "1 GB"),
        (3 << 29, "1.5 GB"),
        (1000, "1000 bytes"),
        (4096, "4 KB"),
        (64 << 30, "64 GB"),
    ],
)
def test_sizes(size, said):
    assert memory_limit(size) == f"limit {said}"


@pytest.fixture
def process():
    with subprocess.Popen(["sleep", "100"]) as running:
        yield running
        running.kill()


@pytest.fixture
def group(tmp_path, process):
    """Return where the cgroup of the process is, in a tree of the test's own."""
    (line,) = (
        line
        for line in Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    folder = tmp_path / line.removeprefix("0::").lstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_kills_are_counted(tmp_path, process, group):
    assert memory_events(process.pid, root=tmp_path) == ""
    (group / "memory.events").write_text("low 0\noom 2\noom_kill 3\noom_group_kill 0\n")
    events = memory_events(process.pid, root=tmp_path)
    assert memory_kills(events) == 3
    (group / "memory.events").unlink()  # as the kernel does when the cgroup goes
    assert memory_kills(events) == 0
    process.kill()
    process.wait()
    assert memory_events(process.pid, root=tmp_path) == ""
    assert memory_kills("") == 0


def test_each_kill_is_new_once(tmp_path, process, group, monkeypatch):
    monkeypatch.setattr(cgroups.memory_events, "__kwdefaults__", {"root": tmp_path})
    (group / "memory.events").write_text("oom_kill 0\n")
    state = ContainerState("running", True, 0, process.pid, time.time(), False, "")
    held = Watch(ME, state, "127.0.0.1", free_port(), memory_limit=1 << 20)
    found = [held.new_kills()]
    assert not held.starved
    for kills in (2, 2, 5, 0):
        (group / "memory.events").write_text(f"oom_kill {kills}\n")
        found.append(held.new_kills())
    held.close()
    assert found == [0, 2, 0, 3, 0]
    assert held.starved, "also when the group is gone"
    assert held.memory_limit == 1 << 20


@pytest.mark.parametrize("name", [b"a\xffb", "a\u2028b".encode(), b" "])
def test_names_that_an_account_may_give(name, monkeypatch, tmp_path):
    """The kernel forbids a line's end in the name of a cgroup, and nothing else."""
    folder = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(folder)
    Path(os.fsdecode(folder), "memory.events").write_text("oom_kill 1\n")
    (tmp_path / "cgroup").write_bytes(b"1:name=systemd:/\n0::/" + name + b"\n")
    monkeypatch.setattr(cgroups, "Path", lambda *parts: tmp_path / parts[-1])
    assert memory_kills(memory_events(1, root=tmp_path)) == 1


def test_a_cgroup_out_of_sight(monkeypatch, tmp_path):
    """A Hub in a container sees its host's cgroups as ``/../…``."""
    (tmp_path / "cgroup").write_text("0::/../b\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/memory.events").write_text("oom_kill 1\n")
    monkeypatch.setattr(cgroups, "Path", lambda *parts: tmp_path / parts[-1])
    assert memory_events(1, root=tmp_path / "a") == ""


def test_a_cgroup_deeper_than_a_path_may_be(monkeypatch, tmp_path):
    """An account may nest its own as it likes."""
    (tmp_path / "cgroup").write_text("0::" + 3000 * "/ab" + "\n")
    monkeypatch.setattr(cgroups, "Path", lambda *parts: tmp_path / parts[-1])
    assert memory_events(1, root=tmp_path) == ""
