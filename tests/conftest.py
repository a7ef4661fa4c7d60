"""Real accounts for the tests that need them."""

from __future__ import annotations

import pytest

from accounts import real_account


@pytest.fixture(scope="session")
def ada():
    with real_account() as made:
        yield made


@pytest.fixture(scope="session")
def bob():
    with real_account() as made:
        yield made


@pytest.fixture
def fresh():
    """An account of a test's own."""
    with real_account() as made:
        yield made
