"""Real accounts for the tests that need them."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from accounts import real_account

# pytest --hypothesis-profile=hour, or "make fuzz"
settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile(
    "hour", max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("quick")

FIGURES = pytest.StashKey[list[str]]()


def pytest_configure():
    """End on SIGTERM as on Ctrl-C, so that accounts and containers are removed then too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
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
