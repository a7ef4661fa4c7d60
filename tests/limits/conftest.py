from __future__ import annotations

import sys
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN, booted, real_account

# JupyterHub's events validate by jsonschema, which takes this one where it is there, for a format
# that no event has; to import it takes minutes of software emulation
sys.modules.setdefault("rfc3987_syntax", None)


def pytest_collection_modifyitems():
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    there = controllers.read_text().split() if controllers.exists() else []
    if not booted() or not {"cpu", "memory", "pids"} <= set(there):
        raise pytest.UsageError(
            "tests/limits needs a host with systemd and every cgroup controller: "
            "'make machine NAME=limits', or 'pytest tests/machines/test_limits.py'"
        )


@pytest.fixture(scope="session")
def resident():
    """An account that lingers, with the tiny image in its store."""
    with real_account() as made:
        made.load(TINY_JOVYAN)
        yield made
