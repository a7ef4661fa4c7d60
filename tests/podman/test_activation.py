"""Finding, waking and starting real services of real accounts."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from accounts import TINY, booted, real_account
from fake_service import FakeService
from podmanspawner import (
    Account,
    AccountError,
    ContainerSpec,
    PodmanService,
    ServiceError,
    UntrustedServiceError,
    UserPodman,
)
from podmanspawner.account import make_runtime_dir

NS_GET_OWNER_UID = 0xB704  # ref: ioctl_ns(2)
WATCHER = "podmanspawner-activation"  # one thread for all accounts, which stays


@pytest.fixture(scope="module", autouse=True)
def images(ada):
    ada.load(TINY)


@pytest.fixture
def start():
    """Return a function that makes a service; it goes away with the test, leaving nothing."""
    threads = {thread for thread in threading.enumerate() if thread.name != WATCHER}
    descriptors = len(os.listdir("/proc/self/fd"))
    had_children = has_children()  # a shell that became this process may leave some
    made = []

    def make(user, activation="direct", **options):
        made.append(PodmanService(user.account, activation=activation, **options))
        return made[-1]

    yield make
    for service in made:
        service.close()
        end_services(service.account)
    until(lambda: {t for t in threading.enumerate() if t.name != WATCHER} == threads)
    until(lambda: len([t for t in threading.enumerate() if t.name == WATCHER]) <= 1)
    assert has_children() == had_children
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the watcher's own


def until(condition, seconds=15.0):
    """Return what the condition returns, once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def has_children():
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def services(account):
    """Return the pids of the account's services; one that forked into a namespace counts once."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == account.uid:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                if b"\0".join([b"", b"system", b"service", b""]) in b"\0".join(command):
                    stat = (entry / "stat").read_text().rpartition(")")[2].split()
                    found[int(entry.name)] = int(stat[1])
        except OSError:  # ended meanwhile
            continue
    return [pid for pid, parent in found.items() if parent not in found]


def end_services(account):
    for pid in services(account):
        os.killpg(pid, signal.SIGKILL)
    until(lambda: not services(account))


def connections(account):
    """Return how many there are to the account's socket, also of those that nobody accepted."""
    name = re.compile(rf" {re.escape(str(account.socket_path))}(\.\d+)?$", re.MULTILINE)
    return len(name.findall(Path("/proc/net/unix").read_text()))


def ping(service):
    with closing(UserPodman(service)) as podman:
        return podman.ping()


# from nothing, to sleep, and awake again


@pytest.fixture
def without_a_runtime_dir():
    with real_account(runtime_dir=False) as made:
        yield made


def test_from_nothing(start, without_a_runtime_dir):
    fresh = without_a_runtime_dir
    account = fresh.account
    if booted():  # then it is logind's to make
        with pytest.raises(AccountError, match=f"loginctl enable-linger {fresh.name}"):
            ping(start(fresh))
        account.runtime_dir.mkdir(mode=0o700)
        os.chown(account.runtime_dir, account.uid, account.gid)
    assert ping(start(fresh))
    for path, mode in ((account.runtime_dir, 0o700), (account.socket_path.parent, 0o700)):
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (
            account.uid,
            account.gid,
            mode,
        )
    status = account.socket_path.stat()
    assert (status.st_uid, status.st_mode & 0o077) == (account.uid, 0)
    assert len(services(account)) == 1


@pytest.mark.skipif(booted(), reason="logind makes it")
def test_two_services_make_a_runtime_directory_at_once(without_a_runtime_dir):
    """As of two profiles whose services have flags of their own."""
    account = without_a_runtime_dir.account
    for _ in range(20):
        both = threading.Barrier(2)

        def make(both=both):
            both.wait()
            make_runtime_dir(account)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(make) for _ in range(2)]:
                done.result()
        account.runtime_dir.rmdir()
    assert not [*account.runtime_dir.parent.glob(f".{account.uid}.*")]


def test_it_falls_asleep_and_is_woken(start, ada):
    service = start(ada, idle_seconds=1)
    spec = ContainerSpec(image=TINY, command=["sleep", "60"], network="none")
    with closing(UserPodman(service)) as podman:
        container = podman.create(spec)
        podman.start(container)
        pid = podman.inspect(container).state.pid
    first = services(ada.account)
    until(lambda: not services(ada.account))
    with closing(UserPodman(service)) as podman:
        try:
            state = podman.inspect(container).state
            assert (state.running, state.pid) == (True, pid)
        finally:
            podman.remove(container)
    assert len(services(ada.account)) == 1
    assert services(ada.account) != first


def test_the_account_itself_wakes_it(start, ada):
    service = start(ada, idle_seconds=1)
    ping(service)
    until(lambda: not services(ada.account))
    assert "REPOSITORY" in ada.podman("--remote", "images")


def test_an_open_connection_outlives_the_service(start, ada):
    service = start(ada, idle_seconds=1)
    with closing(UserPodman(service)) as podman:
        podman.ping()
        end_services(ada.account)
        assert podman.ping()


def test_a_service_that_is_killed(start, ada):
    service = start(ada)
    spec = ContainerSpec(image=TINY, command=["sleep", "60"], network="none")
    with closing(UserPodman(service)) as podman:
        container = podman.create(spec)
        podman.start(container)
        try:
            for _ in range(2):
                end_services(ada.account)
                podman.ping()
                assert podman.inspect(container).state.running
        finally:
            podman.remove(container)


def test_a_service_that_is_killed_over_and_over(start, fresh):
    """The third time within ten seconds whoever waits is told by what; the next has it started."""
    service = start(fresh)
    for _ in range(2):
        ping(service)
        end_services(fresh.account)
    ping(service)
    for pid in services(fresh.account):
        os.killpg(pid, signal.SIGSTOP)
    before = connections(fresh.account)
    with ThreadPoolExecutor(1) as pool, closing(UserPodman(service)) as podman:
        answer = pool.submit(podman.info)
        until(lambda: connections(fresh.account) > before)
        end_services(fresh.account)
        told = r"was killed by signal 9 \(SIGKILL\) 3 times within 10 s\. .*for lack of memory"
        with pytest.raises(ServiceError, match=told):
            answer.result(20)
    assert ping(service)


def test_many_at_once_make_one_service(start, ada):
    service = start(ada)
    barrier = threading.Barrier(8)
    answers = []

    def wake():
        barrier.wait()
        answers.append(ping(service))

    threads = [threading.Thread(target=wake) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 8
    assert len(services(ada.account)) == 1


def test_accounts_have_their_own(start, ada, bob):
    one, two = start(ada), start(bob)
    spec = ContainerSpec(image=TINY, name="of-ada", network="none")
    with closing(UserPodman(one)) as podman, closing(UserPodman(two)) as other:
        podman.create(spec)
        try:
            assert [found.name for found in podman.containers()] == ["of-ada"]
            assert other.containers() == []
        finally:
            podman.remove("of-ada")


def test_one_with_flags_and_variables_of_its_own_has_a_socket_of_its_own(start, ada):
    own = {"flags": ["--log-level=debug"], "environment": {"https_proxy": "http://proxy.test"}}
    usual, other = start(ada), start(ada, "auto", **own)
    assert ping(usual)
    (first,) = services(ada.account)
    assert ping(other)
    (second,) = set(services(ada.account)) - {first}
    assert ping(usual)
    assert set(services(ada.account)) == {first, second}
    command = Path(f"/proc/{second}/cmdline").read_bytes().split(b"\0")
    assert command[1:4] == [b"--log-level=debug", b"system", b"service"]
    environment = [Path(f"/proc/{pid}/environ").read_bytes() for pid in (first, second)]
    assert [b"https_proxy=http://proxy.test\0" in text for text in environment] == [False, True]
    again = start(ada, "auto", **own)  # as after a restart of the Hub
    assert ping(again)
    assert set(services(ada.account)) == {first, second}


@pytest.mark.parametrize("way", ["direct", "auto"])
def test_a_stale_socket_is_replaced(start, ada, way):
    socket_path = ada.account.socket_path
    with being(ada.account):
        socket_path.parent.mkdir(mode=0o700, exist_ok=True)
        socket_path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(socket_path))
    assert ping(start(ada, way))


# an account's own service


@contextmanager
def own_service(user):
    """Run the account's own ``podman system service``, as its user would."""
    account = user.account
    process = subprocess.Popen(
        ["podman", "system", "service", "--time=0"],
        cwd="/",
        user=account.uid,
        group=account.gid,
        extra_groups=list(account.groups),
        env={
            "HOME": account.home,
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "XDG_RUNTIME_DIR": str(account.runtime_dir),
        },
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("way", ["existing", "auto"])
def test_an_own_service_is_used(start, fresh, way):
    service = start(fresh, way)
    with own_service(fresh) as pid:
        until(fresh.account.socket_path.exists)
        until(lambda: connects(service))
        assert ping(service)
        assert services(fresh.account) == [pid]


def connects(service):
    try:
        service._connect_existing().close()
    except ConnectionRefusedError:
        return False
    return True


def test_an_own_service_that_ends(start, fresh):
    service = start(fresh, "auto")
    with own_service(fresh):
        until(fresh.account.socket_path.exists)
        until(lambda: connects(service))
        ping(service)
    assert ping(service)
    assert len(services(fresh.account)) == 1


def test_nothing_there(start, fresh):
    with pytest.raises(ServiceError, match="systemctl --user enable --now podman.socket"):
        ping(start(fresh, "existing"))
    assert services(fresh.account) == []


# sockets of others


@contextmanager
def being(account):
    """Do what is inside with the account's rights."""
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture(params=["of another account", "of root"])
def victim(request, bob, tmp_path_factory):
    """Somebody else's listener, which would notice whoever connects."""
    if request.param == "of root":
        service = FakeService(tmp_path_factory.mktemp("victim"), {})
    else:
        with being(bob.account):
            service = FakeService(bob.account.runtime_dir, {})
    yield service
    assert service.path.is_socket()
    service.close()
    service.path.unlink()
    assert service.connections == []


def link_to_socket(account, victim):
    account.socket_path.parent.mkdir(mode=0o700, exist_ok=True)
    account.socket_path.unlink(missing_ok=True)
    account.socket_path.symlink_to(victim.path)


def link_to_folder(account, victim):
    victim.path.rename(victim.path.with_name("podman.sock"))
    victim.path = victim.path.with_name("podman.sock")
    shutil.rmtree(account.socket_path.parent, ignore_errors=True)
    account.socket_path.parent.symlink_to(victim.path.parent)


@pytest.mark.parametrize("place", [link_to_socket, link_to_folder])
def test_a_link_to_another_socket_is_refused(start, fresh, victim, place):
    account = fresh.account
    with being(account):
        account.socket_path.parent.mkdir(mode=0o700)
    place(account, victim)
    with pytest.raises(UntrustedServiceError, match=f"Remove it as {account.name}") as caught:
        ping(start(fresh, "existing"))
    assert caught.value.reason == "peer"


@pytest.mark.parametrize("way", ["auto", "direct"])
def test_a_link_to_another_socket_is_replaced(start, fresh, victim, way):
    account = fresh.account
    with being(account):
        account.socket_path.parent.mkdir(mode=0o700)
        link_to_socket(account, victim)
    assert ping(start(fresh, way))
    assert not account.socket_path.is_symlink()
    assert account.socket_path.is_socket()


@pytest.mark.parametrize("way", ["auto", "direct"])
def test_a_link_to_another_folder_is_no_way_in(start, fresh, victim, way):
    """The account's own process is stopped by the owner of the folder, or by what it may not."""
    with being(fresh.account):
        fresh.account.socket_path.parent.mkdir(mode=0o700)
    link_to_folder(fresh.account, victim)
    with pytest.raises(ServiceError, match=r"listening on .*(PermissionError)"):
        ping(start(fresh, way))
    assert services(fresh.account) == []


@pytest.mark.parametrize("way", ["auto", "direct"])
def test_a_link_to_an_own_folder_is_refused(start, fresh, way):
    account = fresh.account
    with being(account):
        elsewhere = account.runtime_dir / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        account.socket_path.parent.symlink_to(elsewhere)
    with pytest.raises(UntrustedServiceError, match="its folder is a symlink"):
        ping(start(fresh, way))


def test_a_hard_link_to_another_socket_is_refused(start, fresh, bob):
    with being(fresh.account):
        fresh.account.socket_path.parent.mkdir(mode=0o700)
    with being(bob.account):
        victim = FakeService(bob.account.runtime_dir, {})
    try:
        os.link(victim.path, fresh.account.socket_path)
    except OSError as error:
        victim.close()
        victim.path.unlink()
        if error.errno != errno.EXDEV:
            raise
        pytest.skip("logind makes each runtime directory a file system: no hard links")
    with closing(victim), pytest.raises(UntrustedServiceError, match="owner uid"):
        ping(start(fresh, "existing"))
    assert victim.connections == []
    victim.path.unlink()


def test_a_listener_that_is_not_the_account(start, fresh):
    """The file is the account's, who listens is not: refused, and not a byte was sent."""
    with being(fresh.account):
        fresh.account.socket_path.parent.mkdir(mode=0o700)
    victim = FakeService(fresh.account.socket_path.parent, {}, name="podman.sock")
    os.chown(victim.path, fresh.account.uid, fresh.account.gid)
    with closing(victim):
        with pytest.raises(UntrustedServiceError, match="uid 0 listens on it"):
            ping(start(fresh, "existing"))
        victim.wait_for_end()
    assert victim.requests == []


LOOK = """
import os, sys
missed = looks = 0
while os.getppid() == int(sys.argv[2]) and not os.path.exists(sys.argv[1] + ".enough"):
    for _ in range(1000):
        looks += 1
        missed += not os.path.exists(sys.argv[1])
print(looks, missed)
"""


def test_a_socket_that_another_process_replaces_is_never_missing(start, fresh):
    """Whoever listens for the account looks for the path a moment later."""
    path = fresh.account.socket_path
    ping(start(fresh))
    script = [sys.executable, "-c", LOOK, str(path), str(os.getpid())]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as looking:
        for _ in range(10):
            with closing(PodmanService(fresh.account, activation="direct")) as other:
                other.connect().close()
        path.with_name(f"{path.name}.enough").touch()
        looks, missed = map(int, looking.stdout.read().split())
    assert (looks > 10_000, missed) == (True, 0)
    found = {one.name for one in path.parent.iterdir()}
    assert {name for name in found if name.startswith("podman.sock.")} == {"podman.sock.enough"}


# what can be wrong with an account or its machine


def of_root(path):
    os.chown(path, 0, 0)


def of_mode(path):
    path.chmod(0o755)


@pytest.mark.parametrize("spoil", [of_root, of_mode])
@pytest.mark.parametrize("way", ["existing", "direct", "auto"])
def test_a_wrong_runtime_directory(start, fresh, spoil, way):
    spoil(fresh.account.runtime_dir)
    with pytest.raises(AccountError, match="Remove it as root, then run 'loginctl enable-linger"):
        ping(start(fresh, way))
    assert services(fresh.account) == []


def test_a_runtime_directory_that_is_wiped(start, fresh):
    service = start(fresh, idle_seconds=1)
    ping(service)
    end_services(fresh.account)
    if booted():
        subprocess.run(["umount", "--lazy", fresh.account.runtime_dir], check=True)
    shutil.rmtree(fresh.account.runtime_dir)
    end = time.monotonic() + 20
    while True:  # the first call may find out, a later one makes it anew
        try:
            assert ping(service)
            break
        except (AccountError, ServiceError):
            assert time.monotonic() < end
            if Path("/run/systemd/system").is_dir() and not fresh.account.runtime_dir.exists():
                fresh.account.runtime_dir.mkdir(mode=0o700)  # as logind would
                os.chown(fresh.account.runtime_dir, fresh.account.uid, fresh.account.gid)
    assert fresh.account.socket_path.is_socket()


def test_a_broken_store(start, fresh):
    config = Path(fresh.account.home) / ".config/containers"
    with being(fresh.account):
        config.mkdir(parents=True)
        (config / "storage.conf").write_text("[storage]\ndriver = 'no-such-driver'\n")
    began = time.monotonic()
    with pytest.raises(ServiceError, match=f"Run 'podman info' as {fresh.name}") as caught:
        ping(start(fresh))
    assert time.monotonic() - began < 10
    assert "no-such-driver" in caught.value.stderr
    assert caught.value.socket == str(fresh.account.socket_path)


def test_an_account_cannot_have_it_started_all_day(start, fresh):
    service = start(fresh)
    ping(service)
    config = Path(fresh.account.home) / ".config/containers"
    with being(fresh.account):
        config.mkdir(parents=True)
        (config / "containers.conf").write_text("nonsense")
    end_services(fresh.account)

    def refused():
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(fresh.account.socket_path)) != 0

    until(refused)  # a few connections are tried, then only the Hub can have it started
    (config / "containers.conf").unlink()
    assert refused()
    assert ping(service)
    assert not refused()


def test_a_store_that_is_mended(start, fresh):
    config = Path(fresh.account.home) / ".config/containers"
    service = start(fresh)
    with being(fresh.account):
        config.mkdir(parents=True)
        (config / "containers.conf").write_text("no toml at all")
    with pytest.raises(ServiceError):
        ping(service)
    (config / "containers.conf").unlink()
    assert ping(service)


def test_an_account_without_subordinate_ids():
    with real_account(subordinate_ids=False) as made:
        with pytest.raises(AccountError, match="usermod --add-subuids") as caught:
            Account.lookup(made.name)
        assert caught.value.account == made.name


WITHOUT_PODMAN = """
    set -e
    mount -t tmpfs tmpfs "$1"
    mkdir "$1/upper" "$1/work"
    mount -t overlay overlay -o "lowerdir=/usr/bin,upperdir=$1/upper,workdir=$1/work" /usr/bin
    rm /usr/bin/podman
    shift
    exec "$@"
"""
REACH = """
    import sys
    from podmanspawner import ServiceError, UserPodman
    try:
        UserPodman.for_user(sys.argv[1], activation="direct").ping()
    except ServiceError as error:
        print(error)
"""


def test_podman_is_not_installed(fresh, tmp_path):
    """In a mount namespace whose /usr/bin has no podman."""
    reach = [sys.executable, "-c", textwrap.dedent(REACH), fresh.name]
    said = subprocess.check_output(
        ["unshare", "--mount", "sh", "-c", WITHOUT_PODMAN, "sh", tmp_path, *reach], text=True
    )
    assert f"podman could not be started as {fresh.name}" in said
    assert "apt-get install podman" in said


# what a service is given


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def test_root_is_dropped_for_good(start, ada):
    ping(start(ada))
    account = ada.account
    (pid,) = services(account)
    status = status_of(pid)
    assert set(status["Uid"].split()) == {str(account.uid)}
    assert set(status["Gid"].split()) == {str(account.gid)}
    assert sorted(map(int, status["Groups"].split())) == sorted(set(account.groups))
    capabilities = {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Amb")}
    assert capabilities == {0} or namespace_owner(pid) == account.uid
    assert os.getsid(pid) == pid


def namespace_owner(pid):
    """Return whose user namespace a process is in: its capabilities count for that only."""
    with open(f"/proc/{pid}/ns/user", "rb") as namespace:
        owner = fcntl.ioctl(namespace, NS_GET_OWNER_UID, bytes(4))
    return int.from_bytes(owner, sys.byteorder)


def test_nothing_of_the_hub_is_in_the_environment(start, ada, monkeypatch):
    for name in ("CONFIGPROXY_AUTH_TOKEN", "JUPYTERHUB_CRYPT_KEY", "PYTHONPATH", "CONTAINER_HOST"):
        monkeypatch.setenv(name, "secret-of-the-hub")
    ping(start(ada, environment={"https_proxy": "http://proxy"}))
    (pid,) = services(ada.account)
    for process in (pid, *children_of(pid)):
        raw = Path(f"/proc/{process}/environ").read_bytes()
        assert b"secret-of-the-hub" not in raw
        seen = dict(item.split("=", 1) for item in raw.decode().split("\0") if item)
        given = {name for name in seen if not name.startswith("_")}
        assert given == {
            "HOME",
            "USER",
            "LOGNAME",
            "PATH",
            "LANG",
            "XDG_RUNTIME_DIR",
            "LISTEN_FDS",
            "LISTEN_PID",
            "https_proxy",
            *(["DBUS_SESSION_BUS_ADDRESS"] if booted() else ["DISABLE_HC_SYSTEMD"]),
        } - ({"LISTEN_FDS", "LISTEN_PID"} - given)
        assert seen["HOME"] == ada.account.home
        assert seen["https_proxy"] == "http://proxy"


def children_of(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    found = [int(child) for child in text.split()]
    return [*found, *(below for child in found for below in children_of(child))]


def test_nothing_of_the_hub_is_open(start, ada, tmp_path):
    with (tmp_path / "secret").open("w") as secret, socket.socket() as listener:
        os.set_inheritable(secret.fileno(), True)
        listener.set_inheritable(True)
        service = start(ada)
        ping(service)
        (pid,) = services(ada.account)
        ours, theirs = open_files("self"), open_files(pid)
        shared = {f"socket:[{os.fstat(service._direct._listener.fileno()).st_ino}]"}
    of_its_own = {target for target in theirs.values() if target.startswith("anon_inode:")}
    assert shared <= set(theirs.values())
    assert set(theirs.values()) & set(ours.values()) <= {*shared, *of_its_own, "/dev/null"}
    assert theirs["0"] == "/dev/null"
    log = str(ada.account.socket_path.with_name("podmanspawner.log"))
    assert theirs["1"] == theirs["2"] == log


def open_files(pid):
    found = {}
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found[descriptor] = os.readlink(f"/proc/{pid}/fd/{descriptor}")
    return found


# how long it takes


@pytest.mark.alone
def test_the_time_from_nothing_to_an_answer(start, ada, tell):
    """No more than 1.5 times what ``podman system service`` itself takes."""
    account = ada.account
    ours, alone = [], []
    for _ in range(9):
        service = start(ada)
        began = time.perf_counter()
        ping(service)
        ours.append(time.perf_counter() - began)
        service.close()
        end_services(account)
        account.socket_path.unlink()

        began = time.perf_counter()
        with own_service(ada):
            while not answers(account.socket_path):
                time.sleep(0.001)
            alone.append(time.perf_counter() - began)
        account.socket_path.unlink(missing_ok=True)
    ratio = statistics.median(ours) / statistics.median(alone)
    tell(
        f"from nothing to an answer: {1000 * statistics.median(ours):.0f} ms, "
        f"podman system service alone: {1000 * statistics.median(alone):.0f} ms, "
        f"ratio {ratio:.2f}"
    )
    assert ratio <= 1.5


def answers(path):
    """Ask with the least that speaks HTTP."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b"200 OK" in connection.recv(100)
