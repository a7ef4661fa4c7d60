"""Real accounts for the tests that need them."""

from __future__ import annotations

import pytest

from accounts import real_account

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request):
    """Return a function that puts a measured figure into the summary of the run."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(terminalreporter, config):
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("measured")
        for figure in figures:
            terminalreporter.write_line(figure)


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
