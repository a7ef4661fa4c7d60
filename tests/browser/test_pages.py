"""What people see, in a real browser: from the login to a computed cell, and to a failure."""

from __future__ import annotations

import re

import pytest

from accounts import PASSWORD, SINGLEUSER, TINY_JOVYAN, real_account
from registry import build_layers, registry, relay, trust_plain_http

PROFILES = """
c.PodmanSpawner.profile_list = [
    {
        "display_name": "Lecture",
        "description": "Notebooks for the course",
        "default": True,
    },
    {
        "display_name": "Project",
        "description": "More room for your own work",
        "overrides": {"environment": {"COURSE": "project"}},
        "profile_options": {
            "shm": {
                "display_name": "Shared memory",
                "choices": {
                    "some": {"display_name": "64 MB", "overrides": {"shm_size": "64M"}},
                    "more": {"display_name": "96 MB", "overrides": {"shm_size": "96M"}},
                },
            },
        },
    },
]
"""
CELL = """import os
shared = os.statvfs("/dev/shm")
size = shared.f_blocks * shared.f_frsize >> 20
print(os.environ["COURSE"], size, 6 * 7)"""
FAILING = """
c.PodmanSpawner.image = "127.0.0.1:{port}/course:1"
c.PodmanSpawner.pull_policy = "missing"
c.PodmanSpawner.cmd = ["sh", "-c", {script!r}]
"""
SCRIPT = "echo 'reading <b>course.conf</b>'; echo 'course.conf: no such file'; exit 3"
BYTES_A_SECOND = 3_000_000


def log_in(page, hub, account):
    page.goto(hub.url)
    page.get_by_label("Username").fill(account.name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture
def told(page):
    """Everything that the page of a start has told, as it came."""
    messages = []

    def tell(message):  # Playwright sets an attribute on what it gets, so append will not do
        messages.append(message)

    page.expose_function("podmanspawnerTold", tell)
    page.add_init_script("""
        addEventListener("DOMContentLoaded", () => {
            const shown = document.getElementById("progress-message");
            if (!shown) return;
            const tell = () => podmanspawnerTold(shown.textContent);
            new MutationObserver(tell).observe(shown, {childList: true, characterData: true});
        });
    """)
    return messages


def test_from_the_login_to_a_computed_cell_and_back(page, told, show, make_hub, ada):
    ada.load(SINGLEUSER)
    hub = make_hub("ada", ada.name, PROFILES)
    log_in(page, hub, ada)
    page.get_by_role("heading", name="Server Options").wait_for()
    page.get_by_label("Shared memory").wait_for(state="hidden")
    page.get_by_label("Project").check()
    page.get_by_label("Shared memory").select_option("96 MB")
    show("options-form", 520)
    page.get_by_role("button", name="Start").click()

    page.wait_for_url(re.compile("/user/ada/lab"), timeout=120_000)
    stages = ["Waking Podman", "Looking for the image", "Preparing the image for your account"]
    stages += ["Starting the container", "Waiting for the server to answer"]
    heard = [stage for message in told for stage in stages if message.startswith(stage)]
    assert list(dict.fromkeys(heard)) == stages, told

    page.locator('[data-category="Notebook"]').first.click()
    page.locator(".jp-Notebook .cm-content").first.wait_for()
    page.get_by_text(re.compile(r"\| Idle$")).wait_for()
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.insert_text(CELL)
    page.keyboard.press("Control+Enter")
    result = page.locator(".jp-OutputArea-output").first
    result.wait_for()
    assert result.inner_text().strip() == "project 96 42"
    show("jupyterlab")

    # before its scripts are there, a click is lost
    page.goto(f"{hub.url}/hub/home", wait_until="networkidle")
    page.get_by_role("button", name="Stop My Server").click()
    page.get_by_role("button", name="Start My Server").wait_for()
    hub.until(lambda: not ada.containers())


@pytest.fixture
def slow_registry(tmp_path):
    """An account, and the port of a registry with an image that takes some seconds to pull."""
    with real_account() as account, registry(tmp_path) as port:
        account.load(TINY_JOVYAN)
        trust_plain_http(account)
        name = f"127.0.0.1:{port}/course:1"
        build_layers(account, name, TINY_JOVYAN, [6_000_000] * 2)
        account.podman("push", "-q", name)
        account.podman("rmi", name)
        with relay(port, bytes_a_second=BYTES_A_SECOND) as slow:
            yield account, slow


def test_a_pull_and_then_a_failure(page, told, show, make_hub, slow_registry):
    account, port = slow_registry
    hub = make_hub("bob", account.name, FAILING.format(port=port, script=SCRIPT))
    log_in(page, hub, account)
    page.get_by_text(
        re.compile(r"^Getting the image: [1-9][\d.]* of 1[\d.]+ MB \(\d+ %\), ")
    ).first.wait_for()
    bar = page.get_by_role("progressbar")
    assert 20 <= int(bar.get_attribute("aria-valuenow")) < 50
    show("progress", 400)

    page.locator("#progress-message samp").wait_for()
    assert "bg-danger" in bar.get_attribute("class")
    figures = [re.match(r"Getting the image: ([\d.]+) of", message) for message in told]
    figures = [float(found[1]) for found in figures if found]
    assert len(set(figures)) >= 3, told
    assert figures == sorted(figures)

    page.goto(f"{hub.url}/user/bob/")  # as who comes again later
    page.get_by_role("heading", name="Spawn failed").wait_for()
    text = page.locator(".container").last.inner_text()
    assert "The server ended while it was starting (exit code 3)." in text
    assert "Start it again; if it stays so, show whoever runs this Hub its last lines:" in text
    lines = page.locator("samp")
    assert lines.inner_text().splitlines() == [
        "reading <b>course.conf</b>",
        "course.conf: no such file",
    ]
    show("failure", 420)
    assert account.containers() == []
