from __future__ import annotations

import os

import pytest

from machine import NAMES, Machine
from virtual import VirtualMachine


@pytest.fixture(scope="session", params=NAMES)
def machine(request):
    if os.geteuid() != 0:
        pytest.fail("machines are booted by root")
    with Machine(request.param) as booted:
        yield booted


@pytest.fixture(scope="session")
def virtual_machine():
    """A machine with every cgroup controller."""
    with VirtualMachine() as booted:
        yield booted
