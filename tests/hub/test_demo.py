"""``make demo``, from the first command to a notebook that computes, and to the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from accounts import PASSWORD, RealAccount
from free_ports import free_port
from hub import Notebook, log_in

TOP = Path(__file__).parents[2]
RUNNING = "JupyterHub is now running"
DEMO_ACCOUNTS = ("podmandemo1", "podmandemo2")


@contextmanager
def demo(folder: Path, log: Path, **options):
    """Run ``make demo`` in a folder until Ctrl-C; give its URL and what it says."""
    port = free_port()
    environment = {**options.pop("env", os.environ), "PODMANSPAWNER_DEMO_PORT": str(port)}
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", "demo"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    try:
        end = time.monotonic() + 240
        while RUNNING not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: to all of them
        process.wait(90)


def work(url: str, name: str, password: str) -> None:
    """Log in, start the server by the page, compute in it and save a file."""
    browser = log_in(url, name, password)
    browser.get(f"{url}/hub/spawn/{name}", timeout=60)
    end = time.monotonic() + 120
    while browser.get(f"{url}/user/{name}/lab", timeout=60).url != f"{url}/user/{name}/lab":
        assert time.monotonic() < end
        time.sleep(0.3)
    notebook = Notebook(f"{url}/user/{name}/", browser)
    assert notebook.compute("print(6*7)") == "42\n"
    body = {"type": "file", "format": "text", "content": "from the demo"}
    notebook.request("PUT", "api/contents/demo.txt", json=body)
    account = RealAccount(name).account
    saved = Path(account.home, "demo.txt")
    assert saved.read_text() == "from the demo"
    assert saved.stat().st_uid == account.uid


def test_as_root(tmp_path):
    there = [name for name in DEMO_ACCOUNTS if Path("/home", name).exists()]
    if there:
        pytest.fail(f"{', '.join(there)} exist already; run 'make demo-clean' first")
    try:
        with demo(TOP, tmp_path / "log") as (url, said):
            accounts = re.findall(r"account: +(\S+) +password: (\S+)", said)
            assert [name for name, _ in accounts] == list(DEMO_ACCOUNTS)
            for name, password in accounts:
                work(url, name, password)
            assert all(len(RealAccount(name).containers()) == 1 for name in DEMO_ACCOUNTS)
        assert [RealAccount(name).containers() for name in DEMO_ACCOUNTS] == [[], []]
    finally:
        subprocess.run(["make", "demo-clean"], cwd=TOP, check=True, timeout=120)
    assert not any(Path("/home", name).exists() for name in DEMO_ACCOUNTS)
    assert "podmandemo" not in Path("/etc/passwd").read_text()


def test_as_a_user_without_root(fresh, tmp_path):
    account = fresh.account
    shared = Path(os.environ["PODMANSPAWNER_CACHE"])
    own = Path(account.home, "podmanspawner")
    ignored = shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__")
    shutil.copytree(TOP, own, ignore=ignored)
    cache = Path(account.home, ".cache", "podmanspawner")
    cache.mkdir(parents=True)
    for built in ("chp-5", Path(os.environ["PODMANSPAWNER_IMAGE"]).name):
        (cache / built).symlink_to(shared / built)
    subprocess.run(["chown", "-hR", f"{account.uid}:{account.gid}", account.home], check=True)
    environment = {
        "HOME": account.home,
        "USER": fresh.name,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHON": "/usr/bin/python3",
        "PYTHONPATH": str(own / "src"),
        "PODMANSPAWNER_VENV": str(shared / "venv"),
    }
    tmp_path.chmod(0o777)
    who = {"user": account.uid, "group": account.gid, "extra_groups": []}
    with demo(own, tmp_path / "log", env=environment, **who) as (url, said):
        assert fresh.name in said
        work(url, fresh.name, PASSWORD)
        assert len(fresh.containers()) == 1
    assert fresh.containers() == []


def test_a_hub_without_root_says_whom_it_can_serve(fresh, tmp_path):
    """At start-up, from a configuration with the default account_template."""
    shared = Path(os.environ["PODMANSPAWNER_CACHE"])
    folder = Path(fresh.account.home)
    config = folder / "jupyterhub_config.py"
    port = free_port()
    config.write_text(
        "c = get_config()  # noqa\n"
        'c.JupyterHub.spawner_class = "podman"\n'
        f'c.JupyterHub.bind_url = "http://127.0.0.1:{port}"\n'
        f"c.JupyterHub.hub_port = {free_port()}\n"
        f'c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{free_port()}"\n'
        "c.Authenticator.allow_all = True\n"
    )
    shutil.copytree(TOP / "src", folder / "src")
    subprocess.run(["chown", "-R", str(fresh.account.uid), fresh.account.home], check=True)
    log = tmp_path / "log"
    with log.open("w") as output:
        hub = subprocess.Popen(
            [str(shared / "venv/bin/jupyterhub"), "-f", str(config)],
            cwd=folder,
            user=fresh.account.uid,
            group=fresh.account.gid,
            extra_groups=[],
            env={
                "HOME": fresh.account.home,
                "PATH": f"{shared}/chp-5/node_modules/.bin:/usr/local/bin:/usr/bin:/bin",
                "PYTHONPATH": str(folder / "src"),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + 60
        while RUNNING not in log.read_text():
            assert hub.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        assert f"it can start servers in the account {fresh.name} only" in log.read_text()
        assert f"account_template = '{fresh.name}'" in log.read_text()
    finally:
        hub.send_signal(signal.SIGINT)
        hub.wait(30)
