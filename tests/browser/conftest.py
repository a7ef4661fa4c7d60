"""A real browser: Debian's Chromium, driven by Playwright, which brings none of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from hub import Hub

CHROMIUM = Path("/usr/bin/chromium")
IMAGES = Path(__file__).parents[2] / "docs/images"
MOST_BYTES = 100_000
NO_NEWS = ".Toastify { display: none }"
SIZE = {"width": 1000, "height": 620}
NAMES = """
from jupyterhub.auth import Authenticator, PAMAuthenticator

class OtherNames(PAMAuthenticator):
    add_user = Authenticator.add_user  # PAM's own demands an account of that name

c.JupyterHub.authenticator_class = OtherNames
c.OtherNames.username_map = {{"{account}": "{username}"}}
c.PodmanSpawner.account_template = "{account}"
c.PodmanSpawner.home_source = "/home/{account}"
"""
"""The password is the account's, the name is not."""


@pytest.fixture(scope="module")
def browser():
    """Run the browser, and with it an event loop: no longer than for the tests that use it."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; run '.ci/setup test'")
    with sync_playwright() as playwright:
        # no sandbox, which Chromium has not as root; it sees pages of the tests' own Hub alone
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=False, args=["--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser):
    """A window of somebody who has not logged in anywhere."""
    context = browser.new_context(viewport=SIZE, locale="en-GB", reduced_motion="reduce")
    context.set_default_timeout(90_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def show(page):
    """Take a screenshot for the documentation, if UPDATE_SCREENSHOTS is set."""

    def take(name: str, height: int = SIZE["height"]) -> None:
        if os.environ.get("UPDATE_SCREENSHOTS") == "1":
            clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": height}
            shot = page.screenshot(clip=clip, animations="disabled", style=NO_NEWS)
            assert len(shot) <= MOST_BYTES, f"{name} has {len(shot)} bytes"
            (IMAGES / f"{name}.png").write_bytes(shot)

    return take


@pytest.fixture
def make_hub(tmp_path):
    """Make a Hub whose one user has a name of its own, as people have; it ends with the test."""
    made = []

    def make(username: str, account: str, extra: str) -> Hub:
        names = NAMES.format(username=username, account=account)
        made.append(Hub(tmp_path, names + extra))
        made[-1].start()
        return made[-1]

    yield make
    for hub in made:
        hub.stop()
