"""Real accounts for the tests that need them; tests side by side, but for those that measure."""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import accounts
from accounts import real_account
from figures import Figures

# pytest --hypothesis-profile=hour, or "make fuzz"
settings.register_profile("quick", max_examples=100, deadline=None)
settings.register_profile(
    "hour", max_examples=25_000, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("quick")


def pytest_configure(config):
    """End on SIGTERM as on Ctrl-C, so that accounts and containers are removed then too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.pluginmanager.register(Figures(), "figures")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Let a test that is marked ``alone`` have the machine for itself."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with _turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _turn(*, alone: bool):
    """Hold the machine, shared or not; whoever waits for it goes before those who come later.

    What is locked are files that are there anyway.
    """
    with Path(__file__).open() as gate, Path(accounts.__file__).open() as machine:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@pytest.fixture(scope="session")
def tell(pytestconfig):
    """Return a function that puts a measured figure into the summary of the run."""
    return pytestconfig.pluginmanager.get_plugin("figures").tell


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
