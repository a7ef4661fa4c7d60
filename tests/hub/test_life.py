"""What happens around a server's start and end, against the real engine."""

from __future__ import annotations

import asyncio
import logging
import re
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tornado import web
from traitlets import TraitError

from accounts import TINY_JOVYAN
from lone import ANSWERING, lone_spawner
from podmanspawner import UserPodman
from podmanspawner.names import HUB_LABEL, SERVERNAME_LABEL, USERNAME_LABEL


@pytest.fixture(scope="module")
def user(ada):
    ada.load(TINY_JOVYAN)
    return ada


@pytest.fixture
def told(caplog):
    """What the spawner logs; without a Hub it logs where traitlets do."""
    logger = logging.getLogger("traitlets")
    logger.addHandler(caplog.handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield caplog
    logger.setLevel(level)
    logger.removeHandler(caplog.handler)


@pytest.fixture(autouse=True)
def nothing_left_over(user):
    yield
    left, new = user.containers(), volumes(user)
    if left:
        user.podman("rm", "-f", "-t", "0", *left)
    if new:
        user.podman("volume", "rm", *new)
    assert (left, new) == ([], set())


def inside(user, spawner, *command):
    return user.podman("exec", spawner.container_id, *command).strip()


def volumes(user):
    """Return the names of the volumes that tests here make."""
    names = user.podman("volume", "ls", "-q").split()
    return {name for name in names if name.startswith(("of-", "18081-", "18082-"))}


# post_start_cmd


@pytest.mark.parametrize(
    "command",
    ["sh -c 'id -un; echo done > /tmp/done'", ["sh", "-c", "id -un; echo done > /tmp/done"]],
)
async def test_a_command_after_the_start(user, told, command):
    spawner = lone_spawner(user.name, post_start_cmd=command, remove=False)
    await spawner.start()
    assert inside(user, spawner, "cat", "/tmp/done") == "done"
    assert re.search(r"exit code 0.*\n    \| jovyan", told.text)
    user.podman("exec", spawner.container_id, "rm", "/tmp/done")
    await spawner.stop()
    await spawner.start()  # the kept container, once more
    assert inside(user, spawner, "cat", "/tmp/done") == "done"
    await spawner.stop()
    await spawner.delete_forever()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo woe >&2; exit 3"], r"exit code 3.*\n    \| woe"),
        (["no-such-program"], "no-such-program"),
    ],
)
async def test_a_command_that_fails_is_told_and_the_server_goes_on(user, told, command, words):
    spawner = lone_spawner(user.name, post_start_cmd=command)
    await spawner.start()
    assert re.search(words, told.text, re.DOTALL)
    assert [r.levelname for r in told.records if "post_start_cmd" in r.message] == ["WARNING"]
    assert await spawner.poll() is None
    await spawner.stop()


async def test_a_command_with_an_open_quote_is_refused(user):
    with pytest.raises(web.HTTPError, match="post_start_cmd.*quot"):
        await lone_spawner(user.name, post_start_cmd="echo 'a").start()


# health


READY_LATE = ["sh", "-c", "(sleep 2; touch /tmp/ready) & exec " + " ".join(ANSWERING)]


@pytest.mark.parametrize(
    "check", [{"cmd": "test -e /tmp/ready"}, {"cmd": ["test", "-e", "/tmp/ready"], "interval": 1}]
)
async def test_a_start_waits_for_health(user, check):
    spawner = lone_spawner(user.name, cmd=READY_LATE, healthcheck=check, healthy_timeout=20)
    await spawner.start()
    assert inside(user, spawner, "ls", "/tmp/ready") == "/tmp/ready"
    assert [stage["progress"] for stage in spawner._stages] == [10, 20, 50, 70, 80, 90]
    await spawner.stop()


async def test_a_start_does_not_wait_unless_it_is_told_to(user):
    spawner = lone_spawner(user.name, healthcheck={"cmd": "false"})
    await spawner.start()
    await spawner.stop()


async def test_a_server_that_does_not_get_healthy(user):
    check = {"cmd": "echo no disk; exit 1"}
    with pytest.raises(web.HTTPError, match=r"not healthy after 2 s(?s:.)*no disk"):
        await lone_spawner(user.name, healthcheck=check, healthy_timeout=2).start()


async def test_a_server_that_ends_before_it_is_healthy(user):
    command = ["sh", "-c", f"{' '.join(ANSWERING[:1] + ANSWERING[2:])}; sleep 2; echo end; exit 4"]
    spawner = lone_spawner(
        user.name, cmd=command, healthcheck={"cmd": "false"}, healthy_timeout=30
    )
    with pytest.raises(web.HTTPError, match=r"exit code 4"):
        await spawner.start()


async def test_an_image_without_a_health_check(user):
    with pytest.raises(web.HTTPError, match="healthy_timeout: .*no health check; set healthcheck"):
        await lone_spawner(user.name, healthy_timeout=5).start()


async def test_health_checks_leave_no_process(user):
    """An exec leaves a conmon for minutes; a health check does not."""
    spawner = lone_spawner(user.name, healthcheck={"cmd": "true"})
    await spawner.start()
    before = len(user.processes("conmon"))
    with UserPodman.for_user(user.name) as podman:
        assert all(podman.healthy(spawner.container_id) for _ in range(3))
    for _ in range(50):  # the last one may be about to end
        if len(user.processes("conmon")) == before:
            break
        await asyncio.sleep(0.1)
    assert len(user.processes("conmon")) == before
    await spawner.stop()


# stop


@pytest.mark.parametrize(
    ("options", "seconds"),
    [({"stop_timeout": 3, "delete_grace_period": 60}, 3), ({"delete_grace_period": 4}, 4)],
)
async def test_the_time_to_stop_by_both_names(user, options, seconds):
    command = ["sh", "-c", f"trap '' TERM; {' '.join(ANSWERING)}"]
    spawner = lone_spawner(user.name, cmd=command, **options)
    await spawner.start()
    shown = user.podman("inspect", "--format", "{{.Config.StopTimeout}}", spawner.container_id)
    assert int(shown) == seconds
    await spawner.stop()


async def test_a_renamed_server_is_polled_and_stopped(user):
    """By its id: its name and labels are those of before."""
    spawner = lone_spawner(user.name, name="old")
    url = await spawner.start()
    renamed = lone_spawner(user.name, name="new")
    renamed.load_state(spawner.get_state())
    renamed.server.port = urlsplit(url).port
    assert await renamed.poll() is None
    await renamed.stop()
    assert await renamed.poll() == 0


# home and folders


async def test_a_home_of_each_users_own_in_one_account(user):
    homes = {"home_source": "{home}/hub/{username}", "create_sources": True}
    spawner = lone_spawner("Grace Hopper", account_template=user.name, **homes)
    with pytest.raises(web.HTTPError, match="home_source: the source .*/hub/grace-hopper---"):
        await lone_spawner(
            "Grace Hopper", account_template=user.name, home_source=homes["home_source"]
        ).start()
    await spawner.start()
    user.podman("exec", spawner.container_id, "touch", "/home/jovyan/hers")
    (home,) = Path(user.account.home, "hub").iterdir()
    assert re.fullmatch(r"grace-hopper---[0-9a-f]{16}", home.name)
    for folder in (home, home.parent):
        seen = folder.stat()
        assert (seen.st_uid, seen.st_gid) == (user.account.uid, user.account.gid)
        assert stat.S_IMODE(seen.st_mode) == 0o700
    assert (home / "hers").stat().st_uid == user.account.uid
    await spawner.stop()
    subprocess.run(["rm", "-r", str(home.parent)], check=True)


async def test_a_servers_name_leads_to_nobody_elses_volume(user):
    """Who is called "a" may call a server "b-c"; the server "c" of "a-b" is somebody else's."""

    async def start(username, name, template):
        options = {"volumes": {template: "/work"}, "home_target": ""}
        made = lone_spawner(username, name=name, account_template=user.name, **options)
        await made.start()
        return made

    theirs = await start("a-b", "c", "of-{username}--{servername}")
    user.podman("exec", theirs.container_id, "touch", "/work/theirs")
    own = await start("a", "b-c", "of-{username}--{servername}")
    assert inside(user, own, "ls", "/work") == ""
    for spawner in (theirs, own):
        await spawner.stop()
    assert volumes(user) == {"of-a-b--c", "of-a--b-c"}
    user.podman("volume", "rm", *volumes(user))
    with pytest.raises(web.HTTPError, match="volumes: .*the same for two users"):
        await start("a", "b-c", "of-{username}-{servername}")


@pytest.mark.parametrize(
    ("option", "value"),
    [("hostname", "a_b"), ("devices", ["fuse"]), ("extra_spec", {"name": "a"})],
)
async def test_a_bad_value_leaves_no_volume_and_no_folder(user, option, value):
    volumes = {"of-{username}": "/a", "{home}/made": "/b"}
    with pytest.raises(web.HTTPError, match=f"{option}: "):
        await lone_spawner(
            user.name, volumes=volumes, create_sources=True, **{option: value}
        ).start()
    assert not Path(user.account.home, "made").exists()


async def test_a_file_as_a_source_stays_a_file(user):
    user.run("sh", "-c", "echo text > ~/file")
    spawner = lone_spawner(
        user.name, create_sources=True, volumes={"{home}/file": "/data/file", "{home}/new": "/new"}
    )
    await spawner.start()
    assert inside(user, spawner, "cat", "/data/file") == "text"
    assert Path(user.account.home, "new").stat().st_uid == user.account.uid
    await spawner.stop()
    user.run("sh", "-c", "rm -r ~/file ~/new")


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (
            {"volumes": {"/srv/of-a-test/a": "/a"}},
            "volumes: .*cannot make the folder /srv/of-a-te",
        ),
        ({"home_source": "/root/{username}"}, "home_source: .*cannot make.*Permission denied"),
        ({"read_only_volumes": {"{home}/nowhere": "/a"}}, "read_only_volumes.*does not exist"),
        ({"home_source": "homes/{username}"}, "home_source: .*absolute path"),
        ({"home_source": "/srv/{nobody}"}, "home_source: .*unknown field"),
        ({"volumes": {"/tmp/$(touch hacked)/../x": "/a"}}, "volumes: .*without"),
    ],
)
async def test_a_folder_that_is_not_made(user, options, remedy):
    with pytest.raises(web.HTTPError, match=remedy):
        await lone_spawner(user.name, create_sources=True, **options).start()
    assert not Path("/srv/of-a-test").exists()


async def test_a_folder_through_a_link_to_where_only_root_may(user):
    """A link of the account's leads nowhere that the account could not go."""
    user.run("ln", "-s", "/root", f"{user.account.home}/link")
    with pytest.raises(web.HTTPError, match="cannot make the folder"):
        await lone_spawner(
            user.name, create_sources=True, volumes={"{home}/link/made": "/a"}
        ).start()
    assert not Path("/root/made").exists()
    user.run("rm", f"{user.account.home}/link")


async def test_a_folders_name_is_never_a_part_of_a_script(user):
    name = "a;touch hacked;$(touch hacked)'\"`"
    spawner = lone_spawner(user.name, create_sources=True, volumes={f"{{home}}/{name}": "/a"})
    await spawner.start()
    await spawner.stop()
    assert {"hacked", name} & {path.name for path in Path(user.account.home).iterdir()} == {name}
    Path(user.account.home, name).rmdir()


# volumes, and what is deleted

VOLUMES = {"of-{username}": "/a", "of-{username}-{servername}": "/b", "of-all": "/c"}


async def test_volumes_are_labelled_and_the_servers(user):
    spawner = lone_spawner(user.name, name="s", volumes=VOLUMES)
    await spawner.start()
    assert (
        inside(user, spawner, "sh", "-c", "touch /a/x /b/x && stat -c %U /a /b")
        == "jovyan\njovyan"
    )
    with UserPodman.for_user(user.name) as podman:
        labels = {volume.name: volume.labels for volume in podman.volumes.list()}
    of_the_user = {HUB_LABEL: "18081", USERNAME_LABEL: user.name}
    assert labels[f"of-{user.name}"] == of_the_user
    assert labels[f"of-{user.name}-s"] == {**of_the_user, SERVERNAME_LABEL: "s"}
    assert labels["of-all"] == {}
    await spawner.stop()
    user.podman("volume", "rm", *labels)


@pytest.mark.parametrize(
    ("name", "delete", "stay"),
    [
        ("s", False, {"user", "server", "other", "all", "own"}),
        ("s", True, {"user", "other", "all", "own"}),
        ("", False, {"user", "server", "other", "all", "own"}),
        ("", True, {"all", "own"}),
    ],
)
async def test_what_goes_with_a_server(user, told, name, delete, stay):
    """A named server takes its own with it; the default one goes with its user, and all of it."""
    user.podman("volume", "create", f"of-{user.name}-own")
    for server in ("s", "other"):
        spawner = lone_spawner(user.name, name=server, volumes=VOLUMES, remove=False)
        await spawner.start()
        await spawner.stop()
    known = {
        "user": f"of-{user.name}",
        "server": f"of-{user.name}-s",
        "other": f"of-{user.name}-other",
        "own": f"of-{user.name}-own",
        "all": "of-all",
    }
    assert volumes(user) == set(known.values())
    deleted = lone_spawner(user.name, name=name, volumes=VOLUMES, delete_volumes=delete)
    if name:
        await deleted.delete_forever()
        assert [found.endswith("--other") for found in user.containers()] == [True]
        gone = f"volumes: of-{user.name}-s." if delete else "volumes: none."
        assert gone in told.text
        await lone_spawner(user.name, name="other").delete_forever()
    else:
        await deleted.delete_forever()
    assert user.containers() == []
    assert volumes(user) == {known[which] for which in stay}
    user.podman("volume", "rm", "-f", *volumes(user))


async def test_secrets_that_go_with_a_server_are_told(user, told):
    """A kept container keeps them; the deletion takes both."""
    options = {"secrets": [{"source": "pass", "value": "word"}], "token_as_secret": "env"}
    spawner = lone_spawner(user.name, remove=False, **options)
    await spawner.start()
    await spawner.stop()
    await spawner.delete_forever()
    (line,) = [r.getMessage() for r in told.records if "Deleted with" in r.getMessage()]
    assert set(line.partition("Secrets: ")[2].split(", ")) == {"pass", "api-token"}
    assert f"containers: {spawner._container_name};" in line
    assert user.podman("secret", "ls", "-q") == ""


async def test_a_volume_in_use_stays(user, told):
    spawner = lone_spawner(user.name, name="s", volumes=VOLUMES, delete_volumes=True)
    await spawner.start()
    await spawner.stop()
    mine = user.podman("create", "-v", f"of-{user.name}-s:/x", TINY_JOVYAN).strip()
    await spawner.delete_forever()
    assert f"the volume of-{user.name}-s stays" in told.text
    assert f"of-{user.name}-s" in volumes(user)
    user.podman("rm", mine)
    user.podman("volume", "rm", *volumes(user))


async def test_the_volumes_of_another_hub_stay(user):
    for port in (18081, 18082):
        spawner = lone_spawner(
            user.name, hub_port=port, volumes={"{hub}-{username}": "/a"}, delete_volumes=True
        )
        await spawner.start()
        await spawner.stop()
    await spawner.delete_forever()
    assert volumes(user) == {f"18081-{user.name}"}
    user.podman("volume", "rm", *volumes(user))


async def test_a_rename_keeps_the_volumes(user):
    spawner = lone_spawner(user.name, name="s", volumes=VOLUMES, remove=False, delete_volumes=True)
    await spawner.start()
    await spawner.stop()
    before = volumes(user)
    await spawner.rename("s", "t")
    assert user.containers() == []
    assert volumes(user) == before
    user.podman("volume", "rm", *before)


async def test_a_container_that_a_dead_hub_left_goes_too(user):
    await lone_spawner(user.name, name="s").start()
    await lone_spawner(user.name, name="s").delete_forever()
    assert user.containers() == []


async def test_a_user_without_an_account_can_be_renamed_and_deleted(told):
    await lone_spawner("no-such-account", name="a").rename("a", "b")
    await lone_spawner("no-such-account").delete_forever()
    assert "Nothing to delete" in told.text


# values that are refused when they are set


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"entrypoint": "tini -g --"}, r"entrypoint.*list of words: \['tini', '-g', '--'\]"),
        ({"healthcheck": {"test": "true"}}, "healthcheck: there is no 'test'"),
        ({"healthcheck": {"timeout": 3}}, "healthcheck: it has no cmd"),
        ({"healthcheck": {"cmd": ""}}, "healthcheck: cmd"),
        ({"healthcheck": {"cmd": [1]}}, "healthcheck: 1 is no word"),
        ({"healthcheck": {"cmd": "true", "timeout": 0}}, "healthcheck: timeout is 0"),
        ({"healthcheck": {"cmd": "true", "interval": "30s"}}, "healthcheck: interval is '30s'"),
        ({"healthcheck": {"cmd": "true", "retries": 0}}, "healthcheck: retries is 0"),
        ({"healthy_timeout": -1}, "healthy_timeout"),
        ({"stop_timeout": -1}, "stop_timeout"),
        ({"post_start_cmd": 1}, "post_start_cmd"),
        ({"delete_volumes": "yes"}, "delete_volumes"),
        ({"create_sources": "0700"}, "create_sources"),
    ],
)
def test_a_bad_value_is_refused_at_once(options, remedy):
    with pytest.raises(TraitError, match=remedy):
        lone_spawner("ada", **options)
