"""What the documents show of the command's use: typed into a Debian 13, and printed as they say.

Numbers, ids and dates may be others, and so may the columns' widths.
"""

from __future__ import annotations

import re
import time

import pytest
import requests

from accounts import SINGLEUSER, TINY_JOVYAN
from free_ports import free_port
from machine import Machine
from shown import DOCS, TOP, all_blocks, blocks
from typist import Typist

PAGE = DOCS / "reference" / "command.md"
SESSIONS = {str(block): block for block in all_blocks("console")}
COMMAND = re.compile(r"^[#$] (.*)$", re.MULTILINE)
TOKEN, PRUNE = "0123456789abcdef" * 2, "fedcba9876543210" * 2
CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.spawner_class = "podman"
c.PodmanSpawner.image = "{image}"
c.PodmanSpawner.pull_policy = "never"
c.PodmanSpawner.cmd = ["sh", "-c", "echo serving; exec httpd -f -p 8888 -h /home/jovyan"]
c.Spawner.poll_interval = 1
c.Authenticator.allowed_users = {{"ada"}}
c.JupyterHub.load_roles = [{{"name": "tests", "scopes": ["admin:users", "admin:servers"],
                             "services": ["tests"]}}]
"""
PREPARE = """
mkdir /etc/jupyterhub
cd /etc/jupyterhub
cat >jupyterhub_config.py
useradd -m ada
useradd -m bob
loginctl enable-linger ada
systemctl start user@$(id -u ada)
cp /etc/subuid /etc/subgid /root
sed -i /^bob:/d /etc/subuid /etc/subgid
mkdir -p /srv/images
cp "$PODMANSPAWNER_TINY" /srv/images/tiny.tar
podmanspawner images preload ada --from "$PODMANSPAWNER_TINY_JOVYAN"
"""
SERVICES = f"""
c.JupyterHub.services += [{{"name": "tests", "api_token": "{TOKEN}"}}]
c.JupyterHub.services[0]["api_token"] = "{PRUNE}"
"""
"""After the page's own service, whose token is a secret of somebody's."""
ORPHAN = """
cd /
exec runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/$(id -u ada) podman run -dq --network none \\
    --name jupyter-{hub}--ada--gone --label podmanspawner.hub={hub} \\
    --label hub.jupyter.org/username=ada --label hub.jupyter.org/servername=gone {image} sleep 1000
"""


BOB = """
cp /root/subuid /root/subgid /etc
podmanspawner images preload bob --from "$PODMANSPAWNER_TINY_JOVYAN"
"""
STORE = """
mkdir -p /var/lib/shared-images
podmanspawner images share /var/lib/shared-images/2026-09 "$PODMANSPAWNER_IMAGE"
useradd -m eve
loginctl enable-linger eve
systemctl start user@$(id -u eve)
"""
AS_EVE = "exec runuser -u eve -- env -C /home/eve XDG_RUNTIME_DIR=/run/user/$(id -u eve) bash -e"


class Reader:
    """Somebody who types what a page shows, and compares."""

    def __init__(self, machine):
        self.machine = machine
        self.ports = {name: free_port() for name in ("port", "hub_port", "api_port")}
        self.url = f"http://127.0.0.1:{self.ports['port']}/hub/api"

    def type(self, text, *, fails=False, folder="/", **options):
        """Type something and return what is printed."""
        done = self.machine.run(
            *("env", "-C", folder, f"JUPYTERHUB_API_TOKEN={PRUNE}", "bash", "-ec", text),
            **{"capture_output": True, "check": False, **options},
        )
        assert (done.returncode != 0) is fails, f"{text}: {done.stdout + done.stderr}"
        return done.stdout + done.stderr

    def compare(self, block, **options):
        """Type a block's commands, and see that what is printed is what it shows."""
        _, *parts = COMMAND.split(block.text)
        for command, shown in zip(parts[::2], parts[1::2], strict=True):
            printed = self.type(command, **options)
            assert is_alike(printed, shown), f"{command}\n{printed}"

    def compare_a_dialogue(self, block, prompt):
        """Do the same at a terminal, where a line is typed once there is a prompt."""
        commands = "; ".join(COMMAND.findall(block.text))
        (line,) = re.findall(rf"^{re.escape(prompt)}(.*)$", block.text, re.MULTILINE)
        somebody = Typist(*self.machine.command("bash", "-c", commands, terminal=True))
        printed = somebody.see(prompt) + prompt
        somebody.type(f"{line}\r")
        end = block.text.splitlines()[-1]
        printed += somebody.see(f"\n{end}") + f"\n{end}"
        assert somebody.leave() == 0
        assert is_alike(on_screen(printed), COMMAND.sub("", block.text)), printed

    def ask(self, method, path):
        headers = {"Authorization": f"token {TOKEN}"}
        answer = requests.request(method, f"{self.url}/{path}", headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def until(self, condition):
        end = time.monotonic() + 60
        while True:
            try:
                if condition():
                    return
            except requests.RequestException:
                pass
            assert time.monotonic() < end, self.type("journalctl -u hub | tail -n 50")
            time.sleep(0.2)

    def start_hub(self):
        (service,) = (b.text for b in blocks(PAGE, "python") if '"prune"' in b.text)
        self.type("cat >>/etc/jupyterhub/jupyterhub_config.py", input=add_role(service) + SERVICES)
        self.type(
            "systemd-run -q --unit=hub --working-directory=/run --setenv=PATH=$PATH "
            "jupyterhub -f /etc/jupyterhub/jupyterhub_config.py"
        )
        self.until(lambda: self.ask("GET", "users") is not None)

    def start_servers(self):
        for name in ("server", "servers/project"):
            self.ask("POST", f"users/ada/{name}")
        self.until(lambda: [s["ready"] for s in self.servers().values()] == [True, True])

    def servers(self):
        return self.ask("GET", "users/ada")["servers"]


def add_role(service):
    """Let a page's roles be added to those that are there."""
    return service.replace("c.JupyterHub.load_roles =", "c.JupyterHub.load_roles +=")


def alike(text):
    """Return what of a text has to be as it is shown."""
    for kind, name in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d UTC)?", "DATE"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (r"\d+(\.\d+)*", "N"),
    ):
        text = re.sub(kind, name, text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def on_screen(printed):
    """Return what is seen at a terminal, where a line that is begun anew covers the old one."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed).replace("\r\n", "\n")
    return "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))


def is_alike(printed, shown):
    pattern = ".*".join(map(re.escape, alike(shown).split("…")))
    return re.fullmatch(pattern, alike(printed), re.DOTALL)


@pytest.fixture(scope="module")
def reader():
    with Machine("trixie") as machine:
        made = Reader(machine)
        config = CONFIG.format(image=TINY_JOVYAN, **made.ports)
        made.type(PREPARE, input=config)
        yield made


def session(number):
    return SESSIONS[f"{PAGE.relative_to(TOP)} console {number}"]


MIGRATE = 12
"""What it prints is compared in tests/unit/test_cli.py."""
README = "README.md console 1"
MEASURE = "docs/how-to/shared-images.md console 1"


def test_every_session_is_typed():
    numbers = range(1, MIGRATE + 1)
    assert set(SESSIONS) == {README, MEASURE, *(str(session(number)) for number in numbers)}


def test_the_sessions(reader):
    reader.compare(session(1))  # doctor --try
    reader.compare(session(2), fails=True)  # doctor bob
    reader.start_hub()
    reader.start_servers()
    for number in (3, 4, 5):  # servers, logs, exec
        reader.compare(session(number))
    reader.compare_a_dialogue(session(6), "~ $ ")  # exec -it
    reader.compare(session(7))  # stop
    reader.until(lambda: not reader.servers())
    hub = reader.ports["hub_port"]
    reader.type(ORPHAN.format(hub=hub, image=TINY_JOVYAN))
    for number in (8, 9, 10, 11):  # prune, images
        reader.compare(session(number))


def test_those_of_the_readme(reader):
    reader.type(BOB)
    for command in COMMAND.findall(SESSIONS[README].text):
        reader.type(command, folder="/etc/jupyterhub")


def test_a_shared_store_is_measured(reader):
    """By another account, with the real image: what is run is Python, and its notebook."""
    reader.type(STORE, timeout=280)
    text = re.sub(r"^\$ ", "", SESSIONS[MEASURE].text, flags=re.MULTILINE)
    said = reader.type(AS_EVE, input=text.replace("IMAGE", SINGLEUSER), timeout=200)
    assert said.count("real") == 2
    assert re.search(r"^[\d.]+[KM]\s+/home/eve/.local/share/containers$", said, re.MULTILINE)
