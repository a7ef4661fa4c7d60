"""What users choose, and what their containers become: with the real engine, and a real Hub."""

from __future__ import annotations

import json
import re

import jupyterhub
import pytest
from tornado import web
from traitlets import TraitError
from traitlets.config import Config
from wrapspawner import ProfilesSpawner

from accounts import PASSWORD, SINGLEUSER, TINY, TINY_JOVYAN
from hub import Hub
from lone import ANSWERING, lone_spawner
from podmanspawner import PodmanSpawner
from podmanspawner.errors import ChoiceError

OTHER = "localhost/podmanspawner/other:latest"
SLEEPY = {
    "display_name": "Sleepy",
    "overrides": {
        "environment": {"PACE": "slow", "KEPT": None},
        "shm_size": "32M",
        "hostname": "sleepy",
    },
    "profile_options": {
        "image": {
            "display_name": "Image",
            "choices": {
                "jovyan": {"display_name": "Jovyan", "overrides": {"image": TINY_JOVYAN}},
                "other": {"display_name": "Other", "overrides": {"image": OTHER}},
            },
            "unlisted_choice": {
                "enabled": True,
                "validation_message": "Give a tag.",
                "validation_regex": ".+:.+",
                "overrides": {"image": "{value}"},
            },
        },
        "note": {
            "display_name": "Note",
            "unlisted_choice": {
                "enabled": True,
                "overrides": {"environment": {"NOTE": "{value}"}},
            },
        },
    },
}
QUICK = {"display_name": "Quick", "default": True}
ENVIRONMENT = {"PACE": "normal", "KEPT": "yes"}


@pytest.fixture(scope="module")
def user(ada):
    ada.load(TINY_JOVYAN)
    ada.podman("tag", TINY_JOVYAN, OTHER)
    return ada


@pytest.fixture(autouse=True)
def nothing_left_over(ada):
    yield
    left = ada.containers()
    if left:
        ada.podman("rm", "-f", "-t", "0", *left)
    assert left == []


def chooser(user, user_options=None, **options):
    spawner = lone_spawner(user.name, environment=ENVIRONMENT, **options)
    spawner.user_options = spawner.orm_spawner.user_options = user_options or {}
    return spawner


async def seen(user, spawner):
    """Start the server and return what its container is; then end it."""
    await spawner.start()
    (found,) = json.loads(user.podman("inspect", spawner.container_id))
    await spawner.stop()
    return found


def environment_of(found):
    return dict(line.split("=", 1) for line in found["Config"]["Env"])


# images


@pytest.mark.parametrize(
    ("allowed", "given", "image"),
    [
        ([OTHER, TINY_JOVYAN], {"image": OTHER}, OTHER),
        ([OTHER, TINY_JOVYAN], {}, TINY_JOVYAN),  # the option image is in the list
        ([OTHER], {}, OTHER),
        ({"Other": OTHER}, {"image": "Other"}, OTHER),
        ("*", {"image": OTHER}, OTHER),
        ("*", {}, TINY_JOVYAN),
        (lambda spawner: {spawner.user.name: OTHER}, {}, OTHER),
    ],
)
async def test_an_image_that_is_allowed(user, allowed, given, image):
    found = await seen(user, chooser(user, given, allowed_images=allowed))
    assert found["ImageName"] == image


async def test_images_of_a_coroutine(user):
    async def allowed(spawner):
        return [OTHER] if spawner.user.name == user.name else []

    found = await seen(user, chooser(user, {"image": OTHER}, allowed_images=allowed))
    assert found["ImageName"] == OTHER


@pytest.mark.parametrize(
    ("options", "given", "said"),
    [
        ({}, {"image": OTHER}, "nothing to choose"),
        ({"allowed_images": [OTHER]}, {"image": TINY}, "not one of those for you"),
        ({"allowed_images": [OTHER]}, {"image": [OTHER]}, "must be a text"),
        ({"allowed_images": "*"}, {"image": "{username.__class__}"}, "is no image"),
        ({"allowed_images": "*"}, {"image": "dir:/etc"}, "is no image"),
        ({"allowed_images": [OTHER]}, {"image": OTHER, "privileged": True}, "'privileged'"),
        ({"allowed_images": lambda _spawner: []}, {"image": OTHER}, "nothing to choose"),
        ({"profile_list": [QUICK, SLEEPY]}, {"profile": "none"}, "no profile 'none'"),
        ({"profile_list": [SLEEPY]}, {"image": "none"}, "'none' is no choice"),
        ({"profile_list": [SLEEPY]}, {"image--unlisted-choice": "x"}, "Give a tag"),
        ({"profile_list": [SLEEPY]}, {"image--unlisted-choice": "{username}:1"}, "Give a tag"),
    ],
)
async def test_what_is_refused(user, options, given, said):
    spawner = chooser(user, given, **options)
    with pytest.raises(web.HTTPError, match=said) as refused:
        await spawner.start()
    assert refused.value.status_code == 400
    assert said in refused.value.jupyterhub_message
    assert spawner.orm_spawner.user_options == {}
    assert await spawner.poll() == 0
    spawner.user_options = spawner.orm_spawner.user_options
    await seen(user, spawner)


# profiles


async def test_a_profile_holds_for_one_start(user):
    spawner = chooser(user, {"profile": "sleepy"}, profile_list=[QUICK, SLEEPY])
    found = await seen(user, spawner)
    environment = environment_of(found)
    assert environment["PACE"] == "slow"
    assert "KEPT" not in environment
    assert found["HostConfig"]["ShmSize"] == 32 << 20
    assert found["Config"]["Hostname"] == "sleepy"

    spawner.user_options = {"profile": "quick"}
    found = await seen(user, spawner)
    assert ENVIRONMENT.items() <= environment_of(found).items()
    assert found["HostConfig"]["ShmSize"] != 32 << 20
    assert found["Config"]["Hostname"] != "sleepy"
    assert spawner.environment == ENVIRONMENT


async def test_the_default_profile_and_its_default_choices(user):
    found = await seen(user, chooser(user, profile_list=[SLEEPY]))
    assert environment_of(found)["PACE"] == "slow"
    assert found["ImageName"] == TINY_JOVYAN
    found = await seen(user, chooser(user, profile_list=[SLEEPY, QUICK]))
    assert environment_of(found)["PACE"] == "normal"


async def test_options_of_a_profile(user):
    given = {"image": "other", "note--unlisted-choice": "{not} a $TEMPLATE".replace("{not}", "no")}
    found = await seen(user, chooser(user, given, profile_list=[SLEEPY]))
    assert found["ImageName"] == OTHER
    assert environment_of(found)["NOTE"] == "no a $TEMPLATE"
    given = {"image--unlisted-choice": OTHER}
    found = await seen(user, chooser(user, given, profile_list=[SLEEPY]))
    assert found["ImageName"] == OTHER


async def test_profiles_of_a_user_and_values_of_functions(user):
    async def profiles(spawner):
        own = {"environment": {"WHO": spawner.user.name}, "hostname": lambda s: f"of-{s.name}x"}
        return [{"display_name": f"For {spawner.user.name}", "overrides": own}]

    found = await seen(user, chooser(user, profile_list=profiles))
    assert environment_of(found)["WHO"] == user.name
    assert found["Config"]["Hostname"] == "of-x"


async def test_options_that_every_spawner_has(user):
    overrides = {
        "cmd": ["httpd", "-f", "-p", "8888"],
        "args": ["-h", "/"],
        "default_url": "/lab",
        "notebook_dir": "/srv",
        "debug": True,
    }
    profile = {"display_name": "All", "overrides": overrides}
    spawner = chooser(user, profile_list=[profile])
    found = await seen(user, spawner)
    assert found["Config"]["Cmd"] == [*overrides["cmd"], "-h", "/"]
    environment = environment_of(found)
    assert environment["JUPYTERHUB_DEFAULT_URL"] == "/lab"
    assert environment["JUPYTERHUB_ROOT_DIR"] == "/srv"
    assert environment["JUPYTERHUB_DEBUG"] == "1"
    assert (spawner.cmd, spawner.args, spawner.debug) == (ANSWERING, [], False)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"shm_size": "much"}, "profile 'Bad': shm_size"),
        ({"cpu_limit": "many"}, "profile 'Bad': cpu_limit"),
        ({"cap_add": 5}, "profile 'Bad': cap_add"),
        ({"ulimits": {"nofile": "all"}}, "ulimits"),
        ({"image": "localhost/no-such:1"}, "no image localhost/no-such:1"),
    ],
)
async def test_a_bad_value_names_profile_and_option(user, overrides, said):
    spawner = chooser(user, profile_list=[{"display_name": "Bad", "overrides": overrides}])
    with pytest.raises(web.HTTPError) as failure:
        await spawner.start()
    assert failure.value.status_code == 500
    assert said in failure.value.jupyterhub_message
    assert spawner.shm_size is None
    assert spawner.image == TINY_JOVYAN


async def test_a_value_of_the_users_own_is_their_fault(user):
    size = {"enabled": True, "overrides": {"shm_size": "{value}"}, "validation_message": "A size."}
    option = {"size": {"display_name": "Size", "unlisted_choice": size}}
    profiles = [{"display_name": "Own", "profile_options": option}]
    with pytest.raises(web.HTTPError, match=r"size: A size\.") as refused:
        await chooser(user, {"size--unlisted-choice": "much"}, profile_list=profiles).start()
    assert refused.value.status_code == 400
    given = {"size--unlisted-choice": "48M"}
    found = await seen(user, chooser(user, given, profile_list=profiles))
    assert found["HostConfig"]["ShmSize"] == 48 << 20


@pytest.mark.parametrize(
    "option",
    [
        *("account_template", "activation", "service_idle_seconds", "prefix", "name_template"),
        *("hub_id", "remove", "delete_grace_period", "host_ip", "allowed_images", "profile_list"),
        *("stop_timeout", "delete_volumes", "secrets", "token_as_secret"),
        *("start_timeout", "http_timeout", "poll_interval", "options_form", "pre_spawn_hook"),
        *("group_overrides", "apply_user_options", "server_token_scopes", "ip"),
    ],
)
def test_an_option_that_a_profile_cannot_set(option):
    profile = {"display_name": "Bad", "overrides": {option: "x"}}
    with pytest.raises(TraitError, match=f"profile 'Bad': {option} cannot be set for one start"):
        lone_spawner("ada", profile_list=[profile])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"allowed_images": "quay.io/a/b"}, "allowed_images: 'quay.io/a/b' is no choice"),
        ({"allowed_images": 5}, "allowed_images"),
        ({"allowed_images": {"One": 1}}, "allowed_images"),
        ({"profile_list": {}}, "profile_list"),
        ({"profile_list": [{"name": "One"}]}, "profile_list.*no display_name"),
        (
            {"profile_list": [{"display_name": "A", "overrides": {"mem_limti": 1}}]},
            "'mem_limti' is no option; did you mean 'mem_limit'",
        ),
    ],
)
def test_a_bad_list_is_refused_when_the_hub_reads_it(options, said):
    with pytest.raises(TraitError, match=said):
        lone_spawner("ada", **options)


@pytest.mark.parametrize(
    ("allowed", "profiles", "said"),
    [
        (lambda _: "one", [], "allowed_images: 'one' is no choice"),
        ([], lambda _: [{}], "profile_list: .* has no display_name"),
        ([OTHER], [QUICK], "profile_list: allowed_images is set too"),
    ],
)
async def test_a_bad_list_of_a_function(user, allowed, profiles, said):
    with pytest.raises(web.HTTPError, match=said) as failure:
        await chooser(user, allowed_images=allowed, profile_list=profiles).start()
    assert failure.value.status_code == 500
    spawner = chooser(user, allowed_images=allowed, profile_list=profiles)
    for page in (spawner.get_options_form(), spawner.run_options_from_form({})):
        with pytest.raises(web.HTTPError, match=said) as failure:
            await page
        assert failure.value.status_code == 500
        assert re.match(said, failure.value.jupyterhub_message)


# the administrator's own form, and own way to apply options


async def test_an_own_form_wins_and_its_fields_are_left_to_hooks():
    spawner = lone_spawner("ada", options_form="<input name=own>", allowed_images=[OTHER, TINY])
    assert await spawner.get_options_form() == "<input name=own>"
    posted = {"own": ["1"], "image": [OTHER]}
    assert await spawner.run_options_from_form(posted) == {"own": ["1"], "image": OTHER}


@pytest.mark.parametrize("hook", [{"own": "hostname"}, lambda _spawner, _options: None])
async def test_options_that_the_hub_applies_are_left_to_it(user, hook):
    spawner = chooser(user, {"own": "x"}, apply_user_options=hook)
    await seen(user, spawner)


async def test_a_mapping_of_options_leaves_others_refused(user):
    spawner = chooser(user, {"other": "x"}, apply_user_options={"own": "hostname"})
    with pytest.raises(web.HTTPError, match="'other'"):
        await spawner.start()


@pytest.mark.parametrize(
    ("given", "image"),
    [({"profile": "one"}, OTHER), ({"profile": "one", "image": TINY, "any": 1}, TINY)],
)
async def test_the_key_profile_is_its_own_for_a_wrapper(given, image):
    offered = {"allowed_images": [OTHER, TINY]}
    lone = lone_spawner("ada")
    wrapper = ProfilesSpawner(
        user=lone.user,
        hub=lone.hub,
        orm_spawner=lone.orm_spawner,
        profiles=[("One", "one", PodmanSpawner, offered)],
        user_options=given,
        config=Config(),
    )
    wrapper.construct_child()
    (step,) = await wrapper.child_spawner._chosen()
    assert step.overrides == {"image": image}
    wrapper.user_options = {"profile": "one", "image": "another"}
    with pytest.raises(ChoiceError, match="'another'"):
        await wrapper.child_spawner._chosen()
    wrapper.child_spawner._forget_choice()
    assert lone.orm_spawner.user_options is None


def test_a_function_that_a_wrapper_lost_with_its_hub():
    """A Hub that starts would end here, with all its users' servers."""
    lone = lone_spawner("ada")
    wrapper = ProfilesSpawner(
        user=lone.user,
        hub=lone.hub,
        orm_spawner=lone.orm_spawner,
        profiles=[("One", "one", PodmanSpawner, {"image": lambda _spawner: OTHER})],
        user_options={"profile": "one"},
        config=Config({"PodmanSpawner": {"image": TINY}}),
    )
    conf = {"image": None, "modify_spec_hook": None, "hostname": "a"}
    wrapper.load_state(
        {"profile": "one", "child_conf": conf, "child_state": {"container_id": "1"}}
    )
    child = wrapper.child_spawner
    assert (child.image, child.hostname, child.container_id) == (TINY, "a", "1")


# a real Hub


CONFIG = f"""
c.PodmanSpawner.image = {SINGLEUSER!r}
c.PodmanSpawner.environment = {{"PACE": "normal"}}
c.PodmanSpawner.profile_list = [
    {{"display_name": "Quick"}},
    {{
        "display_name": "Sleepy",
        "overrides": {{"environment": {{"PACE": "slow"}}, "hostname": "sleepy"}},
        "profile_options": {{
            "shm": {{
                "display_name": "Shared memory",
                "choices": {{
                    "some": {{"display_name": "Some", "overrides": {{"shm_size": "32M"}}}},
                    "more": {{"display_name": "More", "overrides": {{"shm_size": "96M"}}}},
                }},
            }},
        }},
    }},
]
c.JupyterHub.load_roles.append(
    {{"name": "groups", "scopes": ["groups", "admin:groups"], "services": ["tests"]}}
)
c.JupyterHub.load_groups = {{"chemists": {{"users": []}}}}
c.Spawner.group_overrides = {{
    "chemists": {{
        "groups": ["chemists"],
        "spawner_override": {{"environment": {{"GROUP": "chemists", "PACE": "of the group"}}}},
    }},
}}
"""
LOOK = """
import os, socket
shm = os.statvfs("/dev/shm")
print(os.environ["PACE"], socket.gethostname()[:6], shm.f_blocks * shm.f_frsize >> 20,
      os.environ.get("GROUP"), os.environ.get("OWN"))
"""


@pytest.fixture(scope="module")
def profiles(tmp_path_factory, prepared):
    own = 'c.Spawner.apply_user_options = {"own": "default_url"}\n'
    with Hub(tmp_path_factory.mktemp("hub"), CONFIG + own, cleanup_servers=False) as running:
        yield running


def post(hub, user, fields, browser=None):
    """Choose as a person does: open the form, fill it in, send it off."""
    browser = browser or hub.login(user.name, PASSWORD)
    page = browser.get(f"{hub.url}/hub/spawn/{user.name}", timeout=30)
    assert page.status_code == 200, page.text
    xsrf = browser.cookies.get("_xsrf", path="/hub/")
    return page, browser.post(
        f"{hub.url}/hub/spawn/{user.name}",
        params={"_xsrf": xsrf},
        data=fields,
        timeout=60,
        allow_redirects=False,
    )


def wait_until_ready(hub, user):
    hub.until(lambda: (server := hub.server(user.name)) and server["ready"], 120)


def test_a_profile_chosen_in_the_form_holds_and_does_not_stay(profiles, users):
    hub, user = profiles, users[0]
    page, answer = post(hub, user, {"profile": "sleepy", "profile-option-sleepy--shm": "more"})
    assert "Shared memory" in page.text
    assert answer.status_code == 302, answer.text
    wait_until_ready(hub, user)
    assert hub.notebook(user.name).compute(LOOK) == "slow sleepy 96 None None\n"

    hub.stop()  # the servers go on, and the next Hub finds this one
    hub.start()
    assert hub.server(user.name)["ready"]
    hub.end(user.name)
    assert user.containers() == []

    hub.begin(user.name, options={"profile": "quick"})
    looked = hub.notebook(user.name).compute(LOOK).split()
    assert looked[0] == "normal"
    assert looked[1] != "sleepy"
    hub.end(user.name)


def test_groups_come_before_profiles(profiles, users):
    """JupyterHub's own group_overrides, and what the Hub has saved of the last choice."""
    hub, user = profiles, users[0]
    hub.begin(user.name, options={"profile": "sleepy", "shm": "some"})
    assert hub.notebook(user.name).compute(LOOK) == "slow sleepy 32 None None\n"
    hub.end(user.name)
    hub.api("POST", "groups/chemists/users", json={"users": [user.name]}).raise_for_status()
    try:
        hub.begin(user.name)  # the same choice again
        assert hub.notebook(user.name).compute(LOOK) == "slow sleepy 32 chemists None\n"
        hub.end(user.name)
        hub.begin(user.name, options={"profile": "quick", "own": "/tree"})
        looked = hub.notebook(user.name).compute("import os; print(os.environ)" + LOOK)
        assert "'JUPYTERHUB_DEFAULT_URL': '/tree'" in looked
        assert "of the group" in looked
        hub.end(user.name)
    finally:
        hub.api("DELETE", "groups/chemists/users", json={"users": [user.name]}).raise_for_status()


@pytest.fixture(scope="module")
def images(tmp_path_factory, prepared):
    config = f'c.PodmanSpawner.allowed_images = {{"One": "{SINGLEUSER}", "Two": "{OTHER}"}}\n'
    with Hub(tmp_path_factory.mktemp("hub"), config) as running:
        yield running


def test_an_image_chosen_in_the_form(images, users):
    hub, user = images, users[0]
    user.podman("tag", SINGLEUSER, OTHER)
    page, answer = post(hub, user, {"image": "Two"})
    assert '<option value="One" selected>One</option>' in page.text
    assert answer.status_code == 302, answer.text
    wait_until_ready(hub, user)
    assert hub.notebook(user.name).compute("print(6*7)") == "42\n"
    (container,) = user.containers()
    assert user.podman("inspect", "-f", "{{.ImageName}}", container).strip() == OTHER
    hub.end(user.name)


HOSTILE = [
    {"image": SINGLEUSER},
    {"image": "docker.io/library/alpine:latest"},
    {"image": "One", "privileged": "true"},
    {"image": "One", "volumes": "/:/host"},
    {"image": "One", "extra_spec": '{"privileged": true}'},
    {"image": "{username.__class__}"},
    {"image": "{0.__init__.__globals__}"},
    {"image": "One", "profile": "{username}"},
    {"image": "x" * 1_000_000},
    {"x" * 1_000_000: "One"},
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.parametrize("way", ["form", "query", "API"])
def test_what_a_hostile_user_sends_is_refused(images, users, number, way):
    hub, user, sent = images, users[0], HOSTILE[number]
    size = hub.log.stat().st_size
    if way == "form":
        _, answer = post(hub, user, sent)
    elif way == "query":
        sent = {f"opt-{key[:3000]}": text[:3000] for key, text in sent.items()}
        browser = hub.login(user.name, PASSWORD)
        answer = browser.get(f"{hub.url}/hub/spawn/{user.name}", params=sent, timeout=60)
    else:
        answer = hub.api("POST", f"users/{user.name}/server", json=sent)
    if way == "API" or jupyterhub.version_info >= (6,):
        assert answer.status_code == 400, answer.text
    else:  # the form again, with the error above it
        assert "spawn-error-msg" in answer.text
    assert len(answer.text) < 20_000
    told = hub.log.read_text()[size:]
    assert f"Refused the options of {user.name}" in told
    assert user.containers() == []
    assert hub.server(user.name) is None


def test_json_that_no_form_can_send_is_refused(images, users):
    hub, user = images, users[0]
    for sent in (
        {"image": ["One"]},
        {"image": {"One": 1}},
        {"image": None},
        {"image": "One", "privileged": True},
        {"image": "One", "volumes": {"/": {"bind": "/host", "mode": "rw"}}},
        {"image": "One", "environment": {"A": "b"}},
    ):
        answer = hub.api("POST", f"users/{user.name}/server", json=sent)
        assert (answer.status_code, user.containers()) == (400, []), answer.text


def test_after_a_refusal_the_next_start_is_the_usual_one(images, users):
    hub, user = images, users[0]
    answer = hub.api("POST", f"users/{user.name}/server", json={"image": "Three"})
    assert answer.status_code == 400
    assert "'Three' is not one of those for you: One, Two" in answer.json()["message"]
    hub.begin(user.name)
    hub.end(user.name)
