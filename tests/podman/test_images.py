"""Images from a real registry, and from files and folders, into a real account."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from accounts import TINY, TINY_JOVYAN, real_account
from podmanspawner import ImageNotFound, ServiceError, UserPodman
from podmanspawner.credentials import Keyring
from podmanspawner.transports import local_source
from registry import PASSWORD, USERNAME, build_layers, registry, relay, trust_plain_http

MEGABYTES = 6 * 1000 * 1000
FORMATS = {
    "docker-archive": "docker-archive",
    "oci-archive": "oci-archive",
    "oci": "oci-dir",
    "dir": "docker-dir",
}


@pytest.fixture(scope="module")
def maker():
    """An account that makes images and pushes them."""
    with real_account() as made:
        trust_plain_http(made)
        made.load(TINY)
        made.load(TINY_JOVYAN)
        build_layers(made, "layers", TINY, [MEGABYTES] * 3)
        yield made


@pytest.fixture(scope="module")
def port(maker, tmp_path_factory):
    """A registry with an image of several layers, and two tiny ones."""
    with registry(tmp_path_factory.mktemp("registry")) as port:
        push(maker, "layers", port, "layers:1")
        push(maker, TINY, port, "tiny:1")
        push(maker, TINY_JOVYAN, port, "jovyan:1")
        yield port


@pytest.fixture(scope="module")
def locked(maker, tmp_path_factory):
    """A registry that asks for a password."""
    with registry(tmp_path_factory.mktemp("locked"), authenticated=True) as port:
        push(maker, TINY, port, "team/tiny:1", "--creds", f"{USERNAME}:{PASSWORD}")
        yield port


@pytest.fixture(scope="module")
def account():
    with real_account() as made:
        trust_plain_http(made)
        yield made


@pytest.fixture
def user(account):
    """An account without any image."""
    yield account
    assert account.containers() == []
    account.podman("rmi", "--all", "--force")
    assert (
        account.run("ls", "-A", f"{account.account.home}/.cache/podmanspawner/imported").stdout
        == ""
    )


@pytest.fixture(autouse=True)
def _cache(account):
    account.run("mkdir", "-p", f"{account.account.home}/.cache/podmanspawner/imported")


@pytest.fixture
def podman(user):
    with UserPodman.for_user(user.name) as podman:
        yield podman


@pytest.fixture
def source(maker, user, tmp_path_factory):
    """Return a function that saves an image of the maker's for the account and says where."""
    folder = f"{user.account.home}/images"
    user.run("mkdir", folder)

    def save(transport, image=TINY, name="image"):
        made = maker.run("mktemp", "-d").stdout.strip()
        maker.podman("save", "-q", "--format", FORMATS[transport], "-o", f"{made}/image", image)
        user.run("rm", "-rf", f"{folder}/{name}")
        with subprocess.Popen(["tar", "-C", made, "-c", "image"], stdout=subprocess.PIPE) as tar:
            user.run("tar", "-C", folder, "--no-same-owner", "-x", stdin=tar.stdout)
        if name != "image":
            user.run("mv", f"{folder}/image", f"{folder}/{name}")
        maker.run("rm", "-r", made)
        return f"{transport}:{folder}/{name}"

    yield save
    user.run("rm", "-rf", folder)


def push(maker, image, port, name, *options):
    maker.podman("push", "-q", *options, image, f"127.0.0.1:{port}/{name}")


def image_id(account, name):
    return account.podman("image", "inspect", "--format", "{{.Id}}", name).strip()


def names(account):
    listed = account.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    return {name for name in listed if "podmanspawner/imported" in name}


@contextmanager
def getting(podman, image, **options):
    """Get an image in a thread; yield a list for the error, or the image."""
    got = []

    def get():
        try:
            got.append(podman.images.ensure(image, **options))
        except Exception as error:  # noqa: BLE001, looked at by the test
            got.append(error)

    thread = threading.Thread(target=get)
    thread.start()
    try:
        yield got
    finally:
        thread.join(30)
    assert not thread.is_alive()


# pulls


def test_a_pull_tells_how_far_it_is(podman, port, maker, tell):
    told = []
    with relay(port, bytes_a_second=2_000_000) as slow:
        began = time.monotonic()
        image = podman.images.ensure(f"127.0.0.1:{slow}/layers:1", progress=told.append)
        seconds = time.monotonic() - began
    assert image.id == image_id(maker, "layers")
    fractions = {round(progress.fraction, 1) for progress in told}
    tell(f"a pull of {3 * MEGABYTES / 1e6:.0f} MB in {seconds:.1f} s told {sorted(fractions)}")
    assert len(fractions & {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}) >= 2
    assert max(progress.total for progress in told) == pytest.approx(3 * MEGABYTES, rel=0.01)
    assert "of 18.0 MB (100 %), " in told[-1].message
    assert told[-1].done == told[-1].total


@pytest.mark.parametrize("front", ["", "docker://"])
def test_the_image_is_there_afterwards_and_is_not_pulled_again(podman, port, front):
    name = f"127.0.0.1:{port}/tiny:1"
    pulled = podman.images.ensure(front + name)
    told = []
    assert podman.images.ensure(front + name, progress=told.append) == pulled
    assert podman.images.ensure(front + name, "never", progress=told.append) == pulled
    assert told == []
    assert name in pulled.names


def test_when_a_name_gets_another_image(podman, port, maker):
    name = f"127.0.0.1:{port}/moving:1"
    push(maker, TINY, port, "moving:1")
    first = podman.images.ensure(name, "newer")
    assert podman.images.ensure(name, "newer") == first
    push(maker, TINY_JOVYAN, port, "moving:1")
    assert podman.images.ensure(name, "missing").id == first.id
    assert podman.images.ensure(name, "newer").id == image_id(maker, TINY_JOVYAN)
    push(maker, TINY, port, "moving:1")
    assert podman.images.ensure(name, "always").id == first.id


def test_newer_does_without_a_registry_and_always_does_not(podman, port):
    with relay(port) as gone:
        name = f"127.0.0.1:{gone}/tiny:1"
        pulled = podman.images.ensure(name)
    assert podman.images.ensure(name, "newer") == pulled
    with pytest.raises(ImageNotFound, match="connection refused"):
        podman.images.ensure(name, "always")


def test_a_pull_that_stalls_ends_at_its_deadline(podman, port, user):
    with relay(port, stall_after=5_000_000) as stalled:
        began = time.monotonic()
        with pytest.raises(ImageNotFound, match="more than 3 s.*pull_timeout"):
            podman.images.ensure(f"127.0.0.1:{stalled}/layers:1", seconds=3)
        assert time.monotonic() - began < 8
    assert user.podman("images", "-aq") == ""
    podman.images.ensure(f"127.0.0.1:{port}/layers:1", seconds=30)


def test_a_pull_that_is_given_up_ends_at_once(podman, port, user):
    with relay(port, stall_after=5_000_000) as stalled:
        with getting(podman, f"127.0.0.1:{stalled}/layers:1") as got:
            time.sleep(2)
            began = time.monotonic()
            podman.cancel()
        assert time.monotonic() - began < 5
    assert isinstance(got[0], Exception)
    assert user.podman("images", "-aq") == ""


def test_two_at_once_pull_once(podman, port, user):
    told = []
    with relay(port, bytes_a_second=3_000_000) as slow, UserPodman.for_user(user.name) as other:
        name = f"127.0.0.1:{slow}/layers:1"
        with getting(podman, name) as first:
            time.sleep(0.5)
            second = other.images.ensure(name, progress=told.append)
    assert first == [second]
    assert [progress.message for progress in told] == ["another server is getting it"]


def test_whoever_waits_for_another_has_a_deadline_and_may_give_up(podman, port, user):
    with relay(port, stall_after=1000) as stalled:
        name = f"127.0.0.1:{stalled}/layers:1"
        with getting(podman, name, seconds=5):
            time.sleep(0.5)
            with UserPodman.for_user(user.name) as other:
                with pytest.raises(ImageNotFound, match="another server.*pull_timeout"):
                    other.images.ensure(name, seconds=1)
                with getting(other, name) as got:
                    time.sleep(0.3)
                    other.cancel()
                assert isinstance(got[0], ServiceError)


@pytest.mark.parametrize(
    ("name", "why", "remedy"),
    [
        ("127.0.0.1:{port}/no-such:1", "manifest unknown", "its tag"),
        ("127.0.0.1:{port}/tiny:2", "manifest unknown", "its tag"),
        ("127.0.0.1:1/tiny:1", "connection refused", "reaches the registry"),
        ("nowhere.invalid/tiny:1", "no such host|server misbehaving", "reaches the registry"),
        ("localhost:{port}/tiny:1", "HTTP response to HTTPS client", "insecure = true"),
        ("127.0.0.1:{port}/Upper:1", "lowercase", "Check its name"),
        ("short-name-of-nothing", "short-name", "Write the registry"),
    ],
)
def test_a_pull_that_cannot_be(podman, port, name, why, remedy):
    name = name.format(port=port)
    with pytest.raises(ImageNotFound, match=f"{name} could not be pulled.*({why})") as caught:
        podman.images.ensure(name, seconds=30)
    assert remedy in str(caught.value)
    assert podman.images.must_pull(name)


def test_a_certificate_that_nobody_knows(podman, tmp_path):
    wanted = pytest.raises(ImageNotFound, match="x509.*certs.d/HOST:PORT/ca.crt")
    with registry(tmp_path, encrypted=True) as port, wanted:
        podman.images.ensure(f"localhost:{port}/tiny:1")


# credentials


def hub_file(folder, port, password=PASSWORD):
    file = folder / "hub.json"
    auth = base64.b64encode(f"{USERNAME}:{password}".encode()).decode()
    file.write_text(json.dumps({"auths": {f"127.0.0.1:{port}": {"auth": auth}}}))
    file.chmod(0o600)
    return str(file)


def test_without_credentials(podman, locked):
    with pytest.raises(ImageNotFound, match="hub_authfile, authfile or registry_credentials"):
        podman.images.ensure(f"127.0.0.1:{locked}/team/tiny:1", keyring=Keyring())


def test_credentials_of_the_hub(podman, locked, tmp_path):
    keyring = Keyring(hub_authfile=hub_file(tmp_path, locked))
    assert podman.images.ensure(f"127.0.0.1:{locked}/team/tiny:1", keyring=keyring)
    assert not [file for file in os.listdir("/tmp") if file.startswith("auth.json")]


@pytest.mark.parametrize("scope", ["", "/team", "/team/tiny"])
def test_credentials_of_a_function(podman, locked, scope):
    given = {f"127.0.0.1:{locked}{scope}": {"username": USERNAME, "password": PASSWORD}}
    assert podman.images.ensure(f"127.0.0.1:{locked}/team/tiny:1", keyring=Keyring(given=given))


@pytest.mark.parametrize("own", [True, False], ids=["podman's own file", "a file of one's own"])
def test_credentials_of_the_account(podman, user, locked, own):
    """What ``podman login`` wrote is found by the engine itself, or in ``authfile``."""
    file = f"{user.account.home}/registries.json"
    option = [] if own else ["--authfile", file]
    login = ["login", "-u", USERNAME, "--password-stdin", *option, f"127.0.0.1:{locked}"]
    user.podman(*login, input=PASSWORD)
    keyring = Keyring() if own else Keyring(authfile=file)
    try:
        assert podman.images.ensure(f"127.0.0.1:{locked}/team/tiny:1", keyring=keyring)
    finally:
        user.podman("logout", *option, f"127.0.0.1:{locked}")


def test_a_file_that_the_account_may_not_read_is_not_its_own(podman, locked, tmp_path):
    tmp_path.chmod(0o755)
    keyring = Keyring(authfile=hub_file(tmp_path, locked))
    with pytest.raises(ValueError, match=r"authfile: .* cannot read .*account's own"):
        podman.images.ensure(f"127.0.0.1:{locked}/team/tiny:1", keyring=keyring)


def test_a_password_is_in_no_process_while_it_is_used(podman, user, locked):
    with relay(locked, stall_after=1_000_000) as stalled:
        name = f"127.0.0.1:{stalled}/team/tiny:1"
        given = {f"127.0.0.1:{stalled}": {"username": USERNAME, "password": PASSWORD}}
        with getting(podman, name, keyring=Keyring(given=given)) as got:
            time.sleep(1)
            assert user.processes("system service")
            for pid in user.processes(""):
                for file in ("cmdline", "environ"):
                    assert PASSWORD.encode() not in Path(f"/proc/{pid}/{file}").read_bytes()
            assert got == []
            podman.cancel()


def test_wrong_credentials_are_told_without_them(podman, locked, tmp_path, caplog):
    keyring = Keyring(hub_authfile=hub_file(tmp_path, locked, password="hunter2"))
    with caplog.at_level("DEBUG"), pytest.raises(ImageNotFound) as caught:
        podman.images.ensure(f"127.0.0.1:{locked}/team/tiny:1", keyring=keyring)
    assert f"with the credentials for 127.0.0.1:{locked}" in str(caught.value)
    for text in (str(caught.value), caplog.text):
        assert "hunter2" not in text
        assert base64.b64encode(b"hunter2").decode() not in text
    assert not [file for file in os.listdir("/tmp") if file.startswith("auth.json")]


# files and folders of the host


@pytest.mark.parametrize("transport", FORMATS)
def test_an_import(podman, user, maker, source, transport):
    place = source(transport, name="My Image")
    told = []
    imported = podman.images.ensure(place, progress=told.append)
    assert imported.id == image_id(maker, TINY)
    assert local_source(place).name in imported.names
    assert any("Copying blob" in progress.message for progress in told)
    user.run("rm", "-r", place.partition(":")[2])
    for policy in ("missing", "never", "newer"):  # as with a registry that cannot be asked
        assert podman.images.ensure(place, policy).id == imported.id
    with pytest.raises(ImageNotFound, match="image: .*Create it"):
        podman.images.ensure(place, "always")


def test_a_place_whose_image_must_not_be_imported(podman, user):
    with pytest.raises(ImageNotFound, match=f"dir:/srv/lab has not been imported for {user.name}"):
        podman.images.ensure("dir:/srv/lab", "never")


@pytest.mark.parametrize("transport", FORMATS)
def test_when_a_place_gets_another_image(podman, user, maker, source, transport):
    place = source(transport)
    first = podman.images.ensure(place, "newer")
    told = []
    assert podman.images.ensure(place, "newer", progress=told.append) == first
    assert told == []
    source(transport, TINY_JOVYAN)
    assert podman.images.ensure(place, "missing").id == first.id
    second = podman.images.ensure(place, "newer")
    assert second.id == image_id(maker, TINY_JOVYAN)
    assert {*second.names} >= names(user)  # the first has no name of ours any more
    assert len(names(user)) == 2
    assert podman.images.ensure(place, "always", progress=told.append).id == second.id
    assert told


def test_a_file_that_is_only_touched(podman, user, source):
    place = source("docker-archive")
    first = podman.images.ensure(place)
    user.run("touch", place.partition(":")[2])
    assert podman.images.ensure(place, "newer").id == first.id
    assert len(names(user)) == 2


def test_one_of_the_images_of_an_archive(podman, user, maker):
    folder = user.account.home
    archive = f"{folder}/two.tar"
    user.load(TINY)
    user.load(TINY_JOVYAN)
    user.podman("save", "-q", "-m", "-o", archive, TINY, TINY_JOVYAN)
    user.podman("rmi", "--all")
    with pytest.raises(ImageNotFound, match="several images: add ':NAME:TAG'"):
        podman.images.ensure(f"docker-archive:{archive}")
    for image in (TINY, TINY_JOVYAN):
        found = podman.images.ensure(f"docker-archive:{archive}:{image}")
        assert found.id == image_id(maker, image)
    with pytest.raises(ImageNotFound, match="image: .*which images it holds"):
        podman.images.ensure(f"docker-archive:{archive}:no-such:1")
    user.run("rm", archive)


def test_two_at_once_import_once(podman, user, source, tell):
    place = source("oci-archive", "layers")
    told = [[], []]
    with UserPodman.for_user(user.name) as other:
        began = time.monotonic()
        both = (
            getting(podman, place, progress=told[0].append),
            getting(other, place, progress=told[1].append),
        )
        with both[0] as first, both[1] as second:
            pass
        tell(f"an import of 20 MB by two at once: {time.monotonic() - began:.1f} s")
    assert first[0].id == second[0].id
    imports = [any("Copying" in progress.message for progress in each) for each in told]
    assert sorted(imports) == [False, True]


def test_what_is_there_costs_no_import(podman, source, tell):
    place = source("dir", "layers")
    podman.images.ensure(place)
    for policy in ("missing", "newer"):
        began = time.monotonic()
        podman.images.ensure(place, policy)
        tell(f"an imported image, policy {policy}: {1000 * (time.monotonic() - began):.0f} ms")


@pytest.mark.parametrize(
    ("image", "remedy"),
    [
        ("dir:/no/such", "No such file.*Create it"),
        ("oci:/etc", "No such file.*Create it"),
        ("docker-archive:/no/such.tar", "No such file.*Create it"),
        ("docker-archive:/etc/shadow", "permission denied.*Let pst.* read it"),
        ("dir:/root/image", "Permission denied.*enter every folder"),
        ("docker-archive:/etc/passwd", "invalid tar header.*make it anew"),
        ("oci-archive:/etc/passwd", "invalid tar header.*make it anew"),
        ("docker-archive:/dev/zero", "make it anew"),
        ("docker-archive:/etc", "make it anew"),
        ("oci-archive:/dev/null", "Create it|make it anew"),
    ],
)
def test_a_place_that_has_no_image(podman, user, image, remedy):
    with pytest.raises(ImageNotFound, match=f"(?i)image: {image} cannot be imported.*{remedy}"):
        podman.images.ensure(image, seconds=20)
    assert user.podman("images", "-aq") == ""


def test_an_archive_that_is_cut_off(podman, user, source):
    place = source("docker-archive", "layers")
    user.run("truncate", "--size=9000000", place.partition(":")[2])
    with pytest.raises(ImageNotFound, match="image: .*make it anew"):
        podman.images.ensure(place)
    assert names(user) == set()


def test_a_disk_that_is_full(fresh, maker, tmp_path):
    """In a mount namespace of its own, where the folder for the import is a small one.

    With an account of its own: Podman would go back to the namespace in which it was first used.
    """
    archive = f"{fresh.account.home}/image"
    maker.podman("save", "-q", "--format", "oci-archive", "-o", f"/tmp/{maker.name}.oci", "layers")
    shutil.move(f"/tmp/{maker.name}.oci", archive)
    small = f"{fresh.account.home}/.cache/podmanspawner"
    fresh.run("mkdir", "-p", small)
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from podmanspawner import UserPodman
try:
    UserPodman.for_user({fresh.name!r}, activation="direct").images.ensure("oci-archive:{archive}")
except Exception as error:
    print(error)
"""
    mount = f"mount -t tmpfs -o size=5m,uid={fresh.account.uid},mode=755 tmpfs {small}"
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'{mount} && exec "$@"',
            "sh",
            sys.executable,
            "-c",
            script,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"image: oci-archive:{archive} cannot be imported" in done.stdout, done
    assert "no space left" in done.stdout
    assert "Free some space" in done.stdout


@pytest.fixture
def endless(user):
    """An archive that never ends: a pipe that nobody writes to."""
    pipe = f"{user.account.home}/pipe"
    user.run("mkfifo", pipe)
    yield f"docker-archive:{pipe}"
    user.run("rm", pipe)


def test_an_import_ends_at_its_deadline(podman, user, endless):
    began = time.monotonic()
    with pytest.raises(ImageNotFound, match="image: .*not imported within 1 s. Raise pull_time"):
        podman.images.ensure(endless, seconds=1)
    assert time.monotonic() - began < 6
    assert user.processes("podman pull") == []


def test_an_import_that_is_given_up_ends_at_once(podman, user, endless):
    with getting(podman, endless) as got:
        end = time.monotonic() + 10
        while not user.processes("podman pull"):
            assert time.monotonic() < end
            time.sleep(0.1)
        began = time.monotonic()
        podman.cancel()
    assert time.monotonic() - began < 5
    assert isinstance(got[0], ServiceError)
    assert user.processes("podman pull") == []
