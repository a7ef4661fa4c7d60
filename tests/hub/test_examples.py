"""The examples' configurations, each as it is, with a real Hub, a log-in and a server.

Their images are names of the tests' own. What a test's host changes is said at each.
"""

from __future__ import annotations

import json
import re
import tempfile
import textwrap
from pathlib import Path

import pytest

from accounts import PASSWORD, SINGLEUSER
from devices import cdi_device
from hub import Notebook

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTED_ELSEWHERE = {"demo", "from-dockerspawner", "systemd"}
"""By test_demo, test_from_dockerspawner, and tests/systemd/test_unit."""


@pytest.fixture
def example(make_hub, users):
    """Start a Hub with an example, and with its images in an account."""

    def run(name, after=""):
        file = EXAMPLES / name / "jupyterhub_config.py"
        for image in set(re.findall(r'"(quay\.io/[^"]+)"', file.read_text())):
            users[0].podman("tag", SINGLEUSER, image)
        return make_hub(f'load_subconfig("{file}")\n{textwrap.dedent(after)}')

    return run


def compute(hub, user, code, **choice):
    """Log in by the form, start a server, and return what its notebook prints."""
    browser = hub.login(user.name, PASSWORD)
    hub.begin(user.name, options=choice or None)
    return Notebook(f"{hub.url}/user/{user.name}/", browser).compute(code)


def made(user):
    (container,) = user.containers()
    return json.loads(user.podman("inspect", container))[0]


def test_every_example_is_run():
    here = Path(__file__).read_text()
    names = {file.parent.name for file in EXAMPLES.glob("*/jupyterhub_config.py")}
    assert names - TESTED_ELSEWHERE == set(re.findall(r'example\(\s*"([\w-]+)"', here))


def test_the_simple_case(example, users):
    user, other = users
    hub = example("simple", f'c.Authenticator.allowed_users = {{"{user.name}"}}\n{STRICT}')
    assert compute(hub, user, "print(6*7)") == "42\n"
    assert made(user)["ImageName"] == "quay.io/jupyter/base-notebook:latest"
    with pytest.raises(AssertionError, match="Invalid username or password|403"):
        hub.login(other.name, PASSWORD)
    hub.end(user.name)
    assert user.containers() == []


STRICT = "c.PAMAuthenticator.allow_all = False\n"
"""The tests' own configuration lets everybody in."""


def test_teaching(example, users):
    user = users[0]
    with tempfile.TemporaryDirectory(prefix="pst") as course:
        Path(course, "workshop").mkdir()
        Path(course, "workshop", "task").write_text("1")
        Path(course).chmod(0o755)
        hub = example(
            "teaching",
            f"""
            c.PodmanSpawner.read_only_volumes = {{"{course}": "/course"}}
            # not every host of the tests has the controllers
            c.PodmanSpawner.unenforced_limits = "warn"
            """,
        )
        assert compute(hub, user, COURSE, profile="project") == "read-only 1024\n"
        environment = dict(item.split("=", 1) for item in made(user)["Config"]["Env"])
        assert environment["MEM_LIMIT"] == str(8 << 30)
        own = Path(user.account.home, "workshop", "task")
        assert (own.read_text(), own.stat().st_uid) == ("12", user.account.uid)
        hub.end(user.name)
    assert user.containers() == []


COURSE = """
import os
try:
    open("/course/workshop/task", "w")
except OSError as error:
    print("read-only" if error.errno == 30 else error, end=" ")
with open(os.path.expanduser("~/workshop/task"), "a") as file:
    file.write("2")
size = os.statvfs("/dev/shm")
print(size.f_blocks * size.f_frsize >> 20)
"""


def test_gpus(example, users):
    user = users[0]
    look = "import os; print(os.environ.get('CDI'), os.path.exists('/dev/fuse'))"
    with cdi_device("nvidia.com/gpu", "0"):
        hub = example("gpus")
        assert compute(hub, user, look, profile="the-first-gpu") == "seen True\n"
        assert made(user)["ImageName"] == "quay.io/jupyter/pytorch-notebook:cuda12-latest"
        hub.end(user.name)


def test_a_service_account(example, users):
    account = users[0]
    hub = example(
        "service-account",
        f"""
        c.PodmanSpawner.account_template = "{account.name}"
        c.JupyterHub.authenticator_class = "dummy"
        c.DummyAuthenticator.allow_all = True
        """,
    )
    for name in ("grace", "linus"):  # who have no Unix accounts
        browser = hub.login(name, "any")
        hub.begin(name)
        notebook = Notebook(f"{hub.url}/user/{name}/", browser)
        assert notebook.compute("open('mine', 'w').write('x')") == ""
    assert len(account.containers()) == 2
    for name in ("grace", "linus"):
        file = Path(account.account.home, "users", name, "mine")
        assert (file.read_text(), file.stat().st_uid) == ("x", account.account.uid)
        hub.end(name)
    assert account.containers() == []


def test_profilesspawner(example, users):
    user = users[0]
    hub = example("profilesspawner")
    page = hub.login(user.name, PASSWORD).get(f"{hub.url}/hub/spawn/{user.name}", timeout=30)
    assert "Science, with more shared memory" in page.text
    assert compute(hub, user, "print(6*7)", profile="science") == "42\n"
    found = made(user)
    assert found["ImageName"] == "quay.io/jupyter/scipy-notebook:latest"
    assert found["HostConfig"]["ShmSize"] == 1 << 30
    hub.end(user.name)
