"""The spawner's verbs against the real engine, in an event loop that runs nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jupyterhub.objects import Hub as HubInfo
from tornado import web
from traitlets import TraitError

from accounts import TINY_JOVYAN, real_account
from free_ports import free_port
from lone import lone_spawner
from measure import measured_loop
from podmanspawner import PortTaken, UserPodman, cgroups, launching


@pytest.fixture(scope="module")
def user(ada):
    ada.load(TINY_JOVYAN)
    return ada


@pytest.fixture(autouse=True)
def nothing_left_over(user):
    yield
    assert user.clear() == ([], [])


@pytest.mark.alone
async def test_nothing_holds_the_event_loop(user, tell):
    """What holds the loop does so each time; a busy machine does not, six times in a row."""
    spawner = lone_spawner(user.name)
    await spawner.start()  # what is done once in a process, such as imports
    await spawner.stop()
    rounds = []
    while len(rounds) < 6 and min(rounds, default=10) >= 10:
        async with measured_loop(with_waits=False) as held:
            for _ in range(50):
                await spawner.start()
                assert await spawner.poll() is None
                await spawner.stop()
                assert await spawner.poll() == 0
        rounds.append(max(held))
    worst = ", ".join(f"{held:.1f} ms" for held in rounds)
    tell(f"50 starts, polls and stops: the event loop was held {worst} at worst")
    assert min(rounds) < 10


async def test_start_tells_its_stages(user):
    spawner = lone_spawner(user.name)
    starting = asyncio.ensure_future(spawner.start())
    await asyncio.sleep(0)
    stages = [stage async for stage in spawner.progress()]
    url = await starting
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    assert [stage["progress"] for stage in stages] == [10, 20, 50, 70, 80]
    assert user.name in stages[0]["message"]
    await spawner.stop()


async def test_the_image_is_prepared_once(user, monkeypatch):
    monkeypatch.setattr(launching, "_prepared", {})
    told = []
    for options in ({"user_mapping": "root", "container_user": "0:0"}, {}, {}):
        spawner = lone_spawner(user.name, **options)
        await spawner.start()
        told += [each["message"] for each in spawner._stages if each["progress"] == 50]
        await spawner.stop()
    assert told[1].startswith("Preparing the image for your account")
    assert [told[0], told[2]] == ["Creating the container"] * 2


async def test_a_new_spawner_finds_the_server_by_its_state(user):
    first = lone_spawner(user.name)
    url = await first.start()
    second = lone_spawner(user.name)
    second.load_state(first.get_state())
    second.server.port = urlsplit(url).port
    assert await second.poll() is None
    await second.stop()
    assert await first.poll() is not None


async def test_the_hubs_own_paths_stay_with_it(user):
    """An early JupyterHub 5 would keep them, and the image's programs would not be found."""
    spawner = lone_spawner(user.name)
    assert not {"PATH", "PYTHONPATH", "VIRTUAL_ENV"} & set(spawner.get_env())


async def test_stop_finds_a_server_without_any_state(user):
    await lone_spawner(user.name).start()
    await lone_spawner(user.name).stop()
    assert user.containers() == []


async def test_the_next_start_replaces_a_server_that_nobody_remembers(user):
    await lone_spawner(user.name).start()
    old = user.podman("ps", "-q").split()
    spawner = lone_spawner(user.name)
    await spawner.start()
    assert len(user.podman("ps", "-q").split()) == 1
    assert user.podman("ps", "-q").split() != old
    await spawner.stop()


async def test_a_server_that_dies_later_is_told_and_removed(user):
    spawner = lone_spawner(user.name, cmd=["sh", "-c", "httpd -p 8888; sleep 1; echo end; exit 5"])
    await spawner.start()
    while (told := await spawner.poll()) is None:
        await asyncio.sleep(0.1)
    assert told == 5
    assert user.containers() == []


async def test_a_taken_port_is_tried_again(user):
    taken, free = free_port(), free_port()
    blocker = subprocess.Popen(["busybox", "nc", "-l", "-p", str(taken)])
    offers = [taken, free]
    try:
        await asyncio.sleep(0.2)
        with UserPodman.for_user(user.name) as podman:
            launch = partial(launching.launch, podman, lone_spawner(user.name)._settings())
            started = launch(pick_port=lambda _host: offers.pop(0))
            assert started.port == free
            podman.remove(started.id)
            with pytest.raises(PortTaken, match="try again"):
                launch(pick_port=lambda _host: taken)
            podman.remove(lone_spawner(user.name)._container_name)
    finally:
        blocker.kill()
        blocker.wait()


async def test_a_container_of_the_users_own_is_never_touched(user):
    spawner = lone_spawner(user.name)
    user.podman("create", "--name", spawner._container_name, TINY_JOVYAN)
    with pytest.raises(web.HTTPError, match="does not belong to this server"):
        await spawner.start()
    assert user.containers() == [spawner._container_name]
    user.podman("rm", spawner._container_name)


async def test_a_port_of_somebody_else_is_no_url(user, bob):
    """With the host's network the server binds the port itself: another account was faster."""
    port = free_port()
    listen = ["python3", "-m", "http.server", "-b", "127.0.0.1", str(port)]
    squatter = subprocess.Popen(listen, user=bob.account.uid, cwd="/", stderr=subprocess.DEVNULL)
    try:
        await asyncio.sleep(1)
        spawner = lone_spawner(user.name, network="host", port=port, cmd=["sleep", "100"])
        with pytest.raises(web.HTTPError, match=f"listened on by uid {bob.account.uid}"):
            await spawner.start()
    finally:
        squatter.kill()
        squatter.wait()
    assert user.containers() == []


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.2, 0.4, 2])
async def test_a_cancelled_start_leaves_nothing(user, seconds):
    spawner = lone_spawner(user.name, cmd=["sleep", "100"])
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(spawner.start(), seconds)
    assert user.containers() == []
    assert await spawner.poll() == 0


@pytest.mark.alone
async def test_nothing_waits_for_an_engine_that_hangs(user):
    """A service that accepts and never answers holds up its own account only."""
    await lone_spawner(user.name).stop()
    (service,) = user.processes("system service")[-1:]
    os.kill(service, 19)
    try:
        polling = lone_spawner(user.name)
        polling.container_id = "0" * 64
        async with measured_loop(with_waits=False) as held:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(polling.poll())), 1)
        assert max(held) < 200  # and not for the second that it waits
    finally:
        os.kill(service, 18)


# bad input: whom to serve


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("no-such-account", "Create it"),
        ("root", "is root"),
        ("daemon", "system account"),
        ("nobody", "nobody|system account"),
        ("..", "no Unix account"),
        ("0", "no Unix account"),
    ],
)
async def test_an_account_that_is_not_served(user, name, remedy):
    with pytest.raises(web.HTTPError, match=remedy):
        await lone_spawner(name).start()


async def test_an_account_without_subordinate_ids(user):
    with real_account(subordinate_ids=False) as bare:
        with pytest.raises(web.HTTPError, match="usermod --add-subuids"):
            await lone_spawner(bare.name).start()
        assert not Path(f"/run/user/{subprocess.getoutput(f'id -u {bare.name}')}").exists()


async def test_a_runtime_directory_of_somebody_else(user, fresh):
    runtime = fresh.account.runtime_dir
    before = os.listdir(runtime)
    os.chown(runtime, 0, 0)
    with pytest.raises(web.HTTPError, match="belongs to uid 0 with mode 0700.*Remove it as root"):
        await lone_spawner(fresh.name).start()
    assert os.listdir(runtime) == before


# bad input: what to run


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (
            {"image": "localhost/no-such-image:1"},
            "no image localhost/no-such-image:1.*pull_policy",
        ),
        ({"cmd": ["sh", "-c", "echo last words; exit 3"]}, r"exit code 3.*\n.*last words"),
        ({"cmd": ["no-such-command"]}, "cmd: the image has no program 'no-such-command'"),
        ({"cmd": "httpd -f"}, "cmd: .*'httpd -f'. Write it as a list of words: .'httpd', '-f'"),
        (
            {"cmd": ["no-such-command"], "init": False},
            "cmd: the image has no program 'no-such-command'",
        ),
        ({"entrypoint": ["no-such-command"]}, "entrypoint: the image has no .*'no-such-command'"),
        (
            {"entrypoint": ["no-such-command"], "init": False},
            "the image has no program 'no-such-command', .*entrypoint",
        ),
        ({"volumes": {"/no/such/source": "/data"}}, "volumes.*/no/such/source.*Create it"),
        ({"volumes": {"/tmp": "data"}}, "volumes.*'data'"),
        ({"volumes": {"/tmp/{nobody}": "/data"}}, "volumes.*unknown field.*known:"),
        ({"read_only_volumes": {"rela/tive": "/data"}}, "read_only_volumes|volumes"),
        ({"mem_limit": -1}, "mem_limit"),
        ({"gpus": [7]}, "devices.*CDI"),
        ({"seccomp_profile": "/no/such"}, "seccomp_profile.*readable"),
        ({"secrets": ["no-such"]}, "secrets.*podman secret create"),
        ({"secrets": [{"source": "a", "value": lambda _spawner: 1}]}, "secrets.*type int"),
        ({"secrets": [{"source": "a", "value": ""}]}, "secrets.*1 to 511999"),
        ({"secrets": [{"source": "a", "value": "x"}], "cmd": ["no-such"]}, "cmd"),
        ({"selinux_opts": ["label"]}, "selinux_opts"),
        ({"cpu_limit": -1}, "cpu_limit"),
        ({"environment": {"A=B": "1"}}, "environment"),
        ({"working_dir": "relative"}, "working_dir"),
        ({"host_ip": "localhost"}, "host_ip"),
        ({"name_template": "{username}-{servername}"}, "name_template"),
        ({"account_template": "{user}"}, "account_template.*known: {username}"),
        ({"image": ""}, "image"),
        ({"extra_labels": {"": "x"}}, "extra_labels|labels"),
        ({"devices": ["/dev/no-such-device"]}, "devices.*/dev/no-such-device"),
        ({"devices": ["/etc/shadow"]}, "devices"),
        ({"ulimits": {"nofile": 1 << 40}}, "ulimits.*limits.conf"),
        ({"container_user": "nobody-of-it"}, "container_user.*'nobody-of-it'"),
        ({"hostname": "{username}_lab"}, "hostname"),
        ({"tmpfs": {"/scratch": "lots"}}, "tmpfs.*'lots'"),
        ({"cap_drop": ["EVERYTHING"]}, "cap_drop.*'EVERYTHING'"),
        ({"umask": "rw"}, "umask.*octal"),
        ({"extra_spec": {"time_zone": "local"}}, "extra_spec.*did you mean timezone"),
        ({"modify_spec_hook": lambda _spawner, _spec: None}, "modify_spec_hook.*NoneType"),
        (
            {"mounts": [{"type": "overlay", "source": "/no/such", "target": "/a"}]},
            "mounts.*/no/such.*Create it",
        ),
        (
            {"mounts": [{"type": "image", "source": "localhost/no-such:1", "target": "/a"}]},
            "no image localhost/no-such:1",
        ),
        ({"mounts": [{"type": "glob", "source": "/tmp", "target": "/a"}]}, "mounts.*'glob'"),
        ({"shm_size": 1}, "shm_size.*at least"),
    ],
)
async def test_a_bad_value_names_its_option(user, options, remedy):
    with pytest.raises(web.HTTPError) as failure:
        await lone_spawner(user.name, **options).start()
    shown = failure.value.jupyterhub_message
    assert re.search(remedy, shown, re.DOTALL), shown
    assert user.containers() == []
    assert user.podman("secret", "ls", "-q") == ""


@pytest.mark.parametrize(
    "limit",
    [{"mem_limit": "1G"}, {"cpu_limit": 1}, {"mem_guarantee": "1G"}, {"cpu_guarantee": 1},
     {"pids_limit": 99}],
    ids=lambda limit: next(iter(limit)),
)  # fmt: skip
async def test_a_limit_that_the_host_cannot_enforce(user, limit):
    """This test is for hosts that cannot; where they can, tests/podman sees it enforced."""
    (option,) = limit
    if option not in cgroups.obstacles(user.account):
        pytest.skip(f"this host enforces {option}")
    with pytest.raises(web.HTTPError) as failure:
        await lone_spawner(user.name, **limit).start()
    shown = failure.value.jupyterhub_message
    assert re.search(f"^{option}: .* cannot be enforced: .*unenforced_limits", shown), shown
    assert user.containers() == []
    spawner = lone_spawner(user.name, unenforced_limits="warn", **limit)
    await spawner.start()
    assert await spawner.poll() is None
    await spawner.stop()


@pytest.mark.parametrize(
    "options",
    [
        {"cap_drop": ["ALL"], "read_only": True, "umask": "0077", "hostname": "{username}"},
        {"no_new_privileges": False, "init": False, "entrypoint": ["env", "A=B"]},
        {"container_user": "root", "shm_size": "16M", "tmpfs": {"/scratch": "8m"}},
        {"container_user": "1234:5678", "user_mapping": "keep-id:uid=1234,gid=5678"},
    ],
)
async def test_servers_start_hardened_and_as_others(user, options):
    spawner = lone_spawner(user.name, **options)
    await spawner.start()
    assert await spawner.poll() is None
    await spawner.stop()


@pytest.mark.parametrize(("remove", "way"), [(True, "env"), (True, "file"), (False, "env")])
async def test_the_token_is_a_secret(user, remove, way):
    """A kept container gets the new one, and the Hub is told to forget the last."""
    options = {"token_as_secret": way, "remove": remove}
    options["secrets"] = [{"source": "who", "value": lambda spawner: spawner.user.name}]
    ids = set()
    for token in ("a" * 32, "b" * 32):
        spawner = lone_spawner(user.name, **options)
        assert not spawner.will_resume
        spawner.api_token = token
        await spawner.start()
        ids.add(spawner.container_id)
        if way == "file":
            assert token not in user.podman("inspect", spawner.container_id)
        server_environment = "tr '\\0' '\\n' < /proc/$(pidof httpd)/environ"
        said = user.podman("exec", spawner.container_id, "sh", "-c", server_environment)
        assert f"JUPYTERHUB_API_TOKEN={token}" in said
        said = user.podman("exec", spawner.container_id, "cat", "/run/secrets/who")
        assert said == user.name
        await spawner.stop()
    assert len(ids) == (2 if remove else 1)
    await spawner.delete_forever()
    assert user.podman("secret", "ls", "-q") == ""


async def test_a_hook_knows_its_spawner_and_has_the_last_word(user):
    def hook(spawner, spec):
        return {**spec, "hostname": f"of-{spawner.user.name}"}

    spawner = lone_spawner(user.name, modify_spec_hook=hook)
    await spawner.start()
    assert user.podman("exec", spawner.container_id, "hostname").strip() == f"of-{user.name}"
    await spawner.stop()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("entrypoint", {"tini": "--"}),
        ("dns", [1]),
        ("devices", {"/dev/fuse": "/dev/fuse"}),
        ("cap_add", [1]),
        ("umask", 0o22),
        ("shm_size", "much"),
        ("pids_limit", "many"),
        ("memswap_limit", "much"),
        ("secrets", [1]),
        ("masked_paths", [1]),
        ("token_as_secret", "hidden"),
        ("unenforced_limits", "ignore"),
        ("gpus", -1),
        ("gpus", "a b"),
        ("extra_hosts", {"db": 1}),
        ("extra_annotations", {"a": 1}),
        ("read_only", "no"),
        ("supplemental_gids", [1.5]),
        ("user_mapping", "auto-userns:size=0"),
        ("network", "none"),
        ("network", "slirp4netns:nosuch=1"),
        ("port_range", (30999, 30000)),
        ("port_range", 30000),
        ("extra_ports", ["localhost:80:80"]),
        ("dns_search", {"lab": 1}),
        ("image_stores", [1]),
        ("image_stores", ["shared-images"]),
        ("image_stores", ["/var/lib/../shared-images"]),
        ("image_stores", ["/var/lib/a,b"]),
        ("image_stores", ["/var/lib/a\n"]),
        ("image_stores", ["/var/lib/a "]),
        ("image_stores", [""]),
    ],
)
def test_a_value_of_another_type_names_its_option(option, value):
    with pytest.raises(TraitError, match=option):
        lone_spawner("ada", **{option: value})


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ({}, r"http://(127\.0\.0\.1|10\.0\.2\.2):18081/hub/api"),
        ({"connect_ip": "127.0.0.1"}, r"http://(127\.0\.0\.1|10\.0\.2\.2):18081/hub/api"),
        ({"connect_ip": "192.0.2.9"}, r"http://192\.0\.2\.9:18081/hub/api"),
        ({"connect_url": "https://hub.example.org/hub/"}, r"https://hub\.example\.org/hub/api"),
    ],
)
async def test_the_address_of_a_hub_that_listens_everywhere(user, said, url):
    """c.JupyterHub.hub_connect_ip and hub_connect_url count; a port is not made up."""
    spawner = lone_spawner(user.name)
    spawner.hub = HubInfo(ip="0.0.0.0", port=18081, base_url="/hub/", **said)
    await spawner.start()
    environment = user.podman("exec", spawner.container_id, "env")
    await spawner.stop()
    assert re.search(f"^JUPYTERHUB_API_URL={url}$", environment, re.MULTILINE), environment


async def test_a_hub_on_a_unix_socket(user):
    spawner = lone_spawner(user.name)
    spawner.hub = HubInfo(base_url="/hub/", bind_url="http+unix://%2Frun%2Fhub.sock/hub/")
    with pytest.raises(web.HTTPError, match="hub_connect_url: the Hub listens on a Unix socket"):
        await spawner.start()
    spawner.hub_connect_url = "http://192.0.2.9:8081"
    await spawner.start()
    environment = user.podman("exec", spawner.container_id, "env")
    await spawner.stop()
    assert "JUPYTERHUB_API_URL=http://192.0.2.9:8081/hub/api" in environment


async def test_a_fixed_port_that_is_taken(user):
    port = free_port()
    with closing(socket.create_server(("127.0.0.1", port))):
        spawner = lone_spawner(user.name, network="private", host_ip="127.0.0.1", port=port)
        with pytest.raises(web.HTTPError) as failure:
            await spawner.start()
    assert "port" in failure.value.jupyterhub_message
    assert user.containers() == []


async def test_podman_that_is_not_installed(fresh, tmp_path):
    """In a mount namespace of its own, whose /usr/bin lacks it."""
    without_podman = f"""
mount -t tmpfs tmpfs {tmp_path} && mkdir {tmp_path}/upper {tmp_path}/work &&
mount -t overlay overlay -o lowerdir=/usr/bin,upperdir={tmp_path}/upper,workdir={tmp_path}/work \
    /usr/bin && rm /usr/bin/podman && exec "$@"
"""
    start = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from lone import lone_spawner
from measure import measured_loop
try:
    asyncio.run(lone_spawner({fresh.name!r}, activation="direct").start())
except Exception as error:
    print(error.jupyterhub_message)
"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", without_podman, "sh", sys.executable, "-c", start],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "podman could not be started" in done.stdout, done
    assert "apt-get install podman" in done.stdout


async def test_a_kept_container_goes_with_its_server(user):
    spawner = lone_spawner(user.name, remove=False)
    await spawner.start()
    await spawner.stop()
    assert user.containers() == [spawner._container_name]
    await spawner.delete_forever()
    assert user.containers() == []


@pytest.mark.parametrize("remove", [True, False])
async def test_the_hub_is_told_whether_a_server_resumes(user, remove):
    assert lone_spawner(user.name, remove=remove).will_resume is not remove


async def test_the_images_own_command(user):
    spawner = lone_spawner(user.name, cmd=None)
    with pytest.raises(web.HTTPError, match="ended while it was starting"):
        await spawner.start()  # the image's own is a shell, which ends at once


async def test_the_progress_page_may_be_earlier_than_the_start(user):
    """It is asked for while a pre_spawn_hook still runs, and by two windows."""
    spawner = lone_spawner(user.name)
    spawner._spawn_pending = True

    async def stages():
        return [stage["progress"] async for stage in spawner.progress()]

    windows = [asyncio.ensure_future(stages()) for _ in range(2)]
    await asyncio.sleep(0.05)
    await spawner.start()
    assert await asyncio.wait_for(asyncio.gather(*windows), 5) == [[10, 20, 50, 70, 80]] * 2
    await spawner.stop()
