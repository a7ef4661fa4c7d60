"""What a server's container finds inside, option by option, through the builder."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN, booted, change_accounts
from devices import cdi_device
from podmanspawner import ContainerSpec, SpecError, UserPodman, cgroups, fitting, launching, server
from podmanspawner.builder import build
from podmanspawner.names import ServerName, slug
from podmanspawner.settings import ServerSettings


@pytest.fixture(scope="module")
def podman(ada):
    ada.load(TINY_JOVYAN)
    with UserPodman.for_user(ada.name) as podman:
        yield podman


@pytest.fixture
def shown(podman):
    """Return a function that runs a script in a server's container and returns what it prints."""

    def run(script, **options):
        settings = ServerSettings(
            image=TINY_JOVYAN,
            server=ServerName("8081", "Ada"),
            cmd=options.pop("cmd", ["sh", "-c", script]),
            **options,
        )
        image = podman.images.inspect(TINY_JOVYAN)
        facts = fitting.image_facts(podman, image, settings.container_user)
        spec = replace(build(settings, facts, podman.account, port=1), ports=())
        result = podman.run(spec, seconds=60)
        assert result.exit_code == 0, result.output
        return result.output.strip()

    yield run
    assert podman.containers() == []


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("echo $0", {"entrypoint": ["sh", "-c", "echo entry $0"], "cmd": ["word"]}, "entry word"),
        ("id -u; id -g", {"container_user": "1000:100"}, "1000\n100"),
        ("id -un", {"container_user": "root"}, "root"),
        ("id -G", {"container_user": "1000:100", "supplemental_gids": [7, "nogroup"]},
         "100 7 65534"),
        ("awk '{print $1, $3}' /proc/self/uid_map /proc/self/gid_map",
         {"user_mapping": "auto-userns:size=4096", "home_target": ""}, "0 4096\n0 4096"),
        ("id -u; awk '{print $1, $2, $3}' /proc/self/uid_map",
         {"user_mapping": "0:1:1000,1000:0:1,1001:1001:64535"},
         "1000\n0 1 1000\n1000 0 1\n1001 1001 64535"),
        ("awk '{print $1, $2, $3}' /proc/self/uid_map; cat /proc/self/gid_map | wc -l",
         {"user_mapping": "0:1:1000,1000:0:1;0:1:100,100:0:1,101:101:9"},
         "0 1 1000\n1000 0 1\n3"),
        ("umask", {"umask": "0027"}, "0027"),
        ("hostname", {"hostname": "{username}.lab"}, f"{slug('Ada')}.lab"),
        ("hostname", {"hostname": "lab", "network": "host"}, "lab"),
        ("grep -w db /etc/hosts", {"extra_hosts": {"db": "192.0.2.7"}}, "192.0.2.7\tdb"),
        ("grep -w six /etc/hosts", {"extra_hosts": {"six": "2001:db8::1"}}, "2001:db8::1\tsix"),
        ("cat /etc/resolv.conf", {"dns": ["192.0.2.53"]}, "nameserver 192.0.2.53"),
        ("grep -v nameserver /etc/resolv.conf",
         {"dns_search": ["lab.example.org"], "dns_options": ["ndots:2"]},
         "search lab.example.org\noptions ndots:2"),
        ("df -k /dev/shm | awk 'NR == 2 {print $2}'", {"shm_size": 32 << 20}, str(32 << 10)),
        ("ulimit -Sn; ulimit -Hn", {"ulimits": {"nofile": (99, 999)}}, "99\n999"),
        ("ulimit -c", {"ulimits": {"core": 0}}, "0"),
        ("echo lost > /dev/gone && echo ok", {"devices": ["/dev/null:/dev/gone:rw"]}, "ok"),
        ("exec 3<>/dev/fuse && echo ok", {"devices": ["/dev/fuse"]}, "ok"),
        ("ls /dev/fuse 2>&1 || true", {}, "ls: /dev/fuse: No such file or directory"),
        ("stat -c %a /scratch; df -k /scratch | awk 'NR == 2 {print $2}'",
         {"tmpfs": {"/scratch": "size=16m,mode=1770"}}, "1770\n16384"),
        ("touch /a/b && echo ok", {"tmpfs": {"/a": "1m"}}, "ok"),
        ("grep NoNewPrivs /proc/self/status", {}, "NoNewPrivs:\t1"),
        ("grep NoNewPrivs /proc/self/status", {"no_new_privileges": False}, "NoNewPrivs:\t0"),
        ("grep CapBnd /proc/self/status", {"cap_drop": ["ALL"]}, f"CapBnd:\t{0:016x}"),
        ("grep CapEff /proc/self/status", {"cap_add": ["net_raw"]}, f"CapEff:\t{1 << 13:016x}"),
        ("grep Seccomp: /proc/self/status", {}, "Seccomp:\t2"),
        ("grep Seccomp: /proc/self/status", {"seccomp_profile": "unconfined"}, "Seccomp:\t0"),
        ("echo ok", {"selinux_opts": ["disable"]}, "ok"),
        ("wc -c < /proc/meminfo", {"masked_paths": ["/proc/meminfo"]}, "0"),
        ("grep -c ' /proc/' /proc/mounts || true", {"unmasked_paths": ["ALL"]}, "0"),
        ("test $(grep -c ' /proc/' /proc/mounts) -gt 4 && echo ok", {}, "ok"),
        ("cat /proc/sys/net/ipv4/ip_default_ttl",
         {"extra_spec": {"sysctl": {"net.ipv4.ip_default_ttl": "9"}}}, "9"),
        ("hostname", {"modify_spec": lambda spec: {**spec, "hostname": "hooked"}}, "hooked"),
        ("touch /etc/x 2>&1 || true", {"read_only": True},
         "touch: /etc/x: Read-only file system"),
        ("touch /tmp/a /var/tmp/b ~/of-a-test /dev/shm/d && rm ~/of-a-test && echo ok",
         {"read_only": True}, "ok"),
        ("touch /run/a && echo ok", {"read_only": True, "container_user": "root"}, "ok"),
    ],
)  # fmt: skip
def test_what_the_container_sees(shown, script, options, expected):
    assert shown(script, **options) == expected


def test_the_users_files_are_the_accounts(shown, ada):
    """With the image's user, with another one, and with the umask that was asked for."""
    ids = {"user_mapping": "0:1:1000,1000:0:1,1001:1001:64535"}
    for options in ({}, {"container_user": "1234"}, ids):
        shown("touch ~/of-a-test", umask="0077", home_target="/home/jovyan",
              **options)  # fmt: skip
        made = Path(ada.account.home, "of-a-test")
        assert (made.stat().st_uid, made.stat().st_mode & 0o777) == (ada.account.uid, 0o600)
        made.unlink()


STACKS = """
if [ $(id -u) = 0 ]; then
    [ "$CHOWN_HOME" != yes ] || chown "$NB_UID:$NB_GID" /home/$NB_USER
    exec su "$NB_USER" -c 'id -u; umask $NB_UMASK; touch ~/of-a-test'
fi
umask ${NB_UMASK:-022}; touch ~/of-a-test; id -u
"""
"""What start.sh of Jupyter's docker-stacks does with these variables, in small.

ref: https://github.com/jupyter/docker-stacks/blob/main/images/docker-stacks-foundation/start.sh
"""


@pytest.mark.parametrize(
    ("options", "variables", "found"),
    [
        ({}, {}, (True, 0o644)),
        ({}, {"NB_UMASK": "077"}, (True, 0o600)),
        ({"user_mapping": "keep-id:uid=1000,gid=100", "container_user": "root"},
         {"CHOWN_HOME": "yes", "NB_UMASK": "027"}, (True, 0o640)),
        ({"user_mapping": "root", "container_user": "root"}, {"CHOWN_HOME": "yes"},
         (False, 0o644)),
    ],
)  # fmt: skip
def test_images_that_become_another_user(shown, fresh_home, options, variables, found):
    """With the account's home as NB_USER's, as the documentation says it comes out."""
    environment = {"NB_USER": "jovyan", "NB_UID": "1000", "NB_GID": "100", "NB_UMASK": "022"}
    shown(
        STACKS,
        environment={**environment, **variables},
        home_target="",
        volumes={str(fresh_home): "/home/jovyan"},
        **options,
    )
    made = (fresh_home / "of-a-test").stat()
    is_the_accounts = made.st_uid == fresh_home.parent.stat().st_uid
    assert (is_the_accounts, made.st_mode & 0o777) == found


@pytest.fixture
def fresh_home(ada):
    """A folder of the account's, removed as whoever of its ids it belongs to."""
    home = Path(ada.account.home, "stacks")
    ada.run("mkdir", str(home))
    yield home
    ada.podman("unshare", "rm", "-r", str(home))


def test_servers_with_ids_of_their_own(podman, ada):
    """Two at a time have no id in common, nor the account's; a volume is made theirs."""
    settings = ServerSettings(
        image=TINY_JOVYAN,
        server=ServerName("8081", "ada"),
        cmd=["sh", "-c", "date > /work/a && exec sleep 60"],
        user_mapping="auto-userns:size=2048",
        home_target="",
    )
    facts = fitting.image_facts(podman, podman.images.inspect(TINY_JOVYAN))
    made = []
    try:
        for name in ("one", "two"):
            own = replace(
                settings,
                server=ServerName("8081", "ada", name),
                volumes={f"of-{name}": {"bind": "/work", "mode": "U"}},
            )
            made.append(
                podman.create(replace(build(own, facts, podman.account, port=1), ports=()))
            )
            podman.start(made[-1])
        pids = [podman.inspect(container).state.pid for container in made]
        users = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
        assert len(users) == 2
        assert all(podman.account.owns(uid) for uid in users)
        assert ada.account.uid not in users
        with UserPodman.for_user(ada.name) as again:  # its runtime directory is accepted still
            assert len(again.containers()) == 2
    finally:
        for container in made:
            podman.remove(container)
        ada.podman("volume", "rm", "-f", "of-one", "of-two")


def test_named_volumes_belong_to_the_server(shown, ada):
    """Two users' volumes are two; what one wrote is there again, and is the server's user's."""
    volumes = {"volumes": {"of-{username}": "/work"}}
    assert shown("echo kept > /work/a && stat -c %U /work/a", **volumes) == "jovyan"
    assert shown("cat /work/a", **volumes) == "kept"
    mounts = {"mounts": [{"source": "of-{username}", "target": "/w", "read_only": True}]}
    assert shown("cat /w/a; touch /w/b 2>/dev/null || echo no", **mounts) == "kept\nno"
    ada.podman("volume", "rm", f"of-{slug('Ada')}")


@pytest.mark.parametrize(
    ("mount", "script", "expected"),
    [
        ({"type": "bind", "source": "{home}/course", "target": "/c", "ro": True},
         "cat /c/a; touch /c/b 2>/dev/null || echo no", "task\nno"),
        ({"type": "overlay", "source": "{home}/course", "target": "/c"},
         "cat /c/a; echo done > /c/a; cat /c/a", "task\ndone"),
        ({"type": "image", "source": TINY_JOVYAN, "target": "/i"},
         "ls /i/bin/busybox; touch /i/b 2>/dev/null || echo no", "/i/bin/busybox\nno"),
        ({"type": "tmpfs", "target": "/t", "tmpfs-size": "8m", "tmpfs-mode": "1777"},
         "touch /t/a; df -k /t | awk 'NR == 2 {print $2}'", "8192"),
    ],
)  # fmt: skip
def test_mounts(shown, ada, mount, script, expected):
    ada.run("sh", "-c", "mkdir -p ~/course && echo task > ~/course/a")
    assert shown(script, mounts=[mount]) == expected
    assert ada.run("cat", f"{ada.account.home}/course/a").stdout == "task\n"


def test_annotations_reach_the_runtime(podman, shown):
    """The engine writes them into the configuration that the runtime reads."""
    settings = ServerSettings(
        image=TINY_JOVYAN,
        server=ServerName("8081", "ada"),
        cmd=["sleep", "60"],
        extra_annotations={"example.org/team": "ü"},
    )
    image = podman.images.inspect(TINY_JOVYAN)
    spec = build(settings, fitting.image_facts(podman, image), podman.account, port=18997)
    made = podman.create(spec)
    try:
        podman.start(made)
        inspected = podman.request_json("inspect", "GET", f"containers/{made}/json")
        # the service is the account's: what is read here is no invariant of the spawner's
        runtime = json.loads(Path(inspected["OCIConfigPath"]).read_text())
        assert runtime["annotations"]["example.org/team"] == "ü"
    finally:
        podman.remove(made)


@pytest.fixture
def device():
    with cdi_device("podmanspawner.test/device", "one") as name:
        yield name


@pytest.fixture
def gpu():
    """A device that has the name of a GPU."""
    with cdi_device("nvidia.com/gpu", "all") as name:
        yield name


def test_a_cdi_device(shown, device):
    script = "echo $CDI; exec 3<>/dev/fuse && echo ok"
    assert shown(script, devices=[device]) == "seen\nok"


def test_a_seccomp_profile(shown, ada):
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    ada.run("sh", "-c", f"echo '{profile}' > ~/profile.json")
    script = "mkdir /tmp/a 2>&1 || touch /tmp/b && echo ok"
    said = shown(script, seccomp_profile=f"{ada.account.home}/profile.json")
    assert said == "mkdir: can't create directory '/tmp/a': Operation not permitted\nok"


def test_gpus(shown, gpu):
    assert shown("echo $CDI; exec 3<>/dev/fuse && echo ok", gpus="all") == "seen\nok"
    with pytest.raises(SpecError, match="CDI"):
        shown("true", gpus=[7])


LIMITS = {"mem_limit": 1 << 28, "cpu_limit": 0.5, "pids_limit": 99, "mem_guarantee": 1 << 27}


def test_limits_are_enforced_or_refused(podman, caplog):
    """What the container's cgroup says, or, where none can be had, an error before it is made."""
    settings = ServerSettings(
        image=TINY_JOVYAN,
        server=ServerName("8081", "ada"),
        cmd=["sh", "-c", "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max; exec sleep 60"],
        **LIMITS,
    )
    launch = partial(launching.launch, podman, pull_policy="never")
    try:
        if cgroups.obstacles(podman.account):
            with pytest.raises(SpecError, match="cannot be enforced.*unenforced_limits"):
                launch(settings=settings)
            assert podman.containers() == []
            started = launch(settings=replace(settings, unenforced_limits="warn"))
            assert podman.inspect(started.id).state.running
            assert all(
                f"{option}: {value} cannot" in caplog.text for option, value in LIMITS.items()
            )
            assert "not supported" not in caplog.text  # the engine was not asked for any
        else:
            started = launch(settings=settings)
            said = server.last_words(podman, started.id)
            assert said.splitlines()[:3] == [str(1 << 28), "50000 100000", "99"]
    finally:
        podman.remove(settings.server.container())


@pytest.mark.parametrize("name", ["podmanspawner.test/device=two", "example.org/gpu=all"])
def test_an_unknown_cdi_device(shown, device, name):
    with pytest.raises(SpecError, match="CDI") as caught:
        shown("true", devices=[name])
    assert caught.value.option == "devices"


@pytest.mark.parametrize(
    ("option", "remedy", "options"),
    [
        ("devices", "/dev/no-such-device", {"devices": ["/dev/no-such-device"]}),
        ("devices", "/etc/cdi", {"devices": ["example.org/gpu=all"]}),
        ("ulimits", "limits.conf", {"ulimits": {"nofile": 1 << 40}}),
        ("container_user", "nobody-of-it", {"container_user": "nobody-of-it"}),
        ("seccomp_profile", "readable", {"seccomp_profile": "/no/such/profile.json"}),
        ("secrets", "podman secret create", {"secrets": ["no-such-secret"]}),
        ("working_dir", "no folder /no/such", {"working_dir": "/no/such"}),
        ("supplemental_gids", "no group lab; give its number", {"supplemental_gids": ["lab"]}),
        ("extra_spec", "'privileged'", {"extra_spec": {"privileged": "yes"}}),
        ("extra_spec", "'env'", {"extra_spec": {"env": {"A": 1}}}),
        ("extra_spec", "zoneinfo/No/Where", {"extra_spec": {"timezone": "No/Where"}}),
    ],
)
def test_what_the_host_refuses_names_its_option(shown, option, remedy, options):
    with pytest.raises(SpecError, match=remedy) as caught:
        shown("true", **options)
    assert caught.value.option == option


@pytest.fixture
def in_a_group(fresh):
    """An account that is in a group besides its own."""
    group = f"{fresh.name}g"
    change_accounts("groupadd", group)
    change_accounts("usermod", "-aG", group, fresh.name)
    if booted():  # a user manager has the groups that there were when it was started
        unit = f"user@{fresh.account.uid}.service"
        subprocess.run(["systemctl", "restart", unit], check=True)
    fresh.load(TINY_JOVYAN)
    with UserPodman.for_user(fresh.name) as podman:
        yield podman
    change_accounts("groupdel", group)


def first_line(podman, container):
    """Return what a container prints, once it does."""
    end = time.monotonic() + 15
    while not (printed := podman.logs(container)):
        assert time.monotonic() < end
        time.sleep(0.05)
    return printed


def test_kept_groups(in_a_group):
    """crun keeps the groups of the account; another runtime is refused, not silently wrong."""
    settings = ServerSettings(
        image=TINY_JOVYAN,
        server=ServerName("8081", "ada"),
        cmd=["sh", "-c", "id -G; sleep 60"],
        keep_groups=True,
    )
    made = in_a_group.create(ContainerSpec(image=TINY_JOVYAN, name="probe"))
    runtime = in_a_group.inspect(made).runtime
    in_a_group.remove(made)
    try:
        if runtime.endswith("crun"):
            started = launching.launch(in_a_group, settings, pull_policy="never")
            assert "65534" in first_line(in_a_group, started.id).split()
        else:
            with pytest.raises(SpecError, match=f"crun.* has '{runtime}'; install") as caught:
                launching.launch(in_a_group, settings, pull_policy="never")
            assert caught.value.option == "keep_groups"
    finally:
        in_a_group.remove(settings.server.container())
