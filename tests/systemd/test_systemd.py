"""The account's ``podman.socket`` in its systemd user manager: reached, started, mended, lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tornado import web

from accounts import TINY_JOVYAN
from lone import lone_spawner
from podmanspawner import AccountError, PodmanService, ServiceError, UserPodman

LINGER = Path("/var/lib/systemd/linger")
UNITS = Path("/usr/lib/systemd/user")


def reach(user, activation="systemd", **options):
    """Ask the account's service for its version, on new connections."""
    with closing(UserPodman(PodmanService(user.account, activation=activation, **options))) as it:
        return it.ping()


def system(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout.strip()


def manager(user):
    return f"user@{user.account.uid}.service"


def is_active(unit):
    return system("systemctl", "is-active", unit, check=False)


def user_systemctl(user, *words):
    return user.run("systemctl", "--user", *words, check=False).stdout.strip()


def groups_of(pids):
    return [Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1] for pid in pids]


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


# from nothing


@pytest.mark.parametrize("way", ["systemd", "auto"])
def test_an_account_that_never_logged_in(visitor, way, caplog, tell):
    caplog.set_level(logging.INFO)
    assert not visitor.account.runtime_dir.exists()
    began = time.perf_counter()
    assert reach(visitor, way) >= (4, 3)
    tell(f"from no user manager to an answer: {1000 * (time.perf_counter() - began):.0f} ms")
    assert (LINGER / visitor.name).exists()
    assert is_active(manager(visitor)) == "active"
    assert user_systemctl(visitor, "is-active", "podman.socket") == "active"
    group, *_ = groups_of(visitor.processes(" system service"))
    slice_ = f"/user.slice/user-{visitor.account.uid}.slice/{manager(visitor)}/"
    assert group.startswith(f"0::{slice_}")
    assert f"{visitor.name}: podman.socket of its user manager has been started" in caplog.text
    assert f"'loginctl disable-linger {visitor.name}' undoes it" in caplog.text


def test_who_listens_is_the_account(visitor):
    reach(visitor)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(visitor.account.socket_path))
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid = (int.from_bytes(raw[at : at + 4], sys.byteorder) for at in (0, 4))
    assert uid == visitor.account.uid
    assert Path(f"/proc/{pid}/comm").read_text() == "systemd\n"


def test_no_linger_if_not_wanted(visitor):
    assert reach(visitor, enable_linger=False)
    assert not (LINGER / visitor.name).exists()
    assert is_active(manager(visitor)) == "active"


def test_a_service_with_flags_of_its_own_is_started_directly(visitor):
    """In a runtime directory that logind makes all the same."""
    assert reach(visitor, "auto", flags=["--log-level=info"])
    assert is_active(manager(visitor)) == "active"
    assert user_systemctl(visitor, "is-active", "podman.socket") == "inactive"


@pytest.mark.parametrize("way", ["existing", "direct"])
def test_ways_that_leave_the_host_as_it_is(visitor, way):
    with pytest.raises((AccountError, ServiceError), match="enable-linger|podman.socket"):
        reach(visitor, way)
    assert not (LINGER / visitor.name).exists()
    assert is_active(manager(visitor)) == "inactive"


def test_an_account_that_is_logged_in_is_made_to_linger(visitor):
    with logged_in(visitor):
        until(lambda: is_active(manager(visitor)) == "active")
        user_systemctl(visitor, "start", "podman.socket")
        reach(visitor, "auto")
    assert (LINGER / visitor.name).exists()


# without root


AS_THE_ACCOUNT = """
import sys
from podmanspawner import ServiceError, UserPodman
try:
    with UserPodman.for_user(sys.argv[1], activation=sys.argv[2]) as podman:
        print(podman.engine_version)
except ServiceError as error:
    print(error.unit, error)
"""


def as_the_account(user, way):
    program = [sys.executable, "-c", AS_THE_ACCOUNT, user.name, way]
    return user.run(*program, env={"PYTHONPATH": "/podmanspawner/src"}).stdout


def test_a_hub_without_root_starts_its_own(visitor):
    system("loginctl", "enable-linger", visitor.name)
    assert as_the_account(visitor, "systemd").startswith("(")
    assert user_systemctl(visitor, "is-active", "podman.socket") == "active"


def test_logind_refuses_a_hub_without_root(visitor):
    """There is no polkit here that would let it."""
    said = as_the_account(visitor, "systemd")
    assert said.startswith(f"{manager(visitor)} {visitor.name} may not linger: ")
    assert f"'loginctl enable-linger {visitor.name}' as root" in said


# what is broken, and what to do


@pytest.fixture
def running(visitor):
    """An account whose user manager runs."""
    system("loginctl", "enable-linger", visitor.name)
    system("systemctl", "start", manager(visitor))
    return visitor


@contextmanager
def masked_socket(user):
    user_systemctl(user, "mask", "podman.socket")
    yield


@contextmanager
def away(user, *names):
    """Take units away, as if their package was not installed."""
    for name in names:
        subprocess.run(["mv", UNITS / name, f"/tmp/{name}"], check=True)
    try:
        user_systemctl(user, "daemon-reload")
        yield
    finally:
        for name in names:
            subprocess.run(["mv", f"/tmp/{name}", UNITS / name], check=True)


@contextmanager
def no_socket_unit(user):
    with away(user, "podman.socket"):
        yield


@contextmanager
def no_bus(user):
    with away(user, "dbus.socket", "dbus.service"):
        system("systemctl", "stop", manager(user), f"user-runtime-dir@{user.account.uid}.service")
        yield


@contextmanager
def failing_socket(user):
    drop_in(user, "podman.socket", "[Socket]\nExecStartPre=/bin/false")
    yield


@contextmanager
def elsewhere(user):
    drop_in(user, "podman.socket", "[Socket]\nListenStream=\nListenStream=%t/elsewhere.sock")
    yield


def drop_in(user, unit, text):
    user.run(
        "sh",
        "-c",
        'mkdir -p "$HOME/.config/systemd/user/$0.d"'
        ' && echo "$1" >"$HOME/.config/systemd/user/$0.d/test.conf"',
        unit,
        text,
    )
    user_systemctl(user, "daemon-reload")


BROKEN = {
    masked_socket: ("podman.socket", "is masked.*'systemctl --user unmask podman.socket' as"),
    no_socket_unit: ("podman.socket", "not found.*'apt-get install podman'"),
    failing_socket: ("podman.socket", "'systemctl --user status podman.socket'"),
    elsewhere: ("podman.socket", "must listen on %t/podman/podman.sock"),
    no_bus: ("dbus.socket", "'apt-get install dbus-user-session'"),
}


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.__name__)
def test_a_fault_has_a_remedy_and_auto_goes_on(running, fault, caplog):
    unit, text = BROKEN[fault]
    with fault(running):
        with pytest.raises(ServiceError, match=text) as caught:
            reach(running)
        assert caught.value.unit == unit
        service = PodmanService(running.account, activation="auto")
        with closing(service), closing(UserPodman(service)) as podman:
            assert podman.ping()
        assert f"Not through systemd: {caught.value}"[:80] in caplog.text


def test_a_user_manager_that_must_not_run(visitor):
    system("systemctl", "mask", "--runtime", manager(visitor))
    try:
        with pytest.raises(ServiceError, match="is masked.*'systemctl unmask'") as caught:
            reach(visitor)
        assert caught.value.unit == manager(visitor)
    finally:
        system("systemctl", "unmask", "--runtime", manager(visitor))


def test_a_logind_that_is_not_there(visitor):
    system("systemctl", "mask", "--runtime", "--now", "systemd-logind.service")
    try:
        with pytest.raises(ServiceError, match=f"{visitor.name} may not linger") as caught:
            reach(visitor)
        assert caught.value.unit == manager(visitor)
    finally:
        system("systemctl", "unmask", "--runtime", "systemd-logind.service")
        system("systemctl", "start", "systemd-logind.service")


def test_a_podman_service_that_fails(running):
    drop_in(running, "podman.service", "[Service]\nExecStart=\nExecStart=/bin/false")
    with pytest.raises(
        ServiceError, match="podman.service.*'exit-code'.*podman info.*journalctl"
    ) as caught:
        reach(running)
    assert caught.value.unit == "podman.service"
    running.run("rm", "-r", f"{running.account.home}/.config/systemd/user/podman.service.d")
    user_systemctl(running, "daemon-reload")
    time.sleep(2)  # how long systemd counts: TriggerLimitIntervalSec in systemd.socket(5)
    assert reach(running)


@pytest.mark.parametrize("instead", ["nothing", "a link to another socket", "a closed socket"])
def test_the_sockets_file_is_lost(running, instead, tmp_path):
    """The user manager still listens, on a socket that no path leads to."""
    reach(running)
    path = running.account.socket_path
    path.unlink()
    victim = socket.socket(socket.AF_UNIX)
    victim.settimeout(0)
    victim.bind(str(tmp_path / "victim.sock"))
    victim.listen()
    if instead == "a link to another socket":
        path.symlink_to(tmp_path / "victim.sock")
    elif instead == "a closed socket":
        running.run(
            sys.executable,
            "-c",
            f"import socket; socket.socket(socket.AF_UNIX).bind({str(path)!r})",
        )
    with victim:
        assert reach(running)
        with pytest.raises(BlockingIOError):
            victim.accept()


# a server's life


@contextmanager
def logged_in(user):
    """Hold a login session of the account, by PAM, until the end."""
    login = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={user.name}"]
    login += ["--property=PAMName=login", "--setenv=XDG_SESSION_CLASS=user"]
    process = subprocess.Popen([*login, "cat"], stdin=subprocess.PIPE)
    try:
        until(lambda: sessions(user))
        yield
    finally:
        process.stdin.close()
        process.wait(30)


def sessions(user):
    lines = system("loginctl", "list-sessions", "--no-legend").splitlines()
    return [line for line in lines if user.name in line.split() and "manager" not in line]


async def begin(user, **options):
    spawner = lone_spawner(user.name, **{"activation": "systemd", **options})
    await spawner.start()
    assert await spawner.poll() is None
    return spawner


async def end(spawner, user):
    await spawner.stop()
    assert await spawner.poll() == 0
    assert user.containers() == []


@pytest.mark.parametrize("way", ["systemd", "auto"])
async def test_a_server_belongs_to_the_slice_of_its_account(resident, way):
    spawner = await begin(resident, activation=way)
    (pid,) = resident.podman("inspect", "-f", "{{.State.Pid}}", spawner.container_id).split()
    (group,) = groups_of([pid])
    uid = resident.account.uid
    assert f"/user-{uid}.slice/user@{uid}.service/" in group
    assert "libpod-" in group
    shown = system("systemd-cgls", "--no-pager", f"/user.slice/user-{uid}.slice")
    assert f"libpod-{spawner.container_id}.scope" in shown
    await end(spawner, resident)


async def test_a_service_killed_in_the_middle_of_use_loses_nothing(resident):
    spawner = await begin(resident)
    for _ in range(3):
        for pid in resident.processes(" system service"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert await spawner.poll() is None
    await end(spawner, resident)


async def test_a_service_killed_while_a_start_is_under_way(resident):
    """The start works or says what happened; others' servers, and the next start, do not mind."""
    other = await begin(resident, name="other")
    spawner = lone_spawner(resident.name, activation="systemd")
    begun = 0
    for milliseconds in range(20, 420, 40):
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(milliseconds / 1000)
        for pid in resident.processes(" system service"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            await starting
            begun += 1
        except web.HTTPError as error:
            assert "podman" in str(error).lower()  # noqa: PT017, it may be raised, or not
        assert await other.poll() is None
        await spawner.stop()
    assert begun
    await spawner.start()
    assert await spawner.poll() is None
    assert len(resident.containers()) == 2
    await spawner.stop()
    await end(other, resident)


async def test_a_logout_ends_no_server(resident):
    with logged_in(resident):
        spawner = await begin(resident)
    until(lambda: not sessions(resident))
    time.sleep(3)  # UserStopDelaySec is 1 here
    assert await spawner.poll() is None
    await end(spawner, resident)


async def test_without_linger_a_logout_ends_it_and_poll_says_so(visitor):
    service = PodmanService(visitor.account, activation="systemd", enable_linger=False)
    with closing(UserPodman(service)) as podman:
        podman.ping()
    visitor.load(TINY_JOVYAN)
    with logged_in(visitor):
        spawner = await begin(visitor, enable_linger=False)
    until(lambda: is_active(manager(visitor)) == "inactive")
    assert await spawner.poll() is not None
    spawner = await begin(visitor, enable_linger=False)
    await end(spawner, visitor)


ENDS = {
    "stopped": ["systemctl", "stop", "{manager}"],
    "restarted": ["systemctl", "restart", "{manager}"],
    "terminated": ["loginctl", "terminate-user", "{name}"],
}


@pytest.mark.parametrize("way", ["systemd", "auto"])
@pytest.mark.parametrize("how", ENDS)
async def test_a_user_manager_that_ends(resident, way, how):
    """Its server ends with it: poll tells the truth at once, and the next start works."""
    system("systemctl", "reset-failed", manager(resident))  # how often it has been started
    system("loginctl", "enable-linger", resident.name)  # Debian 12's logind forgets whom it ended
    spawner = await begin(resident, activation=way)
    pid = resident.podman("inspect", "-f", "{{.State.Pid}}", spawner.container_id).strip()
    system(*(word.format(manager=manager(resident), name=resident.name) for word in ENDS[how]))
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert await spawner.poll() is not None
    spawner = await begin(resident, activation=way)
    await end(spawner, resident)


def is_mended(user):
    """Whether the remedy helps; 5.4.2 mends it and crashes, now and then before it has."""
    user.podman("system", "migrate", check=False)
    try:
        return reach(user)
    except ServiceError:
        return None


async def test_all_that_is_killed(running):
    """Podman 5.4 then finds its own traces and no process; what it wants is in the error."""
    reach(running)
    running.load(TINY_JOVYAN)
    spawner = await begin(running)
    system("systemctl", "kill", "--signal=KILL", manager(running))
    until(lambda: is_active(manager(running)) == "failed")
    try:
        mends_itself = reach(running) >= (5, 8)
    except ServiceError as error:
        mends_itself = False
        assert "'podman system migrate'" in str(error)  # noqa: PT017, not every engine raises
        until(lambda: is_mended(running))
    assert mends_itself == (reach(running) >= (5, 8))
    assert await spawner.poll() is not None
    await end(await begin(running), running)


async def test_as_after_a_reboot(running):
    """No process of the account's is left, nor its runtime directory; what it had on disk is.

    A machine in namespaces ends with its first process: it cannot be booted again.
    """
    reach(running)
    running.load(TINY_JOVYAN)
    spawner = await begin(running, remove=False)
    kept = spawner.container_id
    system("systemctl", "kill", "--signal=KILL", manager(running))
    until(lambda: is_active(manager(running)) == "failed")
    system("systemctl", "reset-failed", manager(running))
    system("systemctl", "stop", f"user-runtime-dir@{running.account.uid}.service")
    assert not running.account.runtime_dir.exists()
    assert await spawner.poll() is not None
    again = await begin(running, remove=False)
    assert again.container_id == kept
    await again.stop()
    assert await again.poll() is not None
    running.podman("rm", kept)


@pytest.mark.parametrize("way", ["systemd", "auto"])
async def test_the_socket_is_stopped_and_the_server_goes_on(resident, way):
    spawner = await begin(resident, activation=way)
    user_systemctl(resident, "stop", "podman.socket", "podman.service")
    assert await spawner.poll() is None
    await end(spawner, resident)
