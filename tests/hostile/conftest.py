from __future__ import annotations

import pytest

from liar import Liar
from podmanspawner import vigil
from podmanspawner.transport import Allowance

CALL_SECONDS = 5.0


@pytest.fixture(scope="module")
def liar(ada):
    made = Liar(ada)
    yield made
    made.close()


@pytest.fixture
def quick(monkeypatch):
    """Let the clock of every call run out soon; each call must have one."""
    usual = Allowance.__init__

    def soon(self, seconds=30.0, *arguments, **options):
        assert seconds is not None, "a call of the spawner's without a clock"
        usual(self, min(seconds, quick.seconds), *arguments, **options)

    quick.seconds = CALL_SECONDS
    monkeypatch.setattr(Allowance, "__init__", soon)
    monkeypatch.setattr(vigil, "_POLL_TRIES", 1)
    return quick
