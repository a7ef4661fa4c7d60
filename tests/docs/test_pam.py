"""A PAM service of the Hub's own, as the page has it, in a Debian 13: whom it lets in."""

from __future__ import annotations

import time

import pytest
import requests

from accounts import PASSWORD
from free_ports import free_port
from hub import log_in
from machine import Machine
from shown import DOCS, blocks

PAGE = DOCS / "how-to" / "pam.md"
CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.spawner_class = "podman"
"""
PREPARE = f"""
groupadd lab
for name in ada late; do useradd -m -G lab $name; done
useradd -m guest
for name in ada late guest; do echo "$name:{PASSWORD}" | chpasswd; done
chage -E 0 late
"""


@pytest.fixture
def url():
    """A Hub with the page's service and its first configuration."""
    service = next(block.text for block in blocks(PAGE) if not block.language)
    settings = next(block.text for block in blocks(PAGE, "python"))
    ports = {name: free_port() for name in ("port", "hub_port", "api_port")}
    with Machine("trixie") as machine:
        machine.run("bash", "-ec", PREPARE)
        machine.run("sh", "-c", "cat >/etc/pam.d/jupyterhub", input=service)
        machine.run("sh", "-c", "cat >/run/config.py", input=CONFIG.format(**ports) + settings)
        start = (
            "systemd-run -q --working-directory=/run --setenv=PATH=$PATH jupyterhub -f config.py"
        )
        machine.run("sh", "-c", start)
        made = f"http://127.0.0.1:{ports['port']}"
        wait_for(f"{made}/hub/login")
        yield made


def wait_for(url):
    end = time.monotonic() + 60
    while True:
        try:
            requests.get(url, timeout=5).raise_for_status()
        except requests.RequestException:
            assert time.monotonic() < end
            time.sleep(0.2)
        else:
            return


def test_who_may_log_in(url):
    assert log_in(url, "ada", PASSWORD)
    for name, password in (("ada", "wrong"), ("guest", PASSWORD), ("late", PASSWORD)):
        with pytest.raises(AssertionError, match="Invalid username or password"):
            log_in(url, name, password)
