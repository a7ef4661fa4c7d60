from __future__ import annotations

import os

import pytest

from machine import Machine
from virtual import VirtualMachine

NAMES = os.environ.get("PODMANSPAWNER_MACHINES", "trixie").split()
"""``make test`` has time for one machine, ``make test-machines`` names all."""


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
