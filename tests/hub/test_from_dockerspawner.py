"""The examples for those who come from dockerspawner, each run by a real Hub.

Only the images are others than in the example.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accounts import PASSWORD, SINGLEUSER

EXAMPLES = Path(__file__).parents[2] / "examples" / "from-dockerspawner"
IMAGE = f"c.PodmanSpawner.image = {SINGLEUSER!r}\n"


@pytest.fixture
def user(users):
    yield users[0]
    for volume in users[0].podman("volume", "ls", "-q").split():
        users[0].podman("volume", "rm", "-f", volume)


@pytest.fixture
def example(make_hub):
    def run(name, after=IMAGE):
        return make_hub(f'load_subconfig("{EXAMPLES / name}")\n{after}')

    return run


def container_of(user):
    (container,) = user.containers()
    return json.loads(user.podman("inspect", container))[0]


def test_every_example_is_run_here():
    here = Path(__file__).read_text()
    names = {file.name for file in EXAMPLES.glob("*.py")}
    assert len(names) == 4
    assert all(f'example("{name}"' in here for name in names)


def test_choosing_an_image(example, user):
    images = "c.PodmanSpawner.allowed_images"
    local = "localhost/choice/{name.lower()}:1"
    hub = example("choose_image.py", f'{images} = {{name: f"{local}" for name in {images}}}\n')
    for name in ("python", "science", "r"):
        user.podman("tag", SINGLEUSER, f"localhost/choice/{name}:1")
    browser = hub.login(user.name, PASSWORD)
    url = f"{hub.url}/hub/spawn/{user.name}"
    assert ">Science</option>" in browser.get(url, timeout=30).text
    query = {"_xsrf": browser.cookies.get("_xsrf", path="/hub/")}
    refused = browser.post(url, params=query, data={"image": "Julia"}, timeout=30)
    assert refused.status_code == 400
    assert "is not one of those for you: Python, Science, R" in refused.text
    assert user.containers() == []
    chosen = browser.post(
        url, params=query, data={"image": "Science"}, timeout=60, allow_redirects=False
    )
    assert chosen.status_code == 302, chosen.text
    hub.until(lambda: (server := hub.server(user.name)) and server["ready"], 120)
    assert container_of(user)["ImageName"] == "localhost/choice/science:1"
    hub.end(user.name)


def test_volumes_of_each_user_and_server(example, user):
    hub = example("user_volumes.py")
    for name in ("", "a"):
        hub.begin(user.name, name)
        code = f"import os; print(open('work/mine', 'w').write('x'), os.listdir('work')); {READ}"
        assert hub.notebook(user.name, name).compute(code) == "1 ['mine']\nread-only\n"
        hub.end(user.name, name)
    assert user.podman("volume", "ls", "-q").split() == [
        f"jupyter-{user.name}-",
        f"jupyter-{user.name}-a",
    ]
    hub.begin(user.name)
    assert hub.notebook(user.name).compute("print(open('work/mine').read())") == "x\n"
    hub.end(user.name)
    assert not Path(user.account.home, "mine").exists()


READ = """
try:
    open("/data/new", "w")
except OSError as error:
    print("read-only" if error.errno in (13, 30) else error)
"""


def test_a_container_that_is_kept(example, user):
    hub = example("keep_container.py")
    hub.begin(user.name)
    kept = container_of(user)
    assert kept["Name"] == f"lab-{user.name}"
    hub.notebook(user.name).compute("open('/tmp/installed', 'w').write('x')")
    hub.end(user.name)
    assert container_of(user)["Id"] == kept["Id"]
    hub.begin(user.name)
    assert container_of(user)["Id"] == kept["Id"]
    assert hub.notebook(user.name).compute("print(open('/tmp/installed').read())") == "x\n"
    hub.end(user.name)
    hub.api("DELETE", f"users/{user.name}").raise_for_status()
    hub.until(lambda: user.containers() == [])


def test_options_of_the_engine(example, user):
    hub = example("engine_options.py")
    hub.begin(user.name)
    assert hub.notebook(user.name).compute(LOOK).splitlines() == [
        f"0 {user.name} /tmp entrypoint 192.0.2.7 (512, 1024) 96 8 300 False",
    ]
    found = container_of(user)
    assert "192.0.2.53" in found["HostConfig"]["Dns"]
    hub.end(user.name)


LOOK = """
import os, resource, socket
def mib(path):
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize >> 20
capabilities = int(open("/proc/self/status").read().split("CapBnd:")[1].split()[0], 16)
print(os.getuid(), socket.gethostname(), os.readlink(f"/proc/{os.getppid()}/cwd"),
      os.environ["BEGUN_BY"], socket.gethostbyname("db.example.org"),
      resource.getrlimit(resource.RLIMIT_NOFILE), mib("/dev/shm"), mib("/scratch"),
      open("/proc/self/oom_score_adj").read().strip(), bool(capabilities >> 13 & 1))
"""
