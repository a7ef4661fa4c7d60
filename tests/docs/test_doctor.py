"""A host on which everything is wrong, and an administrator who does what ``doctor`` says."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

import pytest

from accounts import TINY_JOVYAN
from free_ports import free_port
from lone import ANSWERING
from machine import Machine

CONFIG = """
c = get_config()
c.JupyterHub.spawner_class = "podman"
c.JupyterHub.hub_port = {port}
c.JupyterHub.hub_connect_ip = "192.0.2.1"
c.PodmanSpawner.image = "{image}"
c.PodmanSpawner.pull_policy = "never"
c.PodmanSpawner.cmd = {cmd}
c.PodmanSpawner.enable_linger = False
c.Authenticator.allowed_users = {{"ada"}}
"""
BREAK = """
mkdir -p /etc/jupyterhub
cat >/etc/jupyterhub/jupyterhub_config.py
useradd -m ada
sed -i /^ada:/d /etc/subuid /etc/subgid
systemctl mask user@$(id -u ada).service 2>/dev/null
printf '%s\\n' '[storage]' 'driver = "vfs"' 'runroot = "/run/containers/storage"' \\
    'graphroot = "/var/lib/containers/storage"' >/etc/containers/storage.conf
exec >/dev/null

mkdir -p /srv/debian/podman/DEBIAN
cd /srv/debian
dpkg -L podman | while read -r file; do
    [ ! -f "$file" ] || cp --parents -a "$file" podman
done
dpkg-query -s podman >podman/status
grep -E '^(Package|Version|Architecture|Maintainer|Depends|Description):' podman/status \\
    >podman/DEBIAN/control
dpkg-deb -Znone --build podman podman.deb
cat podman/DEBIAN/control - >Packages <<END
Filename: ./podman.deb
Size: $(stat -c %s podman.deb)
SHA256: $(sha256sum <podman.deb | cut -d' ' -f1)
END
echo 'deb [trusted=yes] file:/srv/debian ./' >/etc/apt/sources.list
echo 'APT::Get::Assume-Yes "true";' >/etc/apt/apt.conf.d/yes
apt-get update
dpkg --remove --force-depends podman
"""
"""Everything, with a package of what Podman was in place of Debian's servers."""
AS_ADA = 'exec runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/$(id -u ada) sh -ec "cd; $0"'


@dataclass
class Administrator:
    """Somebody who looks, and who does what is said."""

    machine: Machine

    def type(self, text, *, by_ada=False, **options):
        command = ["bash", "-ec", AS_ADA, text] if by_ada else ["bash", "-ec", text]
        done = self.machine.run(*command, capture_output=True, check=False, **options)
        assert done.returncode == 0, f"{text}: {done.stdout + done.stderr}"
        return done.stdout

    def look(self, *words):
        """Return what is wrong, in the order in which it is told, to what mends it."""
        command = ["podmanspawner", "doctor", "--json", *words]
        done = self.machine.run(*command, capture_output=True, check=False)
        found = json.loads(done.stdout)
        wrong = [one for one in found["findings"] if one["status"] in ("failure", "warning")]
        failed = {one["name"]: one["remedy"] for one in wrong if one["status"] == "failure"}
        warned = {one["name"]: one["remedy"] for one in wrong if one["status"] == "warning"}
        assert (done.returncode, found["ok"]) == ((1, False) if failed else (0, True))
        assert all(one["seen"] and one["why"] and one["remedy"] for one in wrong)
        return failed, {name: remedy for name, remedy in warned.items() if name != "clock"}

    def do(self, remedy):
        """Type a remedy; what comes after "then" is for an account that has used Podman."""
        self.type(remedy.partition("; then")[0])


@pytest.fixture
def administrator():
    with Machine("trixie") as machine:
        config = CONFIG.format(port=free_port(), image=TINY_JOVYAN, cmd=ANSWERING)
        made = Administrator(machine)
        made.type(BREAK, input=config)
        yield made


def test_what_doctor_says_mends_the_host(administrator):
    failed, warned = administrator.look()
    assert list(failed) == ["podman", "subordinate ids"]
    assert list(warned) == ["linger"]
    administrator.do(failed["podman"])

    failed, warned = administrator.look()
    assert list(failed) == ["subordinate ids"]
    administrator.do(failed["subordinate ids"])

    failed, warned = administrator.look()
    assert list(failed) == ["user manager"]
    administrator.do(failed["user manager"])

    failed, warned = administrator.look()
    assert list(failed) == ["image"]
    assert list(warned) == ["linger", "storage"]
    administrator.do(warned["linger"])
    edit, reset = warned["storage"].split("; then as ada: ")
    lines = re.findall(r'\w+ = "[^"]+"', edit)
    assert len(lines) == 3
    administrator.type("cat >/etc/containers/storage.conf", input="\n".join(["[storage]", *lines]))
    administrator.type("while pgrep -fu ada 'podman system service'; do sleep 0.2; done")
    administrator.type(f"{reset.partition(',')[0]} --force", by_ada=True)

    failed, warned = administrator.look()
    assert (list(failed), warned) == (["image"], {})
    archive = os.environ["PODMANSPAWNER_TINY_JOVYAN"]
    administrator.do(failed["image"].replace("ARCHIVE", archive))

    failed, warned = administrator.look()
    assert (list(failed), warned) == (["hub reachable"], {})
    assert "hub_connect_ip or hub_connect_url is set" in failed["hub reachable"]
    administrator.type("sed -i /hub_connect_ip/d /etc/jupyterhub/jupyterhub_config.py")

    assert administrator.look("--try") == ({}, {})
