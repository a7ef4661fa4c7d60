"""Images as the spawner gets them: templates, functions, passwords, progress, and failures."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from tornado import web
from traitlets import TraitError

from accounts import TINY_JOVYAN, real_account
from lone import lone_spawner
from podmanspawner.transports import name_here
from registry import PASSWORD, USERNAME, build_layers, registry, relay, trust_plain_http


@pytest.fixture(scope="module")
def account():
    with real_account() as made:
        made.load(TINY_JOVYAN)
        trust_plain_http(made)
        yield made


@pytest.fixture
def user(account):
    yield account
    assert account.containers() == []


@pytest.fixture(scope="module")
def place(account):
    """A folder of the account's with an image."""
    folder = f"{account.account.home}/images"
    account.run("mkdir", folder)
    account.podman("save", "-q", "--format", "docker-dir", "-o", f"{folder}/lab", TINY_JOVYAN)
    return f"{folder}/lab"


@pytest.fixture(scope="module")
def port(account, tmp_path_factory):
    """A registry that asks for a password, with an image of some size."""
    with registry(tmp_path_factory.mktemp("registry"), authenticated=True) as port:
        name = f"127.0.0.1:{port}/lab:1"
        build_layers(account, name, TINY_JOVYAN, [6_000_000] * 2)
        account.podman("push", "-q", "--creds", f"{USERNAME}:{PASSWORD}", name)
        account.podman("rmi", name)
        yield port


async def started(user, **options):
    """Start and stop a server, and return the image that its container had."""
    spawner = lone_spawner(user.name, **options)
    await spawner.start()
    shown = user.podman("inspect", "--format", "{{.ImageName}}", spawner.container_id)
    await spawner.stop()
    return shown.strip()


async def failure(user, **options):
    """Start a server that cannot be, and return what the page shows."""
    spawner = lone_spawner(user.name, **options)
    with pytest.raises(web.HTTPError) as caught:
        await spawner.start()
    assert user.containers() == []
    assert await spawner.poll() == 0
    assert spawner.get_state() == {}
    return caught.value.jupyterhub_message


async def wanted(spawner):
    await asyncio.sleep(0.01)
    return TINY_JOVYAN if spawner.user.name.startswith("pst") else "nothing"


@pytest.mark.parametrize(
    "image",
    [
        TINY_JOVYAN.replace("tiny", "{prefix}"),
        f"docker://{TINY_JOVYAN}",
        lambda spawner: f"localhost/podmanspawner/tiny-{'jovyan' if spawner.user else ''}:latest",
        wanted,
    ],
    ids=["template", "transport", "function", "coroutine"],
)
async def test_an_image_in_words(user, image):
    assert await started(user, image=image, prefix="tiny") == TINY_JOVYAN


async def test_what_a_function_returns_is_no_template(user):
    shown = await failure(user, image=lambda _spawner: "localhost/{username}:1")
    assert "image: 'localhost/{username}:1' is no image" in shown


@pytest.mark.parametrize("keep", [False, True])
async def test_an_image_from_a_folder(user, place, keep):
    options = {"image": "dir:{home}/images/lab", "pull_policy": "missing", "remove": not keep}
    spawner = lone_spawner(user.name, **options)
    await spawner.start()
    first = spawner.container_id
    assert user.podman("ps", "--format", "{{.Image}}").strip() == name_here(f"dir:{place}")
    await spawner.stop()
    again = lone_spawner(user.name, **options)
    await again.start()
    assert (again.container_id == first) is keep
    assert [stage for stage in again._stages if "Getting the image" in stage["message"]] == []
    await again.stop()
    await again.delete_forever()


async def test_the_page_shows_how_far_a_pull_is(user, port):
    with relay(port, bytes_a_second=3_000_000) as slow:
        given = {f"127.0.0.1:{slow}": {"username": USERNAME, "password": PASSWORD}}
        image = f"127.0.0.1:{slow}/lab:1"
        spawner = lone_spawner(
            user.name,
            image=image,
            pull_policy="missing",
            registry_credentials=lambda _spawner: given,
        )
        await spawner.start()
    await spawner.stop()
    user.podman("rmi", image)
    stages = [stage for stage in spawner._stages if "Getting the image" in stage["message"]]
    percents = [stage["progress"] for stage in stages]
    assert percents == sorted(percents)
    assert len(set(percents)) >= 3
    assert {20 <= percent < 50 for percent in percents} == {True}
    assert any(re.search(r"\d\.\d of 12\.0 MB \(\d+ %\), \d of \d", s["message"]) for s in stages)
    assert PASSWORD not in str(spawner._stages) + str(spawner.get_state())


async def test_the_function_is_asked_when_there_is_something_to_pull(user, port, place, caplog):
    image = f"127.0.0.1:{port}/lab:1"
    asked = []

    async def credentials(spawner):
        await asyncio.sleep(0.01)
        asked.append(spawner.user.name)
        return {f"127.0.0.1:{port}": {"username": USERNAME, "password": PASSWORD}}

    options = {"registry_credentials": credentials, "pull_policy": "missing"}
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            assert await started(user, image=image, **options) == image
        await started(user, image=f"dir:{place}", **options)
        await started(user, **options)
    assert asked == [user.name]
    assert PASSWORD not in caplog.text
    user.podman("rmi", image)


async def test_the_hubs_file_and_the_accounts(user, port, tmp_path):
    """The account's own comes first, if it knows the registry."""
    image = f"127.0.0.1:{port}/lab:1"
    file = f"{user.account.home}/registries.json"
    options = {"image": image, "pull_policy": "missing", "authfile": "{home}/registries.json"}
    login = ["login", "-u", USERNAME, "--password-stdin", f"127.0.0.1:{port}"]
    user.podman(*login, "--authfile", file, input=PASSWORD)
    assert await started(user, **options) == image
    user.podman("rmi", image)
    hub_file = tmp_path / "hub.json"
    hub_file.write_text(user.run("cat", file).stdout)
    hub_file.chmod(0o600)
    user.run("rm", file)
    assert await started(user, **options, hub_authfile=str(hub_file)) == image
    user.podman("rmi", image)
    assert "could not be pulled" in await failure(user, **options)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"image": "127.0.0.1:{port}/lab:1"}, "hub_authfile, authfile or registry_credentials"),
        ({"image": "127.0.0.1:1/lab:1"}, "connection refused.*reaches the registry"),
        ({"image": "dir:/no/such"}, "^image: dir:/no/such cannot be imported.*Create it"),
        ({"image": "docker-archive:/etc/shadow"}, "^image: .*permission denied"),
        ({"image": "dir:{nobody}"}, "^image: .*unknown field.*known: .*{home}"),
        ({"image": "quay.io/{"}, "^image: .*write it twice"),
        ({"image": "dir:relative"}, "^image: .*absolute path"),
        ({"image": "docker-daemon:lab:1"}, "^image: 'docker-daemon' is not supported"),
        ({"image": lambda _spawner: None}, "^image: the function returned NoneType"),
        ({"image": lambda _spawner: "../etc"}, "^image: '../etc' is no image"),
        ({"hub_authfile": "/no/such"}, "^hub_authfile: .*correct the option"),
        ({"authfile": "{nobody}"}, "^authfile: .*unknown field"),
        ({"authfile": "/etc/passwd"}, "^authfile: /etc/passwd is no authfile"),
        ({"authfile": "/etc/shadow"}, "^authfile: .* cannot read /etc/shadow"),
        ({"registry_credentials": lambda _spawner: ["a"]}, "^registry_credentials: it returned"),
        ({"pull_timeout": 1.0, "image": "docker-archive:{home}/pipe"}, "Raise pull_timeout"),
    ],
)
async def test_an_image_that_cannot_be_had(user, port, options, remedy):
    user.run("sh", "-c", "test -e ~/pipe || mkfifo ~/pipe")
    image = options.get("image", "127.0.0.1:1/lab:1")
    if isinstance(image, str):
        image = image.replace("{port}", str(port))
    shown = await failure(user, **{**options, "image": image, "pull_policy": "missing"})
    assert re.search(remedy, shown, re.DOTALL), shown


async def test_a_cancelled_pull_leaves_nothing(user, port):
    with relay(port, stall_after=2_000_000) as stalled:
        given = {f"127.0.0.1:{stalled}": {"username": USERNAME, "password": PASSWORD}}
        image = f"127.0.0.1:{stalled}/lab:1"
        options = {"pull_policy": "missing", "registry_credentials": lambda _spawner: given}
        spawner = lone_spawner(user.name, image=image, **options)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(spawner.start(), 2)
        assert loop.time() - began < 8
    assert user.containers() == []


@pytest.mark.parametrize(
    ("known", "policy"),
    [("IfNotPresent", "missing"), ("skip", "never"), ("Always", "always"), ("newer", "newer")],
)
def test_a_policy_has_its_names_elsewhere(known, policy):
    assert lone_spawner("ada", pull_policy=known).pull_policy == policy


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image", 1),
        ("image", ["a"]),
        ("authfile", {"a": "b"}),
        ("hub_authfile", 1),
        ("registry_credentials", {"registry.test": {"username": "a", "password": "b"}}),
        ("pull_policy", "often"),
        ("pull_timeout", 0.0),
    ],
)
def test_a_value_of_another_type_names_its_option(option, value):
    with pytest.raises(TraitError, match=option):
        lone_spawner("ada", **{option: value})
