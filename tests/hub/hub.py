"""A real JupyterHub with configurable-http-proxy, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
import websocket

from free_ports import free_port

TOKEN = "0123456789abcdef0123456789abcdef"
CONFIG = """
c = get_config()  # noqa
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.auth_token = "proxy-secret"
c.JupyterHub.cleanup_servers = {cleanup_servers}
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.spawner_class = "podman"
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.open_sessions = False
c.PAMAuthenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.log_level = "DEBUG"
c.JupyterHub.services = [dict(name="tests", api_token="{token}")]
c.JupyterHub.load_roles = [
    dict(
        name="tests",
        scopes=["admin:users", "admin:servers", "access:servers", "list:users", "tokens"],
        services=["tests"],
    )
]
c.PodmanSpawner.image = "localhost/podmanspawner/singleuser:latest"
c.PodmanSpawner.pull_policy = "never"
c.Spawner.start_timeout = 120
"""


def log_in(url: str, username: str, password: str) -> requests.Session:
    """Log in as a person does, by the form of the login page."""
    browser = requests.Session()
    browser.get(f"{url}/hub/login", timeout=10)
    fields = {"username": username, "password": password, "_xsrf": browser.cookies["_xsrf"]}
    page = browser.post(f"{url}/hub/login", data=fields, timeout=30, allow_redirects=False)
    assert page.status_code == 302, page.text
    return browser


class Hub:
    """One Hub process and its proxy; restarted as often as a test likes."""

    def __init__(self, folder: Path, extra: str = "", *, cleanup_servers: bool = True) -> None:
        self.folder = folder
        self.port, self.hub_port, self.api_port = free_port(), free_port(), free_port()
        self.log = folder / "hub.log"
        self.config = folder / "jupyterhub_config.py"
        text = CONFIG.format(
            port=self.port,
            hub_port=self.hub_port,
            api_port=self.api_port,
            folder=folder,
            token=TOKEN,
            cleanup_servers=cleanup_servers,
        )
        self.config.write_text(text + extra)
        self.process: subprocess.Popen | None = None

    tracer: tuple[str, ...] = ()
    """Program that runs the Hub, and its arguments."""
    url = property(lambda self: f"http://127.0.0.1:{self.port}")

    def start(self, *, python: str = sys.executable, env: dict | None = None, **options) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.tracer, python, "-m", "jupyterhub", "-f", str(self.config)],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**(env or os.environ), "SECRET_OF_THE_HUB": "do not tell"},
                **options,
            )
        self.until(self._is_up, seconds=60)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.api("GET", "").ok and requests.get(self.url + "/hub/login", timeout=5).ok
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        """End the Hub as a crash would; the proxy and the servers go on."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the Hub as Ctrl-C does, and its proxy, also one that a killed Hub left."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        pid_file = self.folder / "jupyterhub-proxy.pid"
        if pid_file.exists():
            pid = int(pid_file.read_text().split()[0])
            if b"proxy" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @staticmethod
    def until(condition, seconds: float = 30):
        """Return what the condition returns, once it is true."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.1)
        return found

    def api(self, method: str, path: str, **options) -> requests.Response:
        return requests.request(
            method,
            f"{self.url}/hub/api/{path}",
            headers={"Authorization": f"token {TOKEN}"},
            timeout=60,
            **options,
        )

    def server(self, user: str, name: str = "") -> dict | None:
        return self.api("GET", f"users/{user}").json()["servers"].get(name)

    def path(self, user: str, name: str = "") -> str:
        return f"users/{user}/servers/{name}" if name else f"users/{user}/server"

    def request_start(self, user: str, name: str = "", options: dict | None = None) -> None:
        if self.api("GET", f"users/{user}").status_code == 404:
            self.api("POST", f"users/{user}").raise_for_status()
        self.api("POST", self.path(user, name), json=options).raise_for_status()

    def begin(
        self, user: str, name: str = "", seconds: float = 120, options: dict | None = None
    ) -> dict:
        """Start a server and return what the Hub says of it, once it is ready."""
        self.request_start(user, name, options)

        def ready():
            server = self.server(user, name)
            assert server, f"the start failed: {self.progress(user, name)}{self.tail()}"
            return server["ready"] and server

        return self.until(ready, seconds)

    def fail_to_begin(self, user: str, name: str = "", seconds: float = 120) -> str:
        """Start a server that cannot start; return what the Hub says about it."""
        if self.api("GET", f"users/{user}").status_code == 404:
            self.api("POST", f"users/{user}").raise_for_status()
        answer = self.api("POST", self.path(user, name))
        if answer.status_code >= 400:
            return answer.json()["message"]
        return self.until(lambda: self._failure(user, name), seconds)

    def _failure(self, user: str, name: str) -> str:
        for event in self.progress(user, name):
            assert not event.get("ready"), "it started"
            if event.get("failed"):
                return event["message"]
        return ""

    def progress(self, user: str, name: str = "") -> list[dict]:
        answer = self.api("GET", self.path(user, name) + "/progress", stream=True)
        lines = (line for line in answer.iter_lines() if line.startswith(b"data:"))
        return [json.loads(line[5:]) for line in lines]

    def end(self, user: str, name: str = "", seconds: float = 60) -> None:
        self.api("DELETE", self.path(user, name)).raise_for_status()
        self.until(lambda: not self.server(user, name), seconds)

    def login(self, username: str, password: str) -> requests.Session:
        return log_in(self.url, username, password)

    def tail(self, count: int = 6000) -> str:
        return self.log.read_text()[-count:]

    def notebook(self, user: str, name: str = "") -> Notebook:
        return Notebook(urljoin(self.url, f"/user/{user}/" + (f"{name}/" if name else "")))


class Notebook:
    """A user's server, reached through the proxy, with a token or as a logged-in browser."""

    def __init__(self, url: str, browser: requests.Session | None = None) -> None:
        self.url = url
        self.session = browser or requests.Session()
        if browser is None:
            self.session.headers["Authorization"] = f"token {TOKEN}"
        else:
            self.request("GET", "lab")  # logs in at the server, by way of the Hub
            path = urlsplit(url).path
            (xsrf,) = [c.value for c in browser.cookies if (c.name, c.path) == ("_xsrf", path)]
            self.session.headers["X-XSRFToken"] = xsrf

    def request(self, method: str, path: str, **options) -> requests.Response:
        answer = self.session.request(method, self.url + path, timeout=30, **options)
        answer.raise_for_status()
        return answer

    def compute(self, code: str) -> str:
        """Run code in a new kernel and return what it prints."""
        kernel = self.request("POST", "api/kernels", json={}).json()["id"]
        address = re.sub("^http", "ws", self.url) + f"api/kernels/{kernel}/channels"
        header = [f"{key}: {value}" for key, value in self.session.headers.items()]
        path = urlsplit(self.url).path
        cookies = [f"{c.name}={c.value}" for c in self.session.cookies if path.startswith(c.path)]
        connection = websocket.create_connection(
            address, header=header, cookie="; ".join(cookies), timeout=60
        )
        with closing(connection):
            return self._execute(connection, code)

    @staticmethod
    def _execute(connection: websocket.WebSocket, code: str) -> str:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        connection.send(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                    "channel": "shell",
                }
            )
        )
        printed = ""
        while True:
            message = json.loads(connection.recv())
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            elif message["msg_type"] == "error":
                raise AssertionError(message["content"])
            elif message["content"].get("execution_state") == "idle":
                # what was printed comes before this, the reply may come before both
                return printed
