from __future__ import annotations

from pathlib import Path

import pytest

from accounts import TINY_JOVYAN, booted, real_account


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
