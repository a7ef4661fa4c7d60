"""The commands and scripts of the documents, run on a Debian 13 with systemd.

``RUN`` says which, as whom, and what has to be there. One that cannot be run here says why in a
comment before it: its form is checked, and that its programs exist, and the summary names it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import registry
from accounts import TINY, TINY_JOVYAN
from hub import TOKEN, Hub
from lone import ANSWERING
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
    then: str = ""
    """What shows that it did what the page says."""
    prints: str = ""
    words: dict[str, str] = field(default_factory=dict)
    """What stands for words such as NAME."""
    types: str = ""
    """What somebody answers, at a terminal."""
    registries: bool = False
    """Whether there are registries, in place of the internet's: see ``WITH_REGISTRIES``."""


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
        after="podman volume create scratch-ada--training"
        " --label hub.jupyter.org/username=ada >/dev/null",
        prints="scratch-ada--training\nscratch-ada--training",
    ),
    "docs/how-to/gpus.md sh 2": Run(
        "ada", words={"IMAGE": "localhost/lab:latest"}, prints="^GPU 0: a stand-in$"
    ),
    "docs/how-to/images.md sh 1": Run(
        after="mkdir -p /etc/jupyterhub",
        types=f"{registry.USERNAME}\n{registry.PASSWORD}\n",
        then="stat -c %a /etc/jupyterhub/registries.json;"
        " podman login --authfile /etc/jupyterhub/registries.json --get-login"
        " registry.example.org",
        prints=f"Login Succeeded!\\s+600\\s+{registry.USERNAME}\\s",
        registries=True,
    ),
    "docs/how-to/images.md sh 2": ADA,
    "docs/how-to/limits.md sh 1": ROOT,
    "docs/how-to/migrate-from-dockerspawner.md sh 1": Run(
        "ada",
        after="""
            docker() { podman "$@"; }
            export -f docker
            docker run --rm -v jupyter-ada:/to busybox \\
                sh -c 'echo 1 >/to/mine; chown 1000:100 /to/mine'
        """,
        then="podman volume rm jupyter-ada; tar --numeric-owner -tvf /srv/ada.tar",
        prints=r" 1000/100 .* \./mine\n",
    ),
    "docs/how-to/migrate-from-dockerspawner.md sh 2": Run("ada", prints="1 0 +0 .* mine"),
    "docs/how-to/pam.md sh 1": Run(
        words={"NAME": "ada"},
        then="""cd /; python - <<'END'
from podmanspawner import ContainerSpec, UserPodman
job = ContainerSpec(
    image="docker.io/library/alpine:latest",
    command=["sh", "-c", "ulimit -n; ulimit -c"],
)
with UserPodman.for_user("ada", activation="systemd") as podman:
    print(podman.run(job, seconds=60).output)
END""",
        prints="16384\n0\n",
    ),
    "docs/how-to/pam.md sh 2": Run(
        then="useradd -M newbie; loginctl enable-linger newbie;"
        " systemctl start user@$(id -u newbie); stat -c '%U %a' /home/newbie",
        prints="newbie 700",
    ),
    "docs/how-to/scripting.md sh 1": Run(prints="words: 12\nexit code: 0"),
    "docs/how-to/shared-images.md sh 1": Run(
        prints=r"image_stores = \['/var/lib/shared-images/2026-09'\]", registries=True
    ),
    "docs/how-to/shared-images.md sh 2": Run(
        after="mkdir -p /var/lib/shared-images",
        prints=r"image_stores = \['/var/lib/shared-images/2026-10'\]",
        registries=True,
    ),
    "docs/how-to/shared-images.md sh 3": Run(after="mkdir -p /var/lib/shared-images/2026-09"),
    "docs/how-to/systemd.md sh 1": ROOT,
    "docs/how-to/troubleshooting.md sh 1": Run(prints="graphDriverName: overlay"),
    "docs/how-to/troubleshooting.md sh 2": Run(
        "ada", words={"IMAGE": "localhost/lab:latest"}, prints=r"[0-9a-f]{64}"
    ),
    "docs/reference/client.md sh 1": Run("ada", prints="CONTAINER ID"),
    "docs/reference/command.md sh 1": Run(
        after="mkdir -p /etc/bash_completion.d",
        then=". /etc/bash_completion.d/podmanspawner; complete -p podmanspawner",
        prints="^complete .*podmanspawner$",
    ),
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
mkdir /etc/cdi
echo '{gpu}' >/etc/cdi/nvidia.json
printf '#!/bin/sh\\necho GPU 0: a stand-in\\n' >/usr/local/bin/nvidia-smi
chmod +x /usr/local/bin/nvidia-smi
echo 1 >/tmp/mine
tar -C /tmp --owner=1000 --group=100 -cf /srv/ada.tar mine
chown ada /srv/ada.tar
runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/$(id -u ada) sh -ec '
    cd
    podman load -q -i /srv/images/singleuser.tar
    for name in {names}; do podman tag {tiny} $name; done'
"""
PROGRAM = {"hostPath": "/usr/local/bin/nvidia-smi", "containerPath": "/usr/bin/nvidia-smi"}
GPU = {
    "cdiVersion": "0.5.0",
    "kind": "nvidia.com/gpu",
    "devices": [
        {
            "name": "all",
            "containerEdits": {"mounts": [{**PROGRAM, "options": ["ro", "nosuid", "bind"]}]},
        }
    ],
}
"""What NVIDIA's tool would write, with a program that is not the driver's."""
WITH_REGISTRIES = """
exec unshare --net bash -ec '
    ip link set lo up
    trap "kill \\$(jobs -p)" EXIT
    for name in quay.io registry.example.org; do
        docker-registry serve /srv/registries/$name.yml 2>/dev/null &
        until exec 3<>/dev/tcp/$name/443; do sleep 0.05; done 2>/dev/null
    done
    "$@"
' "$0" "$@"
"""
"""Runs a command where two registries are all of the net; the second one wants a password."""
MAKE_REGISTRIES = """
mkdir /srv/registries
cd /srv/registries
echo '{htpasswd}' >htpasswd
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registries -keyout key -out crt \\
    -addext subjectAltName=DNS:quay.io,DNS:registry.example.org 2>/dev/null
make() {{
    mkdir -p /etc/containers/certs.d/$2
    cp crt /etc/containers/certs.d/$2/ca.crt
    echo "$1 $2" >>/etc/hosts
    printf '%s\\n' 'version: 0.1' 'log: {{level: error}}' "$3" >$2.yml \\
        "storage: {{filesystem: {{rootdirectory: $PWD/of-$2}}}}" \\
        "http: {{addr: '$1:443', tls: {{certificate: $PWD/crt, key: $PWD/key}}}}"
}}
make 127.0.0.1 quay.io
make 127.0.0.2 registry.example.org "auth: {{htpasswd: {{realm: test, path: $PWD/htpasswd}}}}"
"""


@pytest.fixture(scope="module")
def host():
    with Machine("trixie") as machine:
        archive = os.environ["PODMANSPAWNER_TINY"]
        names = " ".join(IMAGES)
        text = PREPARE.format(archive=archive, names=names, tiny=TINY, gpu=json.dumps(GPU))
        machine.run("bash", "-ec", text, capture_output=True)
        yield machine


@pytest.fixture(scope="module")
def registries(host):
    """Have the registries set up, and in one the image of a page."""
    text = MAKE_REGISTRIES.format(htpasswd=f"{registry.USERNAME}:{registry.HTPASSWD}")
    host.run("bash", "-ec", text)
    push = ["podman", "push", "-q", TINY, "docker://quay.io/jupyterhub/singleuser:latest"]
    as_ada = ["bash", "-ec", AS, "ada", *push]
    host.run("bash", "-ec", WITH_REGISTRIES, "bash", *as_ada, capture_output=True)


CHOICE = "docs/how-to/choices.md sh 1"
BLOCKS = {str(block): block for block in (*all_blocks("sh"), *all_blocks("python"))}


def test_what_is_run_is_there():
    assert {*RUN, CHOICE} <= set(BLOCKS)


@pytest.mark.parametrize("name", RUN)
def test_it_works(host, name, request):
    how, block = RUN[name], BLOCKS[name]
    text = block.text
    for word, other in how.words.items():
        text = text.replace(word, other)
    if block.language == "python":
        command = ["python", "-c", f"{how.before}\n{text}"]
    else:
        command = ["bash", "-ec", f"{text}\n{how.then}"]
    command = ["bash", "-ec", f'{how.after}\nexec "$@"', "bash", *command]
    if how.types:
        command = ["script", "-qec", shlex.join(command), "/dev/null"]
    if how.registries:
        request.getfixturevalue("registries")
        command = ["bash", "-ec", WITH_REGISTRIES, "bash", *command]
    if how.user != "root":
        command = ["bash", "-ec", AS, how.user, *command]
    done = host.run(*command, capture_output=True, check=False, input=how.types)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(how.prints, done.stdout, re.MULTILINE), done.stdout


AS = """
cd "$(getent passwd "$0" | cut -d: -f6)"
exec runuser -u "$0" -- env XDG_RUNTIME_DIR=/run/user/$(id -u "$0") "$@"
"""

A_CHOICE = """
c.PodmanSpawner.image = "{image}"
c.PodmanSpawner.allowed_images = {{"R": "{image}", "Python": "localhost/none:1"}}
c.PodmanSpawner.cmd = {cmd}
"""


def test_a_start_with_a_choice(ada, tmp_path):
    """The one command that asks a Hub; only its address and its user are others."""
    ada.load(TINY_JOVYAN)
    with Hub(tmp_path, A_CHOICE.format(image=TINY_JOVYAN, cmd=ANSWERING)) as hub:
        hub.api("POST", f"users/{ada.name}").raise_for_status()
        text = BLOCKS[CHOICE].text.replace("https://hub.example.org", hub.url)
        text = text.replace("/ada/", f"/{ada.name}/").replace("curl", "curl -sS -f")
        subprocess.run(["bash", "-ec", text], check=True, env={**os.environ, "TOKEN": TOKEN})
        hub.until(lambda: (hub.server(ada.name) or {}).get("ready"))
        assert hub.server(ada.name)["user_options"] == {"image": "R"}
        hub.end(ada.name)
    assert ada.containers() == []


OTHERS = [
    block
    for block in all_blocks("sh")
    if str(block) not in {*RUN, CHOICE} and block.page.name != "tutorial.md"
]
_PROGRAM = re.compile(r"^(?:sudo )?([\w./-]+)(?= |$)", re.MULTILINE)
_WORDS = {"if", "fi", "else", "then", "for", "do", "done", "while", "cd", "export", "set"}
ELSEWHERE = {"nvidia-ctk"}
"""Programs that are no part of the tests' host."""


@pytest.mark.parametrize("block", OTHERS, ids=str)
def test_commands_that_are_not_run_can_be(block, tell):
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    joined = block.text.replace("\\\n", " ")
    assert set(re.findall(r"^make ([a-z-]+)", joined, re.MULTILINE)) <= targets
    for program in set(_PROGRAM.findall(joined)) - _WORDS - ELSEWHERE:
        where = TOP / program if program.startswith(("examples/", "tests/")) else Path("/")
        assert where.is_file() or shutil.which(program), program
    assert block.note.startswith("not run: "), f"{block}: nobody says why it is not run"
    tell(f"not run, only checked: {block}: {block.note.removeprefix('not run: ')}")


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
