from __future__ import annotations

import os

import pytest

from machine import NAMES, Machine


@pytest.fixture(scope="session", params=NAMES)
def machine(request):
    if os.geteuid() != 0:
        pytest.fail("machines are booted by root")
    with Machine(request.param) as booted:
        yield booted
