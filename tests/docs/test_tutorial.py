"""The tutorial, typed into a Debian 13 with systemd, and its two users at work."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from accounts import PASSWORD, SINGLEUSER
from free_ports import free_port
from hub import Notebook, log_in
from machine import Machine
from shown import DOCS, blocks

BLOCKS = blocks(DOCS / "tutorial.md")
USERS = ("ada", "bob")
CONFIG = "/etc/jupyterhub/jupyterhub_config.py"
IMAGE = "quay.io/jupyter/base-notebook:latest"
PACKAGES = """
exec >/dev/null
ln -s {proxy}/configurable-http-proxy /usr/local/bin/
python3 -m venv /opt/jupyterhub
cd /opt/jupyterhub/lib/python3*
echo /opt/venv/lib/python3*/site-packages >site-packages/index.pth
sed '1s|.*|#!/opt/jupyterhub/bin/python|' /opt/venv/bin/jupyterhub >/opt/jupyterhub/bin/jupyterhub
chmod +x /opt/jupyterhub/bin/jupyterhub
printf '[global]\nno-index = true\n[install]\nno-build-isolation = false\n' >/etc/pip.conf
"""
"""What stands for npm's registry and Python's index: what the set-up took from there."""
PORTS = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
"""
"""A machine has its host's network, where the usual ports may be taken."""


class Reader:
    """Somebody who does what the tutorial tells."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.notebooks = {}
        self.said = {}
        """What the commands printed."""

    def type(self, text: str, **options) -> str:
        done = self.machine.run(
            *("env", "-C", "/podmanspawner", "bash", "-ec", text),
            **{"capture_output": True, "check": False, **options},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write(self, path: str, text: str) -> None:
        if path == CONFIG:
            text += PORTS.format(port=self.port, hub_port=free_port(), api_port=free_port())
        self.type(f"cat >{path}", input=text)

    def wait_for_hub(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{self.url}/hub/login", timeout=5).raise_for_status()
            except requests.RequestException:
                assert time.monotonic() < end, self.type("journalctl -u jupyterhub | tail -n 50")
                time.sleep(0.2)
            else:
                return

    def have_image(self, name: str) -> None:
        """Put the image into an account, in place of a registry."""
        self.type(
            f"""
            loginctl enable-linger {name}
            systemctl start user@$(id -u {name})
            runuser -u {name} -- env XDG_RUNTIME_DIR=/run/user/$(id -u {name}) sh -ec '
                cd
                podman load -q -i {os.environ["PODMANSPAWNER_IMAGE"]}
                podman tag {SINGLEUSER} {IMAGE}'
            """,
        )

    def work(self, name: str, code: str) -> str:
        """Log in by the form, start the server by the page, and run a cell."""
        browser = log_in(self.url, name, PASSWORD)
        browser.get(f"{self.url}/hub/spawn/{name}", timeout=60)
        lab = f"{self.url}/user/{name}/lab"
        end = time.monotonic() + 180
        while browser.get(lab, timeout=60).url != lab:
            assert time.monotonic() < end, self.type("journalctl -u jupyterhub | tail -n 50")
            time.sleep(0.5)
        self.notebooks[name] = Notebook(f"{self.url}/user/{name}/", browser)
        return self.notebooks[name].compute(code)

    def do(self, block) -> None:
        if block.note == "run":
            self.said[block.number] = self.type(block.text)
            if "jupyterhub" in block.text and "systemctl" in block.text:
                self.wait_for_hub()
        elif block.note == "run, with passwords":
            self.type(block.text, input=f"{PASSWORD}\n" * 4)
        elif block.note.startswith("file: "):
            self.write(block.note.removeprefix("file: "), block.text)
        elif block.note == "run in a notebook":
            with ThreadPoolExecutor() as both:
                list(both.map(self.have_image, USERS))
                assert set(both.map(self.work, USERS, [block.text] * 2)) == {"42\n"}
        else:
            assert block.note.startswith("not run: "), f"{block}: nobody says whether it is run"


@pytest.mark.timeout(600)
def test_the_tutorial():
    with Machine("trixie") as machine:
        reader = Reader(machine)
        proxy = f"{os.environ['PODMANSPAWNER_CACHE']}/chp-5/node_modules/.bin"
        reader.type(PACKAGES.format(proxy=proxy))
        for block in BLOCKS:
            reader.do(block)
        said = "\n".join(reader.said.values())
        assert "JupyterHub is now running" in said
        assert "ada ada 16 " in said
        assert said.count(":65536\n") == 4
        for name in USERS:
            assert said.count(f"--{name} Up ") == 1
            assert reader.notebooks[name].compute("print('again')") == "again\n"
