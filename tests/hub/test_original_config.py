"""The configuration of the original's README, under ProfilesSpawner in a real Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from accounts import SINGLEUSER

CONFIG = Path(__file__).with_name("original_config.py").read_text()
PROXY = "http://www-proxy1.hrz.uni-marburg.de:3128"
LOOK = """
import os
from pathlib import Path
print(6*7, os.getcwd(), Path.home(), os.environ.get("JUPYTER_ENABLE_LAB"))
print(os.environ.get("https_proxy"), os.environ.get("NVIDIA_VISIBLE_DEVICES"))
print(*(Path(folder, "here").read_text() for folder in FOLDERS))
Path(FOLDERS[0], "saved").write_text("saved")
"""


@pytest.fixture
def user(users):
    user = users[0]
    user.run("sh", "-c", "mkdir -p $HOME/datahdd; cd $HOME; printf home > here")
    user.run("sh", "-c", "cd $HOME/datahdd; printf data > here")
    return user


@pytest.fixture
def config(user):
    """The configuration, with this machine's folder and proxy, and the image in that folder."""
    folder = f"{user.account.home}/datahdd"
    images = f"{folder}/share/podman_images"
    user.run("mkdir", "-p", images)
    user.podman("push", "-q", SINGLEUSER, f"dir:{images}/stardist", timeout=300)
    yield (
        CONFIG.replace(PROXY, "http://proxy.test:3128").replace("/mnt/datahdd", folder)
        + 'c.PodmanSpawner.pull_policy = "missing"\n'  # as without the tests' own configuration
    )
    user.run("rm", "-r", images)


def in_profile(hub, user, profile, home, data):
    """Start a server of a profile, look around in a kernel, stop it; return what was seen."""
    hub.begin(user.name, options={"profile": profile})
    seen = hub.notebook(user.name).compute(LOOK.replace("FOLDERS", f"[{home!r}, {data!r}]"))
    saved = Path(user.account.home, "saved")
    assert (saved.stat().st_uid, saved.stat().st_gid) == (user.account.uid, user.account.gid)
    saved.unlink()
    hub.end(user.name)
    assert user.containers() == []
    return seen.splitlines()


def test_both_profiles_start_compute_and_stop(make_hub, user, config):
    hub = make_hub(config)
    home = "/home/jovyan/home"
    assert in_profile(hub, user, "podman-std", home, "/home/jovyan/datahdd") == [
        "42 /home/jovyan /home/jovyan yes",
        "http://proxy.test:3128 None",
        "home data",
    ]
    home = f"/home/{user.name}"
    assert in_profile(hub, user, "podman-stardist", home, "/extdata") == [
        f"42 {home} /home/jovyan yes",
        "None all",
        "home data",
    ]
    log = hub.log.read_text()
    assert log.count("] conthome is a setting of podmanspawner 0.2") == 1
    assert log.count("] enable_lab is a setting of podmanspawner 0.2") == 1
