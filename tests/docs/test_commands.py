"""The commands and scripts of the documents, run on a Debian 13 with systemd.

``RUN`` says which, as whom, and what has to be there. Of all other commands the form is checked
and that their programs exist; the summary of the run names them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accounts import TINY
from machine import Machine
from shown import TOP, all_blocks

IMAGES = (
    "docker.io/library/alpine:latest",
    "docker.io/library/busybox:latest",
    "localhost/lab:latest",
)
"""All of them are the tests' own small image."""


@dataclass(frozen=True)
class Run:
    """How a block is run: as whom, after which commands, and what it then prints (a pattern)."""

    user: str = "root"
    after: str = ""
    before: str = ""
    """What stands before the script in the page's sense, such as an import."""
    prints: str = ""
    words: dict[str, str] = field(default_factory=dict)
    """What stands for words such as NAME."""


ROOT, ADA = Run(words={"NAME": "ada"}), Run("ada")
RUN = {
    "docs/how-to/host.md sh 1": ROOT,
    "docs/how-to/host.md sh 2": ROOT,
    "docs/how-to/host.md sh 3": ROOT,
    "docs/how-to/host.md sh 4": ROOT,
    "docs/how-to/host.md sh 5": ROOT,
    "docs/how-to/host.md sh 6": Run("ada", prints="Loaded image"),
    "docs/how-to/host.md sh 7": Run("ada", prints=r"overlay v2 crun\n( +\d+){3}\n( +\d+){3}\n"),
    "docs/how-to/home-and-data.md sh 1": Run(
        "ada",
        after="podman volume create scratch-ada-training"
        " --label hub.jupyter.org/username=ada >/dev/null",
        prints="scratch-ada-training\nscratch-ada-training",
    ),
    "docs/how-to/images.md sh 2": ADA,
    "docs/how-to/limits.md sh 1": ROOT,
    "docs/how-to/migrate-from-dockerspawner.md sh 2": Run("ada", prints="1 0 +0 .* mine"),
    "docs/how-to/scripting.md sh 1": Run(prints="words: 12\nexit code: 0"),
    "docs/how-to/shared-images.md sh 3": Run(after="mkdir -p /var/lib/shared-images/2026-09"),
    "docs/how-to/systemd.md sh 1": ROOT,
    "docs/how-to/troubleshooting.md sh 1": Run(prints="graphDriverName: overlay"),
    "docs/how-to/troubleshooting.md sh 2": Run(
        "ada", words={"IMAGE": "localhost/lab:latest"}, prints=r"[0-9a-f]{64}"
    ),
    "docs/reference/client.md sh 1": Run("ada", prints="CONTAINER ID"),
    "README.md python 3": Run(prints="^0 .*20[0-9]{2}"),
    "docs/how-to/host.md python 1": Run(prints=r"\(5, "),
    "docs/how-to/scripting.md python 1": Run(prints="0 3\n"),
    "docs/how-to/scripting.md python 2": Run(
        after="mkdir -p /srv/data; install -d -o ada /home/ada/work",
    ),
    "docs/how-to/scripting.md python 3": Run(),
    "docs/how-to/scripting.md python 4": Run(prints="night-job running"),
    "docs/how-to/scripting.md python 5": Run(prints="build it first"),
    "docs/reference/client.md python 1": Run(
        before="from podmanspawner import UserPodman; podman = UserPodman.for_user('ada')"
    ),
}
PREPARE = """
useradd -m -s /bin/bash ada
loginctl enable-linger ada
systemctl start user@$(id -u ada)
install -d -o ada /srv/images
cp {archive} /srv/images/singleuser.tar
echo 1 >/tmp/mine
tar -C /tmp --owner=1000 --group=100 -cf /srv/ada.tar mine
runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/$(id -u ada) sh -ec '
    cd
    podman load -q -i /srv/images/singleuser.tar
    for name in {names}; do podman tag {tiny} $name; done'
"""


@pytest.fixture(scope="module")
def host():
    with Machine("trixie") as machine:
        archive = os.environ["PODMANSPAWNER_TINY"]
        names = " ".join(IMAGES)
        text = PREPARE.format(archive=archive, names=names, tiny=TINY)
        machine.run("bash", "-ec", text, capture_output=True)
        yield machine


BLOCKS = {str(block): block for block in (*all_blocks("sh"), *all_blocks("python"))}


def test_what_is_run_is_there():
    assert set(RUN) <= set(BLOCKS)


@pytest.mark.parametrize("name", RUN)
def test_it_works(host, name):
    how, block = RUN[name], BLOCKS[name]
    text = block.text
    for word, other in how.words.items():
        text = text.replace(word, other)
    if block.language == "python":
        command = ["python", "-c", f"{how.before}\n{text}"]
    else:
        command = ["bash", "-ec", text]
    command = ["bash", "-ec", f'{how.after}\nexec "$@"', "bash", *command]
    if how.user != "root":
        command = ["bash", "-ec", AS, how.user, *command]
    done = host.run(*command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(how.prints, done.stdout), done.stdout


AS = """
cd "$(getent passwd "$0" | cut -d: -f6)"
exec runuser -u "$0" -- env XDG_RUNTIME_DIR=/run/user/$(id -u "$0") "$@"
"""

OTHERS = [
    block
    for block in all_blocks("sh")
    if str(block) not in RUN and block.page.name != "tutorial.md"
]
_PROGRAM = re.compile(r"^(?:sudo )?([\w./-]+)(?= |$)", re.MULTILINE)
_WORDS = {"if", "fi", "else", "then", "for", "do", "done", "while", "cd", "export", "set"}
ELSEWHERE = {"podmanspawner", "jupyterhub", "nvidia-ctk", "npm", "ssh", "curl", "podman"}
"""Programs that are no part of the tests' host, or in a virtual environment of it."""


@pytest.mark.parametrize("block", OTHERS, ids=str)
def test_commands_that_are_not_run_can_be(block, tell):
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    joined = block.text.replace("\\\n", " ")
    assert set(re.findall(r"^make ([a-z-]+)", joined, re.MULTILINE)) <= targets
    for program in set(_PROGRAM.findall(joined)) - _WORDS - ELSEWHERE:
        where = TOP / program if program.startswith(("examples/", "tests/")) else Path("/")
        assert where.is_file() or shutil.which(program), program
    tell(f"not run, only checked: {block}")


UNITS = {"Unit", "Service", "Slice", "Install"}
SETTINGS = [block for block in all_blocks("ini") if block.page.name != "tutorial.md"]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_settings_are_read(host, block):
    """Those of units by systemd; those of containers are TOML, with tables that Podman knows."""
    tables = set(re.findall(r"^\[+([\w.]+)", block.text, re.MULTILINE))
    if tables <= UNITS:
        kind = "slice" if "Slice" in tables else "service"
        text = block.text + ("[Service]\nExecStart=/bin/true\n" if kind == "service" else "")
        look = (
            f'cat >/tmp/shown.{kind}; systemd-analyze verify /tmp/shown.{kind} 2>&1 | grep "^/tmp"'
        )
        done = host.run("bash", "-c", look, input=text, capture_output=True, check=False)
        assert done.stdout == ""
    else:
        assert tables <= {
            "storage",
            "storage.options",
            "storage.options.overlay",
            "engine",
            "registry",
        }
        read = "import sys, tomllib; assert tomllib.loads(sys.stdin.read())"
        host.run("python", "-c", read, input=block.text)


def test_a_wrong_setting_is_seen(host):
    wrong = "[Service]\nKilMode=process\nExecStart=/bin/true\n"
    look = "cat >/tmp/wrong.service; systemd-analyze verify /tmp/wrong.service 2>&1"
    done = host.run("bash", "-c", look, input=wrong, capture_output=True, check=False)
    assert "/tmp/wrong.service:2: Unknown key" in done.stdout
