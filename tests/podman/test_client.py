"""Everything ``UserPodman`` does, done by a real account's Podman."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accounts import TINY, TINY_JOVYAN, archive
from free_ports import free_port
from podmanspawner import (
    AccountError,
    ContainerNotFound,
    ContainerSpec,
    HealthCheck,
    ImageNotFound,
    Mount,
    PodmanError,
    Port,
    PortTaken,
    ServiceError,
    SpecError,
    UntrustedServiceError,
    UserMapping,
    UserPodman,
    Volume,
)
from podmanspawner.ports import listener_uids
from podmanspawner.spec import LOG_BYTES
from podmanspawner.users import PROBE_LABEL

NOWHERE = "localhost/nobody/has-this:latest"


@pytest.fixture(scope="module", autouse=True)
def images(ada):
    ada.load(TINY)
    ada.load(TINY_JOVYAN)


@pytest.fixture
def podman(ada):
    with UserPodman.for_user(ada.name) as podman:
        yield podman
        assert podman.containers() == []


@pytest.fixture
def make(podman):
    """Return a function that creates a container; a text is a script for its shell."""
    made = []

    def create(script="sleep 60", **options):
        spec = {"image": TINY, "command": ["sh", "-c", script], "network": "none", **options}
        made.append(podman.create(ContainerSpec(**spec)))
        return made[-1]

    yield create
    for container in made:
        podman.remove(container)


@pytest.fixture
def begin(podman, make):
    def start(script="sleep 60", **options):
        container = make(script, **options)
        podman.start(container)
        return container

    return start


def test_version(podman):
    said = subprocess.check_output(["podman", "--version"], text=True)
    numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", said).groups()
    assert podman.engine_version == tuple(map(int, numbers))


# images


def test_exists(podman):
    assert podman.images.exists(TINY)
    assert podman.images.exists(podman.images.inspect(TINY).id)
    assert not podman.images.exists(NOWHERE)


def test_image(podman):
    image = podman.images.inspect(TINY_JOVYAN)
    assert (image.user, image.working_dir) == ("jovyan", "/home/jovyan")
    assert image.environment == {"PATH": "/bin", "HOME": "/home/jovyan"}
    assert (image.command, image.entrypoint) == (("/bin/sh",), ())


@pytest.mark.parametrize("policy", ["missing", "never", "newer"])
def test_ensure_takes_what_is_there(podman, policy):
    assert podman.images.ensure(TINY, policy) == podman.images.inspect(TINY)


@pytest.mark.parametrize(
    ("reference", "policy", "said"),
    [
        (NOWHERE, "never", "There is no image"),
        (NOWHERE, "missing", "could not be pulled"),
        (NOWHERE, "newer", "could not be pulled"),
        (TINY, "always", "could not be pulled"),
    ],
)
def test_ensure_cannot(podman, reference, policy, said):
    with pytest.raises(ImageNotFound, match=f"{said}.*pull_policy") as caught:
        podman.images.ensure(reference, policy)
    assert reference in caught.value.operation


def test_ensure_knows_its_policies(podman):
    with pytest.raises(SpecError, match="pull_policy: 'often' is none of missing, always"):
        podman.images.ensure(TINY, "often")


def test_load(fresh):
    with UserPodman.for_user(fresh.name) as podman:
        assert not podman.images.exists(TINY)
        assert podman.images.load(archive(TINY)) == [TINY]
        assert podman.images.exists(TINY)


def test_load_of_what_is_no_archive(podman, tmp_path):
    file = tmp_path / "archive.tar"
    file.write_bytes(b"no archive" * 1000)
    with pytest.raises(PodmanError, match="load image archive") as caught:
        podman.images.load(file)
    assert caught.value.status
    with pytest.raises(FileNotFoundError):
        podman.images.load(tmp_path / "missing.tar")


def test_who_an_image_runs_as(podman):
    for image, ids in ((TINY, (0, 0)), (TINY_JOVYAN, (1000, 100))):
        assert podman.images.user_ids(podman.images.inspect(image)) == ids
    assert podman.containers({PROBE_LABEL: "1"}) == []


# a container's life


def test_a_life(podman, ada, make):
    container = make("exit 3", name="a-life", labels={"x": "ü"}, environment={"A": "b=c"})
    found = podman.inspect("a-life")
    assert (found.id, found.name, found.labels["x"]) == (container, "a-life", "ü")
    assert found.environment["A"] == "b=c"
    assert found.image_id == podman.images.inspect(TINY).id
    assert (found.state.status, found.state.running, found.state.pid) == ("created", False, 0)
    assert ada.containers() == ["a-life"]
    podman.start(container)
    assert podman.wait(container, seconds=20) == 3
    assert podman.wait("a-life", seconds=20) == 3
    state = podman.inspect(container).state
    assert state.status in ("exited", "stopped")  # "stopped" until the engine has cleaned up
    assert (state.running, state.exit_code) == (False, 3)
    assert podman.remove(container) is True
    assert podman.remove(container) is False
    assert ada.containers() == []


def test_a_running_one(podman, begin):
    container = begin("exec sleep 60")
    state = podman.inspect(container).state
    assert (state.status, state.running, state.oom_killed, state.error) == (
        "running",
        True,
        False,
        "",
    )
    for _ in range(100):  # perhaps still the runtime, or the shell, that becomes it
        if b"sleep" in Path(f"/proc/{state.pid}/cmdline").read_bytes():
            break
        time.sleep(0.05)
    else:
        pytest.fail("its process is another one")
    podman.start(container)  # it runs already
    with pytest.raises(TimeoutError, match=r"still runs after 0.5 s"):
        podman.wait(container, seconds=0.5)


def test_stop(podman, begin):
    container = begin("trap 'exit 5' TERM; while :; do sleep 0.1; done")
    time.sleep(0.3)
    podman.stop(container)
    assert podman.inspect(container).state.exit_code == 5
    podman.stop(container)  # it has ended already


def test_stop_of_one_that_does_not_want_to(podman, begin):
    container = begin("trap '' TERM; while :; do sleep 0.1; done")
    began = time.monotonic()
    podman.stop(container, seconds=1)
    assert 1 <= time.monotonic() - began < 8
    assert podman.inspect(container).state.exit_code == 137


def test_one_whose_removal_was_broken_off(fresh):
    """The engine's database has it, its storage has not: it can be found and removed."""
    fresh.load(TINY)
    with UserPodman.for_user(fresh.name, activation="direct") as engine:
        half = engine.create(ContainerSpec(image=TINY, name="half", labels={"whose": "mine"}))
    for pid in fresh.processes("system service"):
        os.kill(pid, signal.SIGKILL)
    storage = Path(fresh.account.home, ".local/share/containers/storage/overlay-containers")
    (storage / "containers.json").write_text("[]")
    with UserPodman.for_user(fresh.name, activation="direct") as engine:
        (found,) = engine.containers({"whose": "mine"})
        assert found == engine.inspect("half") == engine.inspect(half)
        assert (found.id, found.name, found.state.running) == (half, "half", False)
        assert engine.remove(half)
        assert not engine.containers({"whose": "mine"})
        engine.remove(engine.create(ContainerSpec(image=TINY, name="half")))


def test_remove_of_one_that_runs_is_quick(podman, begin):
    container = begin("trap '' TERM; while :; do sleep 0.1; done", stop_timeout=30)
    began = time.monotonic()
    assert podman.remove(container)
    assert time.monotonic() - began < 8


# what it prints


def test_logs(podman, begin):
    container = begin("for i in 1 2 3; do echo out $i; done; echo err >&2")
    podman.wait(container, seconds=20)
    assert sorted(podman.logs(container).splitlines()) == ["err", "out 1", "out 2", "out 3"]
    assert len(podman.logs(container, tail=2).splitlines()) == 2


def test_lines_that_are_printed_in_pieces(podman, begin):
    """Podman before 4.7 leaves the pieces out, asked for the last lines."""
    container = begin(
        "seq 500; for i in a b c; do printf $i; sleep 0.1; done; echo; sleep 0.1; printf en; "
        "sleep 0.1; echo d"
    )
    podman.wait(container, seconds=20)
    numbers = [f"{number}\n" for number in range(1, 501)]
    for tail in (1, 2, 3, 500, 502, 503):
        wanted = [*numbers, "abc\n", "end\n"][-tail:]
        assert podman.logs(container, tail=tail) == "".join(wanted)
    assert podman.logs(container, tail=0) == ""


def test_a_line_in_pieces_is_alone(podman, begin):
    container = begin("printf a; sleep 0.1; echo b")
    podman.wait(container, seconds=20)
    assert podman.logs(container, tail=30) == "ab\n"


def test_long_logs_are_cut_at_their_start(podman, begin):
    container = begin("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done")
    podman.wait(container, seconds=30)
    text = podman.logs(container)
    assert len(text) == 64 * 1024
    assert text.endswith("line 19999\nline 20000\n")


def test_follow_logs(podman, begin):
    container = begin("echo one; sleep 1; echo two")
    parts = podman.follow_logs(container)
    assert next(parts) == "one\n"
    assert podman.inspect(container).state.running
    assert "".join(parts) == "two\n"


def test_follow_logs_is_cancelled(podman, ada, begin):
    container = begin("echo one; sleep 60")
    problems = []

    def follow(other):
        try:
            problems.extend(other.follow_logs(container))
        except (ServiceError, UntrustedServiceError) as problem:
            problems.append(problem)

    with UserPodman.for_user(ada.name) as other:
        thread = threading.Thread(target=follow, args=(other,))
        thread.start()
        end = time.monotonic() + 10
        while not problems and time.monotonic() < end:
            time.sleep(0.05)
        assert problems == ["one\n"]
        other.cancel()
        thread.join(10)
        assert not thread.is_alive()


# inside


def test_exec(podman, begin):
    container = begin(working_dir="/tmp", environment={"A": "1"})
    result = podman.exec(container, ["sh", "-c", 'echo "$A $B"; pwd; id -u; echo e >&2; exit 4'])
    assert result.exit_code == 4
    assert sorted(result.output.split()) == ["/tmp", "0", "1", "e"]


@pytest.mark.parametrize(
    ("command", "options", "output"),
    [
        (["env"], {"environment": {"B": "two words"}}, "B=two words"),
        (["pwd"], {"working_dir": "/home"}, "/home"),
        (["id"], {"user": "1000:100"}, "uid=1000(jovyan) gid=100(users)"),
        (["printf", "%s|", "a b", "$HOME", ""], {}, "a b|$HOME||"),
    ],
)
def test_exec_options(podman, begin, command, options, output):
    result = podman.exec(begin(), command, **options)
    assert result.exit_code == 0
    assert output in result.output


def test_exec_that_takes_too_long(podman, begin):
    container = begin()
    with pytest.raises(UntrustedServiceError) as caught:
        podman.exec(container, ["sleep", "60"], seconds=0.5)
    assert caught.value.reason == "deadline"
    assert podman.exec(container, ["echo", "fine"]).output == "fine\n"


def test_exec_of_a_missing_program(podman, begin):
    result = podman.exec(begin(), ["no-such-program"])
    assert result.exit_code == 127
    assert "no-such-program" in result.output


def test_exec_where_nothing_runs(podman, make):
    with pytest.raises(PodmanError, match="exec in container"):
        podman.exec(make(), ["true"])


# several


def tar_of(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o400, len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        end = tar.offset + 2 * tarfile.BLOCKSIZE
    return buffer.getvalue()[:end]


@pytest.mark.parametrize(("user", "mapping"), [
    (None, UserMapping("keep-id", 1000, 100)),
    (None, UserMapping("root")),
    ("1234:5678", UserMapping("root")),
])  # fmt: skip
@pytest.mark.parametrize("read_only", [False, True])
def test_put_archive_before_the_start_and_again(podman, make, user, mapping, read_only):
    """All of it belongs to the container's user, whoever that is, and can be put anew."""
    made = make(image=TINY_JOVYAN, user=user, user_mapping=mapping, read_only=read_only)
    for text in ("first", "second"):
        podman.put_archive(made, "/etc", tar_of(key=text))
    podman.start(made)
    shown = podman.exec(made, ["sh", "-c", "stat -c %u:%g:%a /etc/key; cat /etc/key"])
    assert shown.output == f"{user or '1000:100'}:400\nsecond"


def test_put_archive_nowhere(podman):
    with pytest.raises(ContainerNotFound):
        podman.put_archive("no-such-container", "/etc", tar_of(key="a"))


def test_a_health_check(podman, begin):
    begun = begin(
        "sleep 60", healthcheck=HealthCheck(cmd="test -e /tmp/well || { echo ill; false; }")
    )
    assert not podman.healthy(begun)
    assert podman.inspect(begun).state.health.strip() == "ill"
    podman.exec(begun, ["touch", "/tmp/well"])
    assert podman.healthy(begun)


def test_a_health_check_that_hangs(podman, begin):
    begun = begin("sleep 60", healthcheck=HealthCheck(cmd="sleep 50"))
    began = time.monotonic()
    assert not podman.healthy(begun, seconds=2)
    assert time.monotonic() - began < 10


def test_no_health_check(podman, begin):
    with pytest.raises(SpecError, match="no health check"):
        podman.healthy(begin("sleep 60"))


def test_volumes(podman, ada):
    labels = {"a": "b", "c": "=,d"}
    assert podman.volumes.ensure("of-a-test", labels)
    assert not podman.volumes.ensure("of-a-test", {"other": "labels"})
    assert podman.volumes.exists("of-a-test")
    assert podman.volumes.list(labels) == [Volume("of-a-test", labels)]
    assert podman.volumes.list({"a": "c"}) == []
    assert podman.volumes.remove("of-a-test")
    assert not podman.volumes.remove("of-a-test")
    assert not podman.volumes.exists("of-a-test")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?force=true", "-a"])
def test_what_is_no_volumes_name(podman, name):
    assert not podman.volumes.exists(name)
    assert not podman.volumes.remove(name)


def test_a_volume_in_use_is_not_removed(podman, make):
    make(mounts=[Mount("in-use", "/a", kind="volume")])
    with pytest.raises(PodmanError, match="used"):
        podman.volumes.remove("in-use")
    podman.remove(podman.containers()[0].id)
    assert podman.volumes.remove("in-use")


def test_containers_by_label(podman, make):
    one = make(labels={"team": "engines", "n": "1"})
    two = make(labels={"team": "engines", "n": "2=3, 4"})
    other = make()
    assert {found.id for found in podman.containers()} == {one, two, other}
    assert {found.id for found in podman.containers({"team": "engines"})} == {one, two}
    both = {"team": "engines", "n": "2=3, 4"}
    assert [found.id for found in podman.containers(both)] == [two]
    assert podman.containers({"team": "others"}) == []
    assert podman.containers({"team": "engines", "n": "3"}) == []


def test_events(podman, begin):
    since = time.time() - 1
    container = begin("exit 7", labels={"watch": "me"})
    begin("exit 8")
    podman.wait(container, seconds=20)
    seen = list(podman.events(labels={"watch": "me"}, since=since, seconds=2))
    assert {event.id for event in seen} == {container}
    assert [event.action for event in seen if event.action in ("create", "start", "died")] == [
        "create",
        "start",
        "died",
    ]
    (died,) = (event for event in seen if event.action == "died")
    assert died.exit_code == 7
    assert since - 1 <= died.time <= time.time() + 1


def test_events_as_they_happen(podman, ada):
    seen = {}

    def watch():
        with UserPodman.for_user(ada.name) as other:
            for event in other.events(seconds=20):
                seen.setdefault(event.action, time.monotonic())
                if event.action == "remove":
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.5)
    podman.run(ContainerSpec(image=TINY, command=["sleep", "1"], network="none"))
    thread.join(10)
    assert not thread.is_alive()
    assert seen["died"] - seen["start"] > 0.5


def test_run(podman):
    spec = ContainerSpec(image=TINY, command=["sh", "-c", "echo $((6*7)); exit 9"], network="none")
    result = podman.run(spec, seconds=20)
    assert (result.exit_code, result.output) == (9, "42\n")


def test_a_log_is_a_file_of_the_accounts_that_starts_anew(podman, begin, ada):
    container = begin("yes 0123456789abcdef | head -n 1000000; echo last")
    podman.wait(container, seconds=60)
    assert podman.logs(container, tail=1) == "last\n"
    path = ada.podman("inspect", "--format", "{{.HostConfig.LogConfig.Path}}", container).strip()
    assert 0 < Path(path).stat().st_size < 1.1 * LOG_BYTES
    assert Path(path).stat().st_uid == ada.account.uid


def test_run_that_takes_too_long(podman):
    with pytest.raises(TimeoutError):
        podman.run(ContainerSpec(image=TINY, command=["sleep", "60"]), seconds=1)


def test_run_that_cannot_start(podman):
    with pytest.raises(SpecError, match="cmd: .*'no-such-program'"):
        podman.run(ContainerSpec(image=TINY, command=["no-such-program"]))


def test_files_belong_to_the_account(podman, ada):
    """A file that the image's user writes to the mounted home is the account's on the host."""
    spec = ContainerSpec(
        image=TINY_JOVYAN,
        command=["sh", "-c", "id -u; echo saved > /home/jovyan/from-container"],
        mounts=[Mount.bind(ada.account.home, "/home/jovyan")],
        user_mapping=UserMapping("keep-id", 1000, 100),
        network="none",
    )
    assert podman.run(spec, seconds=60).output == "1000\n"
    shown = ada.run("stat", "-c", "%u:%g", f"{ada.account.home}/from-container").stdout
    assert shown.strip() == f"{ada.account.uid}:{ada.account.gid}"


def test_a_published_port_belongs_to_the_account(podman, begin):
    port = free_port()
    begin(
        "mkdir -p /w && echo hello > /w/x && exec httpd -f -p 80 -h /w",
        network="private",
        ports=[Port(80, port)],
    )
    owners = listener_uids("127.0.0.1", port)
    assert owners
    assert all(podman.account.owns(uid) for uid in owners)
    assert 0 not in owners


# what can go wrong


@pytest.mark.parametrize("name", ["no-such", "a" * 64])
def test_no_such_container(podman, name):
    calls = [
        podman.start,
        podman.stop,
        podman.wait,
        podman.inspect,
        podman.logs,
        lambda name: podman.exec(name, ["true"]),
        lambda name: next(podman.follow_logs(name)),
    ]
    for call in calls:
        with pytest.raises(ContainerNotFound) as caught:
            call(name)
        assert name in caught.value.operation
        assert caught.value.status == 404


def test_no_image(podman):
    with pytest.raises(ImageNotFound, match="Pull or load it first"):
        podman.create(ContainerSpec(image=NOWHERE))


def test_a_port_that_is_taken(podman, make):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        container = make(network="private", ports=[Port(80, port)])
        with pytest.raises(PortTaken, match="another one") as caught:
            podman.start(container)
    assert caught.value.operation == f"start container {container}"


@pytest.mark.parametrize(
    "source", ["/no/such/folder", "/root/secret", "/no/with space: and colon"]
)
def test_a_volume_whose_source_is_missing(podman, source):
    spec = ContainerSpec(image=TINY, mounts=[Mount.bind(source, "/data")])
    with pytest.raises(SpecError) as caught:
        podman.run(spec)
    assert caught.value.option == "volumes"
    assert source.partition(":")[0] in str(caught.value)
    assert "Create it on the host" in str(caught.value)


def test_a_name_that_is_taken(podman, make):
    first = make(name="taken")
    with pytest.raises(PodmanError, match="(?i)taken.*in use") as caught:
        make(name="taken")
    assert type(caught.value) is PodmanError
    assert podman.inspect("taken").id == first


def test_a_command_that_is_missing(podman):
    spec = ContainerSpec(image=TINY, command=["no-such-program"], network="none", name="missing")
    podman.create(spec)
    try:
        with pytest.raises(SpecError, match="(?i)no-such-program.*not found") as caught:
            podman.start("missing")
        assert caught.value.option == "cmd"
        assert not podman.inspect("missing").state.running
    finally:
        podman.remove("missing")


def test_a_warning_of_the_engine_is_logged(podman, make, caplog):
    caplog.set_level(logging.DEBUG, "podmanspawner")
    make(name="logged")
    assert any("create container logged: 201" in line for line in caplog.messages)


# podman-py, on the same connections


def test_raw(podman, make):
    container = make(name="raw", labels={"a": "b"})
    assert podman.raw.ping()
    assert [found.id for found in podman.raw.containers.list(all=True)] == [container]
    found = podman.raw.containers.get("raw")
    found.start()
    assert found.wait(condition="running") in (-1, 0, None)
    code, output = found.exec_run(["echo", "hi"])
    assert (code, output) == (0, b"hi\n") or b"hi" in output
    assert TINY in podman.raw.images.get(TINY).tags


def test_for_user_of_nobody():
    with pytest.raises(AccountError):
        UserPodman.for_user("no-such-account")


def test_containers_made_at_once_in_one_account(ada):
    """The engine's library for subordinate ids is not made for threads: it failed, or crashed."""
    spec = ContainerSpec(image=TINY_JOVYAN, user_mapping=UserMapping("keep-id", 1000, 100))

    def make_and_remove(_):
        with UserPodman.for_user(ada.name) as podman:
            for _ in range(40):
                assert podman.remove(podman.create(spec))

    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(make_and_remove, range(4)))) == 4
