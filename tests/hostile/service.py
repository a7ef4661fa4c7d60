"""A Podman service that lies: a program that becomes an account and serves its socket.

Started as ``python service.py NAME`` by root, with a socket as standard input that takes orders,
one JSON object a line, and answers each. It is a :class:`FakeService` with a little engine behind
it: containers are made, started and removed as the real one does, so that everything is as it
should be but for the one step that lies.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from encodings import idna  # noqa: F401, what is imported later may be unreadable by then
from urllib.parse import parse_qs, unquote

from fake_service import PING, FakeService, http, http_json
from lies import LIES, Change
from podmanspawner import Account
from podmanspawner.users import PROBE_LABEL

IMAGE_ID = "1234567890ab" * 5
PASSWD = b"root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"
IMAGE = {
    "Id": IMAGE_ID,
    "User": "jovyan",
    "Config": {"User": "jovyan", "WorkingDir": "/home/jovyan", "Env": ["PATH=/bin"]},
}
MISSING = {"message": "no such object", "response": 404}
_STEPS = {
    r"GET _ping": "ping",
    r"GET images/.+/exists": "exists",
    r"GET images/.+/json": "image",
    r"POST images/(pull|create)": "pull",
    r"GET containers/json": "list",
    r"POST containers/create": "create",
    r"GET secrets/json": "secrets",
    r"POST secrets/create": "secret",
    r"DELETE secrets/.+": "forget",
    r"GET containers/[0-9a-f]{64}/json": "inspect",
    r"GET containers/[^/]+/json": "find",
    r"GET containers/[^/]+/archive": "archive",
    r"GET containers/[^/]+/logs": "logs",
    r"POST containers/[^/]+/start": "start",
    r"POST containers/[^/]+/kill": "kill",
    r"POST containers/[^/]+/stop": "stop",
    r"DELETE containers/[^/]+": "remove",
}


@dataclass
class Made:
    """A container that was asked for."""

    id: str
    asked: dict
    running: bool = False
    exit_code: int = 0
    started_at: str = "0001-01-01T00:00:00Z"
    process: subprocess.Popen | None = None
    listener: socket.socket | None = None
    labels: dict = field(default_factory=dict)

    def start(self, *, listens: bool, ends: bool) -> None:
        self.started_at = datetime.now(timezone.utc).isoformat()
        if ends:
            self.exit_code = 7
            return
        self.process = subprocess.Popen(["sleep", "1000"])
        self.running = True
        if listens:
            port = self.asked["portmappings"][0]["host_port"]
            self.listener = socket.create_server(("127.0.0.1", port), backlog=16)
            threading.Thread(target=_answer_http, args=(self.listener,), daemon=True).start()

    def end(self) -> None:
        self.running = False
        if self.process:
            self.process.kill()
            self.process.wait()
        if self.listener:
            with suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def inspected(self) -> dict:
        config = {"Labels": self.labels, "Env": ["A=1"], "Cmd": ["sh"]}
        state = {
            "Status": "running" if self.running else "exited",
            "Running": self.running,
            "ExitCode": self.exit_code,
            "Pid": self.process.pid if self.running else 0,
            "StartedAt": self.started_at,
            "OOMKilled": False,
            "Error": "",
        }
        name = self.asked.get("name", "")
        return {"Id": self.id, "Name": name, "Image": IMAGE_ID, "Config": config, "State": state}


def _answer_http(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            with closing(listener.accept()[0]) as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")


class LyingService(FakeService):
    """An engine that is honest in all steps but one."""

    def __init__(self, account: Account) -> None:
        self.reset()
        super().__init__(account.socket_path.parent, {}, account=account, name="podman.sock")

    # orders

    def reset(self) -> None:
        """Be honest, and forget what there was."""
        for made in getattr(self, "made", {}).values():
            made.end()
        self.made: dict[str, Made] = {}
        self.steps: list[str] = []
        self.secrets: list[str] = []
        self.lie, self.at, self.facts = "", "", {}
        self.listens, self.ends, self.obeys = True, False, True

    def order(self, order: dict) -> object:
        """Do as the test says: change what is so, and return what was asked for."""
        if order.pop("reset", False):
            self.reset()
        if order.pop("end", False):
            for made in self.made.values():
                made.end()
                made.exit_code = 7
        for name, value in order.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        return {"steps": self.steps, "made": [made.inspected() for made in self.made.values()]}

    # answers

    def answer_to(self, request):
        key = f"{request.method} {request.path}"
        step = next((name for form, name in _STEPS.items() if re.fullmatch(form, key)), None)
        if step is None:
            return None
        body = json.loads(request.body) if step == "create" else {}
        if PROBE_LABEL in body.get("labels", {}):
            step = "probe"
        if step == "secret":
            self.secrets.append(*parse_qs(request.query)["name"])
        self.steps.append(step)
        container = self._container(unquote(request.path)) if "containers/" in key else None
        sound = self._do(step, container, body)
        if step != self.at:
            return sound if isinstance(sound, bytes) else http_json(sound)
        lie = LIES[self.lie].answer
        if not isinstance(lie, Change):
            return lie
        # a container that is not there is lied about, too
        value = Made("f" * 64, {"name": "x"}).inspected() if isinstance(sound, bytes) else sound
        return http_json(lie.applied_to(value, self.facts))

    def _container(self, path: str) -> Made | None:
        word = path.split("/")[1]
        found = (m for m in self.made.values() if word in (m.id, m.asked.get("name")))
        return next(found, None)

    def _do(self, step: str, container: Made | None, body: dict) -> object:
        """Do the step and return its sound answer: bytes, or what becomes JSON."""
        if step == "ping":
            return PING["GET _ping"]
        if step in ("exists", "image", "list"):
            return {"exists": http(status="204 No Content"), "image": IMAGE, "list": []}[step]
        if step in ("secrets", "secret", "forget"):
            names = [{"Spec": {"Name": name}} for name in self.secrets]
            return {"secrets": names, "secret": {"ID": "ab" * 12}, "forget": {}}[step]
        if step == "pull":
            return http(b'{"stream":"Trying"}\n' + json.dumps({"id": IMAGE_ID}).encode() + b"\n")
        if step in ("create", "probe"):
            made = Made(os.urandom(32).hex(), body, labels=body.get("labels", {}))
            self.made[made.id] = made
            return {"Id": made.id, "Warnings": []}
        if container is None:
            return http_json(MISSING, "404 Not Found")
        return getattr(self, f"_{step}")(container)

    def _inspect(self, container: Made) -> object:
        return container.inspected()

    _find = _inspect

    def _archive(self, _container: Made) -> bytes:
        member = tarfile.TarInfo("passwd")
        member.size = len(PASSWD)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(member, io.BytesIO(PASSWD))
        return http(buffer.getvalue())

    def _logs(self, _container: Made) -> bytes:
        text = b"last words\n"
        return http(b"\1\0\0\0" + len(text).to_bytes(4, "big") + text)

    def _start(self, container: Made) -> bytes:
        container.start(listens=self.listens, ends=self.ends)
        return http(status="204 No Content")

    def _stop(self, container: Made) -> bytes:
        container.end()
        container.exit_code = 137
        return http(status="204 No Content")

    def _kill(self, container: Made) -> bytes:
        return self._stop(container) if self.obeys else http(status="204 No Content")

    def _remove(self, container: Made) -> object:
        container.end()
        del self.made[container.id]
        return [{"Id": container.id, "Err": None}]

    def _serve(self, connection: socket.socket) -> None:
        super()._serve(connection)
        connection.close()


def become(account: Account) -> None:
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    os.chdir("/")
    os.umask(0o077)


def main(name: str) -> None:
    account = Account.lookup(name)
    orders = socket.socket(fileno=0).makefile("rwb")
    become(account)
    os.makedirs(account.socket_path.parent, exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(account.socket_path)
    service = LyingService(account)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for line in orders:
        answer = service.order(json.loads(line))
        orders.write(json.dumps(answer).encode() + b"\n")
        orders.flush()
    service.reset()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
