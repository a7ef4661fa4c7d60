"""Every configuration of the documents and the examples starts a server, on a Debian 13."""

from __future__ import annotations

import json

import pytest

import started
from machine import Machine

PREPARE = """
podman_of() {
    name=$1
    shift
    runuser -u $name -- env -C / XDG_RUNTIME_DIR=/run/user/$(id -u $name) podman "$@"
}
for name in ada jupyter; do
    useradd -m $name
    loginctl enable-linger $name
    systemctl start user@$(id -u $name)
    podman_of $name load -q -i "$PODMANSPAWNER_TINY_JOVYAN"
    for word in licence db-ada; do
        printf x | podman_of $name secret create $word -
    done
done
mkdir -p /data/ada /srv/group /srv/courses /srv/course /var/lib/shared-images /etc/cdi
chown ada /data/ada
for month in 09 10; do
    podmanspawner images share /var/lib/shared-images/2026-$month "$PODMANSPAWNER_TINY_JOVYAN"
done
mknod -m 666 /dev/ttyUSB0 c 1 3
for kind in nvidia amd; do
    cat >/etc/cdi/$kind.json <<END
{"cdiVersion": "0.5.0", "kind": "$kind.com/gpu", "devices": [
    {"name": "all", "containerEdits": {"env": ["GPU=all"]}},
    {"name": "0", "containerEdits": {"env": ["GPU=0"]}},
    {"name": "1", "containerEdits": {"env": ["GPU=1"]}},
    {"name": "GPU-8f6d4c1e", "containerEdits": {"env": ["GPU=x"]}}
]}
END
done
"""


@pytest.fixture(scope="module")
def errors():
    with Machine("trixie") as machine:
        done = machine.run("bash", "-ec", PREPARE, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        path = "PYTHONPATH=tests:tests/docs"
        command = ["env", path, "python", "tests/docs/started.py"]
        done = machine.run(*command, capture_output=True, check=False, timeout=250)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.mark.parametrize("name", started.configurations())
def test_a_server_starts_and_stops(errors, name):
    assert errors[name] == ""
