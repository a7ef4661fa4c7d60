from __future__ import annotations

import pytest

from accounts import TINY_JOVYAN, booted, real_account


def pytest_collection_modifyitems():
    if not booted():
        raise pytest.UsageError(
            "tests/systemd needs a host with systemd: 'make machine', or 'make test-machines'"
        )


@pytest.fixture
def visitor():
    """An account that has never logged in: no linger, no user manager, no runtime directory."""
    with real_account(runtime_dir=False) as made:
        yield made


@pytest.fixture(scope="session")
def resident():
    """An account that lingers, with the tiny image in its store."""
    with real_account() as made:
        made.load(TINY_JOVYAN)
        yield made
