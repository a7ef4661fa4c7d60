"""One read-only image store for every account, as docs/how-to/shared-images.md says."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from tornado import web

from accounts import SINGLEUSER, TINY, TINY_JOVYAN, archive, real_account
from lone import lone_spawner
from podmanspawner import PodmanService, SpecError, UserPodman, stores
from podmanspawner.activation import service_for

TOP = Path(__file__).parents[2]
MAKE = TOP / "examples" / "shared-store" / "make-store"
PAGE = (TOP / "docs" / "how-to" / "shared-images.md").read_text()
KIB = 1024


@pytest.fixture(scope="module")
def place():
    """A folder of root's that every account may look into."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="pst-stores-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def make(*arguments):
    return subprocess.run(
        [MAKE, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def store(place):
    made = make(place / "store", archive(TINY), archive(TINY_JOVYAN))
    assert (made.returncode, made.stdout) == (0, f"{place / 'store'}\n"), made.stderr
    return str(place / "store")


@pytest.fixture(scope="module")
def two():
    """Two accounts without an image of their own."""
    with real_account() as one, real_account() as other:
        yield one, other


@pytest.fixture(scope="module")
def user(two):
    return two[0]


@pytest.fixture(autouse=True)
def nothing_left_over(two):
    yield
    for one in two:
        left = one.containers()
        if left:
            one.podman("rm", "-f", "-t", "0", *left)
        assert left == []


def spawner_for(user, *paths, **options):
    return lone_spawner(user.name, image_stores=[str(path) for path in paths], **options)


async def inside(user, spawner, script):
    """Return what a script prints in the server's container."""
    with UserPodman(service_of(user, spawner)) as podman:
        result = podman.exec(spawner.container_id, ["sh", "-c", script])
    assert result.exit_code == 0, result.output
    return result.output.strip()


def service_of(user, spawner):
    return service_for(
        user.account,
        activation=spawner.activation,
        idle_seconds=spawner.service_idle_seconds,
        flags=stores.flags(user.account, spawner.image_stores),
        environment=stores.environment(spawner.image_stores),
    )


def storage(user):
    return Path(user.account.home, ".local/share/containers")


def bytes_used(folder):
    return int(subprocess.check_output(["du", "-s", "--block-size=1", folder]).split()[0])


@pytest.mark.parametrize("policy", ["missing", "never"])
async def test_accounts_use_it_without_a_copy(two, store, policy):
    """Nothing is pulled or copied, for a user of the image's (keep-id) no more than for root."""
    for user in two:
        for image in (TINY_JOVYAN, TINY):
            spawner = spawner_for(
                user, store, image=image, pull_policy=policy,
                cmd=["httpd", "-f", "-p", "8888", "-h", "/tmp"],
            )  # fmt: skip
            await spawner.start()
            assert await spawner.poll() is None
            await spawner.stop()
        assert user.containers() == []
        assert list(storage(user).rglob("busybox")) == []
        assert bytes_used(storage(user)) < 400 * KIB < bytes_used(store) / 4
        assert user.run("podman", "images", "-q").stdout == ""


@pytest.mark.parametrize(
    ("image", "home", "owner"),
    [(TINY_JOVYAN, "/home/jovyan", "1000:100"), (TINY, "/root", "0:0")],
    ids=["keep-id", "root"],
)
async def test_folders_of_the_image_stay_the_users(user, store, image, home, owner):
    """What was written to belongs to the user, at a second look and a second start too."""
    script = (
        f"cd {home} && touch a && mkdir b && touch b/c && rm a && mv b d && ln -s d l "
        "&& touch /tmp/a && touch /tmp/b && cp /bin/busybox /tmp/c && rm -r /tmp/* d/c "
        "&& echo kept > d/kept && stat -c %u:%g . d d/kept l"
    )
    spawner = spawner_for(
        user, store, image=image, home_target="", remove=False,
        cmd=["httpd", "-f", "-p", "8888", "-h", "/tmp"],
    )  # fmt: skip
    await spawner.start()
    first = spawner.container_id
    assert set((await inside(user, spawner, script)).split()) == {owner}
    await spawner.stop()
    await spawner.start()
    assert spawner.container_id == first
    assert await inside(user, spawner, f"cat {home}/d/kept; stat -c %u:%g {home}") == (
        f"kept\n{owner}"
    )
    assert await inside(user, spawner, f"touch {home}/again /tmp/again && echo ok") == "ok"
    await spawner.stop()
    await spawner.delete_forever()


async def test_owners_in_the_image(user, store):
    """fuse-overlayfs tells them from 1.14 on; before, everything is the user's."""
    spawner = spawner_for(user, store, home_target="")
    await spawner.start()
    expected = "1000:100" if stores.one_owner(user.account) else "0:0"
    assert await inside(user, spawner, "stat -c %u:%g /etc/passwd") == expected
    assert await inside(user, spawner, "stat -c %u:%g /home/jovyan") == "1000:100"
    await spawner.stop()


async def test_a_user_who_would_own_nothing_is_refused(user, store):
    spawner = spawner_for(user, store, user_mapping="root")
    if not stores.one_owner(user.account):
        await spawner.start()
        await spawner.stop()
        return
    with pytest.raises(web.HTTPError, match="user_mapping: with image_stores .* 'jovyan'"):
        await spawner.start()


async def test_files_in_the_home_are_the_accounts(user, store):
    spawner = spawner_for(user, store)
    await spawner.start()
    await inside(user, spawner, "echo mine > ~/of-a-test")
    await spawner.stop()
    made = Path(user.account.home, "of-a-test")
    assert (made.stat().st_uid, made.read_text()) == (user.account.uid, "mine\n")
    made.unlink()


async def test_an_accounts_own_service_is_no_hindrance(user, store):
    """It does not know the store; the server's service is another one."""
    with UserPodman.for_user(user.name) as podman:
        assert not podman.images.exists(TINY_JOVYAN)
        spawner = spawner_for(user, store)
        await spawner.start()
        assert user.containers() != []
        await spawner.stop()


def fingerprint(folder):
    return {
        (path, (status := path.lstat()).st_mode, status.st_uid, status.st_size, status.st_mtime_ns)
        for path in Path(folder).rglob("*")
    }


async def test_an_account_cannot_change_it(user, store):
    before = fingerprint(store)
    busybox = next(Path(store).glob("overlay/*/diff/bin/busybox"))
    for script in (
        f"touch {store}/mine",
        f"echo > {busybox}",
        f"rm {busybox}",
        f"chmod u+s {busybox}",
        f"mv {store}/overlay {store}/other",
        f"echo [] > {store}/overlay-images/images.json",
        f"podman --root {store} rmi -f {TINY}",
        f"podman --storage-opt overlay.imagestore={store} rmi -f {TINY}",
    ):
        assert user.run("sh", "-c", script, check=False).returncode != 0, script
    spawner = spawner_for(user, store, image=TINY, cmd=["httpd", "-f", "-p", "8888", "-h", "/"])
    await spawner.start()
    await inside(user, spawner, "rm /bin/ls; echo broken > /bin/busybox.new; echo > /etc/passwd")
    await spawner.stop()
    assert fingerprint(store) == before


@contextmanager
def changed(path, mode):
    before = path.stat().st_mode
    path.chmod(mode)
    yield
    path.chmod(before & 0o7777)


@pytest.mark.parametrize(
    ("path", "mode", "fault"),
    [
        ("overlay-images/images.json", 0o600, "may not read"),
        ("overlay-images", 0o700, "may not read|Permission denied"),
        ("overlay-layers/layers.lock", 0o600, "may not read"),
        ("overlay/{layer}", 0o700, "may not read"),
        ("overlay/{layer}/diff", 0o700, "may not read"),
        ("overlay/{layer}/diff", 0o777, "may write to"),
        ("overlay-layers/layers.json", 0o666, "may write to"),
        (".", 0o700, "Permission denied|may not read"),
        (".", 0o777, "may write to"),
    ],
)
async def test_a_store_with_wrong_permissions_is_refused(user, store, path, mode, fault):
    layer = next(Path(store, "overlay").glob("*/diff")).parent.name
    with changed(Path(store, path.format(layer=layer)), mode):
        await refused(
            user, spawner_for(user, store), f"{store} cannot serve {user.name}: .*{fault}"
        )


async def refused(user, spawner, message):
    before = user.processes("service")
    with pytest.raises(web.HTTPError, match=f"image_stores: .*({message})") as caught:
        await spawner.start()
    assert "shared-images.md" in str(caught.value)
    assert user.containers() == []
    for _ in range(100):  # a child of a service has its command line until it becomes another
        if set(user.processes("service")) <= set(before):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a service is left")


async def test_what_is_no_store_is_refused(user, store, place):
    (place / "empty").mkdir(exist_ok=True)
    for path, fault in [
        (place / "gone", "No such file"),
        (place / "empty", "No such file"),
        (f"{store}/overlay-images/images.json", "Not a directory"),
    ]:
        await refused(user, spawner_for(user, store, path), fault)


async def test_a_service_that_exists_is_told_nothing(user, store):
    spawner = spawner_for(user, store, activation="existing")
    await refused(user, spawner, "additionalimagestores")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage"),
        (["{place}/new"], "usage"),
        (["new", "{tiny}"], "absolute"),
        (["{place}/a,b", "{tiny}"], "without commas"),
        (["{place}/store", "{tiny}"], "exists"),
        (["{place}/new", "{place}/no-archive"], "invalid reference"),
        (["{place}/new", "{tiny}", "localhost:1/no/such"], "localhost:1/no/such"),
        (["{home}/new", "{tiny}"], "folder of root's"),
    ],
)
def test_a_store_that_cannot_be_made(user, store, place, arguments, said):
    """Nothing is left behind."""
    words = {"place": place, "tiny": archive(TINY), "home": user.account.home}
    arguments = [argument.format(**words) for argument in arguments]
    done = make(*arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    assert said in done.stderr
    assert sorted(path.name for path in place.iterdir() if path.name != "empty") == ["store"]
    assert not list(Path("/run").glob("make-store.*"))


def commands(heading):
    """Return the shell commands of a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


async def test_make_update_and_remove_as_documented(user, place):
    """A server that runs goes on; a new one is made from the new store."""
    folder = place / "documented"

    def run(script):
        script = script.replace("/var/lib/shared-images", str(folder))
        script = script.replace("quay.io/jupyterhub/singleuser:latest", archive(TINY_JOVYAN))
        return subprocess.run(["bash", "-ec", script], cwd=TOP, text=True, capture_output=True)

    (made,) = commands("Make a store")
    done = run(made)
    assert done.returncode == 0, done.stderr
    old, new = folder / "2026-09", folder / "2026-10"
    assert [str(path) for path in folder.iterdir()] == [str(old)]
    running = spawner_for(user, old)
    await running.start()

    made, removed = commands("Update an image")
    done = run(made)
    assert done.returncode == 0, done.stderr
    other = spawner_for(user, new, old, name="other", remove=False)
    await other.start()
    assert await inside(user, running, "touch /tmp/a && echo on") == "on"

    done = run(removed)
    assert old.exists()
    assert f"{old} is in use: /proc/" in done.stdout
    await spawner_for_again(running, user, new, old).stop()
    await other.stop()
    await other.delete_forever()
    done = run(removed)
    assert (done.returncode, old.exists()) == (0, False), done.stderr


def spawner_for_again(spawner, user, *paths, **options):
    """Return the spawner of a server that runs, as a Hub with another configuration has it."""
    again = spawner_for(user, *paths, name=spawner.name, **options)
    again.load_state(spawner.get_state())
    return again


async def test_the_first_store_that_has_the_image_serves_it(user, store, place):
    """As an update needs it: the same name, other images."""
    assert make(place / "newer", changed_image(place, "newer")).returncode == 0
    for first, second, word in (("newer", "store", "newer"), ("store", "newer", "")):
        spawner = spawner_for(user, place / first, place / second)
        await spawner.start()
        assert await inside(user, spawner, "cat /etc/release 2>/dev/null || true") == word
        await spawner.stop()
    shutil.rmtree(place / "newer")


def changed_image(place, word):
    """Return the archive of an image of the same name, with a file more."""
    root, run = place / "build", tempfile.mkdtemp(dir="/run")
    podman = ["podman", "--root", root, "--runroot", run]

    def do(*command):
        return subprocess.check_output([*podman, *command], text=True).strip()

    do("load", "-q", "-i", archive(TINY_JOVYAN))
    made = do("create", TINY_JOVYAN)
    (place / "release").write_text(f"{word}\n")
    do("cp", place / "release", f"{made}:/etc/release")
    do("commit", "-q", made, TINY_JOVYAN)
    do("save", "-q", "-o", place / "newer.tar", TINY_JOVYAN)
    do("system", "reset", "-f")
    return place / "newer.tar"


async def test_an_accounts_own_podman_can_use_it_as_documented(store):
    """The file of the page; then its own service, which exists already, starts servers from it."""
    (text,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    text = text.replace("/var/lib/shared-images/2026-09", store)
    script = "cd && touch a && touch b && stat -c %u:%g . a b"
    keep = ["--network", "none", "--userns", "keep-id:uid=1000,gid=100", "--pull", "never"]
    with real_account() as user:
        if stores.one_owner(user.account):
            text = text.replace("# mountopt", "mountopt")
        user.run("sh", "-c", f"mkdir -p ~/.config/containers && echo '{text}' > "
                 "~/.config/containers/storage.conf")  # fmt: skip
        said = user.podman("run", "--rm", *keep, TINY_JOVYAN, "sh", "-c", script)
        assert said.split() == ["1000:100"] * 3
        service = PodmanService(user.account, activation="direct")
        with UserPodman(service) as podman:
            podman.ping()
            spawner = lone_spawner(user.name, activation="existing")
            await spawner.start()
            assert podman.inspect(spawner.container_id).state.running
            assert user.podman("inspect", "-f", "{{.State.Status}}", spawner.container_id)
            await spawner.stop()
        service.close()
        assert bytes_used(storage(user)) < 400 * KIB


def test_the_version_of_fuse_overlayfs():
    said = (
        "fusermount3 version: 3.14.0\nfuse-overlayfs: version 1.10\nFUSE library version 3.14.0\n"
    )
    assert stores.version(said) == (1, 10) < (1, 14)
    assert stores.version(said.replace("1.10", "1.14-dev")) == (1, 14)
    assert stores.version("fuse-overlayfs 2.0.1\n") == (2, 0)
    with pytest.raises(SpecError, match="image_stores: .*its version: 'fusermount3"):
        stores.version("fusermount3 version: 3.14.0\n")


async def test_a_real_image(place, tell):
    """The first server of an account, from the image that people use."""
    began = time.perf_counter()
    assert make(place / "real", archive(SINGLEUSER)).returncode == 0
    filled = time.perf_counter() - began
    with real_account() as user:
        serve = ["python3", "-m", "http.server", "8888"]
        spawner = spawner_for(user, place / "real", image=SINGLEUSER, cmd=serve)
        began = time.perf_counter()
        await spawner.start()
        started = time.perf_counter() - began
        used = bytes_used(storage(user))
        await spawner.stop()
    shutil.rmtree(place / "real")
    assert used < 4 * KIB * KIB
    tell(
        f"shared store: filled in {filled:.1f} s; a first server answers after {started:.1f} s, "
        f"{used / KIB:.0f} KiB for its account"
    )
