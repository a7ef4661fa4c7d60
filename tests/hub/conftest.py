from __future__ import annotations

import shutil

import pytest

from accounts import SINGLEUSER, TINY_JOVYAN, archive
from hub import Hub


@pytest.fixture(scope="session", autouse=True)
def needs():
    """Fail, rather than skip, where something of the set-up is missing."""
    for program in ("podman", "configurable-http-proxy"):
        if not shutil.which(program):
            pytest.fail(f"{program} is missing; run '.ci/setup test' and '. .ci/env'")
    for image in (SINGLEUSER, TINY_JOVYAN):
        archive(image)


@pytest.fixture(scope="session")
def prepared(ada, bob):
    for account in (ada, bob):
        account.load(SINGLEUSER)
    return ada, bob


@pytest.fixture
def users(prepared):
    """Two accounts, each with the single-user image in its own Podman."""
    yield prepared
    for user in prepared:  # what a test that failed left is no other test's failure
        user.clear()


@pytest.fixture
def make_hub(tmp_path):
    """Make Hubs from a piece of configuration; they end with the test."""
    made = []

    def make(extra: str = "", **options) -> Hub:
        folder = tmp_path / f"hub{len(made)}"
        folder.mkdir()
        made.append(Hub(folder, extra, **options))
        made[-1].start()
        return made[-1]

    yield make
    for hub in made:
        hub.stop()
