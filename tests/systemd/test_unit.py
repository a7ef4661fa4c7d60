"""The Hub as the unit of ``examples/systemd``, with all its hardening."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN, real_account
from hub import Hub
from lone import ANSWERING

EXAMPLE = Path(__file__).parents[2] / "examples/systemd"
UNIT = Path("/etc/systemd/system/jupyterhub.service")
POLL_SECONDS = 5
CONFIG = Path("/etc/jupyterhub/jupyterhub_config.py")


class UnitHub(Hub):
    """A Hub that systemd runs."""

    def start(self) -> None:
        subprocess.run(["systemctl", "start", UNIT.name], check=True)
        self.until(self._is_up, seconds=60)

    def _is_up(self) -> bool:
        state = subprocess.run(["systemctl", "is-active", UNIT.name], capture_output=True)
        assert state.stdout == b"active\n", self.said()
        try:
            return self.api("GET", "").ok
        except OSError:
            return False

    def stop(self) -> None:
        subprocess.run(["systemctl", "stop", UNIT.name], check=True)

    def tail(self, *_: object) -> str:
        return self.said()

    @staticmethod
    def said() -> str:
        journal = ["journalctl", "--no-pager", "-n", "200", "-u", UNIT.name]
        return subprocess.run(journal, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The example's unit and configuration, with ports and an image of the test's."""
    hub = UnitHub(tmp_path_factory.mktemp("hub"))
    example = (EXAMPLE / CONFIG.name).read_text()
    tests = hub.config.read_text()
    of_the_test = re.sub(r"(?m)^c\.JupyterHub\.(db_url|cookie_secret_file|cleanup).*\n", "", tests)
    CONFIG.parent.mkdir()
    CONFIG.write_text(
        f"{example}\n{of_the_test}\nc.Spawner.cmd = {ANSWERING}\n"
        f"c.PodmanSpawner.image = {TINY_JOVYAN!r}\nc.Spawner.poll_interval = {POLL_SECONDS}\n"
    )
    shutil.copy(EXAMPLE / UNIT.name, UNIT)
    with UNIT.open("a") as unit:
        proxy = shutil.which("configurable-http-proxy")
        unit.write(f"[Service]\nEnvironment=PATH={Path(proxy).parent}:/opt/venv/bin:/usr/bin\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    try:
        with hub:
            yield hub
    finally:
        UNIT.unlink()
        shutil.rmtree(CONFIG.parent)
        subprocess.run(["systemctl", "daemon-reload"], check=True)


@pytest.fixture
def users():
    """Two accounts that have never logged in; their images are there all the same."""
    with real_account() as one, real_account() as two:
        for user in (one, two):
            user.load(TINY_JOVYAN)
            subprocess.run(["loginctl", "disable-linger", user.name], check=True)
        yield one, two


def test_servers_start_outlive_the_unit_and_stop(hub, users):
    for user in users:
        hub.begin(user.name)
        assert len(user.containers()) == 1
        shown = subprocess.check_output(
            ["systemd-cgls", "--no-pager", f"/user.slice/user-{user.account.uid}.slice"], text=True
        )
        assert "libpod-" in shown
    pids = [user.podman("inspect", "-lf", "{{.State.Pid}}") for user in users]
    subprocess.run(["systemctl", "restart", UNIT.name], check=True)
    hub.until(hub._is_up, seconds=60)
    assert [user.podman("inspect", "-lf", "{{.State.Pid}}") for user in users] == pids
    for user in users:
        assert hub.server(user.name)["ready"]
        hub.end(user.name)
        assert user.containers() == []
        hub.begin(user.name)
        hub.end(user.name)
        assert user.containers() == []
    assert "Traceback" not in hub.said()


def test_a_user_manager_that_is_stopped_is_seen_within_an_interval(hub, users, tell):
    user, other = users
    for one in users:
        hub.begin(one.name)
    # The Hub, which sees the server end, may want the manager again before it has stopped.
    subprocess.run(["systemctl", "stop", f"user@{user.account.uid}.service"], check=False)
    began = time.monotonic()
    hub.until(lambda: not hub.server(user.name), seconds=POLL_SECONDS + 3)
    tell(f"the Hub knew {time.monotonic() - began:.1f} s after a user manager had been stopped")
    assert hub.server(other.name)["ready"]
    hub.begin(user.name)
    for one in users:
        hub.end(one.name)
        assert one.containers() == []


def test_the_hardening_holds(hub):
    """As far as systemd itself can judge; what it misses has its reason in the unit."""
    audit = ["systemd-analyze", "security", "--no-pager", UNIT.name]
    shown = subprocess.run(audit, capture_output=True, text=True).stdout
    (exposure,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", shown)
    assert float(exposure) < 5, shown
