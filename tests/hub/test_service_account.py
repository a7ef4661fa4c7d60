"""A Hub without root: all its users' servers in the one account that it runs as."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from accounts import SINGLEUSER, booted, real_account
from hub import Hub

TOP = Path(__file__).parents[2]
USERS = ("grace@example.org", "linus")
"""Nobody on this host has these names."""
CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.PodmanSpawner.account_template = "{name}"
c.PodmanSpawner.home_source = "{{home}}/users/{{username}}"
c.PodmanSpawner.create_sources = True
"""
WAYS = ("as the host is", *(("without a user manager",) if booted() else ()))


@contextmanager
def no_user_manager():
    """Make an account as on a host without systemd: all it has is a runtime directory."""
    with real_account(runtime_dir=False) as user:
        unit = f"user@{user.account.uid}.service"
        subprocess.run(["systemctl", "mask", "--runtime", unit], check=True)
        try:
            runtime = user.account.runtime_dir
            runtime.mkdir(mode=0o700)
            os.chown(runtime, user.account.uid, user.account.gid)
            yield user
        finally:
            subprocess.run(["systemctl", "unmask", "--runtime", unit], check=True)


@pytest.fixture(scope="module", params=WAYS)
def service(request):
    """The account, with the single-user image in its Podman."""
    make = real_account if request.param == WAYS[0] else no_user_manager
    with make() as made:
        made.load(SINGLEUSER)
        yield made


class OwnHub(Hub):
    """A Hub that runs as an account, in a folder of its home, with a copy of the source."""

    def __init__(self, service, extra: str = "", **options) -> None:
        self.service = service
        folder = Path(service.account.home, "hub")
        folder.mkdir()
        shutil.copytree(TOP / "src", folder / "src")
        super().__init__(folder, CONFIG.format(name=service.name) + extra, **options)
        self._give()

    def _give(self) -> None:
        owner = f"{self.service.account.uid}:{self.service.account.gid}"
        subprocess.run(["chown", "-hR", owner, self.folder], check=True)

    def start(self, **options) -> None:
        account = self.service.account
        super().start(
            python=self._python(),
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            env={
                "HOME": account.home,
                "USER": self.service.name,
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(self.folder / "src"),
            },
            **options,
        )

    def _python(self) -> str:
        """Return the Python of the tests, or of the demo where root alone may run that."""
        may = self.service.run("test", "-x", sys.executable, check=False)
        if may.returncode == 0:
            return sys.executable
        return str(Path(os.environ["PODMANSPAWNER_CACHE"], "venv/bin/python"))


@pytest.fixture
def hub(service):
    made = OwnHub(service, cleanup_servers=False)
    made.start()
    yield made
    made.stop()
    if left := service.containers():
        service.podman("rm", "-f", "-t", "0", *left)
    shutil.rmtree(made.folder)


def test_each_user_has_a_server_in_the_one_account(hub, service):
    assert os.stat(f"/proc/{hub.process.pid}").st_uid == service.account.uid
    for user in USERS:
        hub.begin(user)
        hub.notebook(user).compute(f"open('mine', 'w').write({user!r})")
    assert len(service.containers()) == len(USERS)
    for user in USERS:
        said = hub.notebook(user).compute(
            "import os; print(open('mine').read(), os.listdir('..'))"
        )
        assert said == f"{user} ['jovyan']\n"
    homes = sorted(Path(service.account.home, "users").iterdir())
    assert [Path(home, "mine").read_text() for home in homes] == list(USERS)
    assert {Path(home, "mine").stat().st_uid for home in homes} == {service.account.uid}
    assert "Traceback" not in hub.tail()

    hub.end(USERS[0])
    assert len(service.containers()) == 1
    assert hub.notebook(USERS[1]).compute("print(6*7)") == "42\n"

    hub.stop()  # the servers go on, and the next Hub finds them
    hub.start()
    assert hub.notebook(USERS[1]).compute("print(6*7)") == "42\n"
    hub.begin(USERS[0])
    for user in USERS:
        hub.end(user)
    assert service.containers() == []


def test_a_server_that_ends_is_noticed(hub, service):
    hub.begin(USERS[1])
    service.podman("kill", *service.containers())
    hub.until(lambda: not hub.server(USERS[1]))
    hub.begin(USERS[1])
    hub.end(USERS[1])
    assert service.containers() == []
