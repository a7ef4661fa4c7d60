"""What is killed over and over: an account, a proxy that outlives all Hubs, and one Hub."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import requests

from accounts import TINY_JOVYAN
from hub import Hub
from lone import ANSWERING
from podmanspawner import direct

_FORKER = Path(__file__).with_name("forker.py")
_CONFIG = """
import sys
from pathlib import Path
sys.path[:0] = {path}
from steps import count_steps
count_steps(Path({folder!r}), {uid})

def ends_at_once(spawner):
    if Path("fails").exists():
        spawner.cmd = ["false"]

c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.hub_ip = "127.0.0.1"
c.PodmanSpawner.image = "{image}"
c.PodmanSpawner.cmd = {command}
c.PodmanSpawner.delete_grace_period = 0
c.PodmanSpawner.service_idle_seconds = 3
c.Spawner.poll_interval = 0
c.Spawner.pre_spawn_hook = ends_at_once
"""
_SETTLE_SECONDS = 10
_INTERNAL_SSL = "internal_ssl = True"
_IDLE = ("system service", "podman pause", "catatonit -P", "/podman\0")


class Forker:
    """The process whose children the Hubs are."""

    def __init__(self) -> None:
        path = os.pathsep.join(sys.path)
        self._process = subprocess.Popen(
            [sys.executable, str(_FORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdout.readline() == "ready\n"

    def fork(self, **order: str) -> int:
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)


class Refused(Exception):  # noqa: N818, it is the Hub's answer
    """A start failed, with the words that its user sees."""


class MortalHub(Hub):
    """A Hub forked from one that is imported already, without a proxy of its own."""

    behind_proxy = False
    """Whether it answers nobody but its proxy, as with ``internal_ssl``."""
    url = property(
        lambda self: f"http://127.0.0.1:{self.port if self.behind_proxy else self.hub_port}"
    )

    def __init__(self, forker: Forker, folder: Path, extra: str) -> None:
        super().__init__(folder, extra)
        self._forker = forker
        self._life = -1

    def start(self) -> None:
        """Start it and wait until it answers, or has died."""
        assert self.dead
        pid = self._forker.fork(
            folder=str(self.folder), log=str(self.log), config=str(self.config)
        )
        self._life = os.pidfd_open(pid)
        end = time.monotonic() + 60
        while not self.dead:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/hub/api", timeout=10).ok:
                    return
            assert time.monotonic() < end, self.tail()
            time.sleep(0.01)

    def make_certificates(self) -> None:
        """Have what a Hub and its proxy need before the first of them is there."""
        command = [sys.executable, "-m", "jupyterhub", "-f", str(self.config)]
        with self.log.open("ab") as log:
            subprocess.run(
                [*command, "--generate-certs"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                check=True,
                timeout=60,
            )

    def pair(self, name: str) -> tuple[str, str, str]:
        """Return the files of a key, its certificate, and of those whom its owner trusts."""
        folder = self.folder / "internal-ssl"
        trusted = "hub" if name == "hub-internal" else name
        files = (f"{name}/{name}.key", f"{name}/{name}.crt", f"{trusted}-ca_trust.crt")
        key, certificate, authorities = (str(folder / file) for file in files)
        return key, certificate, authorities

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        if self._life >= 0 and select.select([self._life], [], [], 0)[0]:
            os.close(self._life)
            self._life = -1
        return self._life < 0

    def kill_it(self) -> None:
        """Do so and do not wait."""
        with contextlib.suppress(OSError):  # it has ended
            signal.pidfd_send_signal(self._life, signal.SIGKILL)

    def kill(self) -> None:
        if not self.dead:
            self.kill_it()
            select.select([self._life], [], [])
            assert self.dead

    def start_server(self, user: str, seconds: float = 60) -> None:
        """Start a server; raise Refused if it fails."""
        try:
            self.request_start(user)
        except requests.HTTPError as error:
            raise Refused(error.response.json()["message"]) from error
        end = time.monotonic() + seconds
        while not (server := self.server(user)) or not server["ready"]:
            if not server:
                raise Refused(self._failure(user, ""))
            assert time.monotonic() < end, f"not within {seconds} s: {self.tail()}"
            time.sleep(0.05)

    def saved(self) -> dict[str, str]:
        """Return what its database knows to run: name of the server to id of the container."""
        with contextlib.closing(sqlite3.connect(self.folder / "hub.sqlite")) as db:
            rows = db.execute("SELECT name, state FROM spawners WHERE server_id IS NOT NULL")
            states = {name: json.loads(state or "{}") for name, state in rows}
        return {name: (state or {}).get("container_id", "") for name, state in states.items()}


class Site:
    """An account, and the Hub that serves it."""

    def __init__(self, forker: Forker, account, folder: Path) -> None:
        self.account = account
        self.name = account.name
        self.uid = account.account.uid
        account.load(TINY_JOVYAN)
        path = [entry for entry in sys.path if entry]
        common = _CONFIG.format(
            path=path, folder=str(folder), image=TINY_JOVYAN, command=ANSWERING, uid=self.uid
        )
        self.hub = MortalHub(forker, folder, common)
        self._common = self.hub.config.read_text()
        self._proxy = self._start_proxy()
        self._orders = 0
        account.podman("ps")  # makes what an account has once and for all
        self._locks = self._locks_taken()  # of a former account of that uid
        self._locks_lost = 0
        self.secrets_mended = 0
        self._kills: deque[float] = deque(maxlen=direct._CRASHES - 1)

    def _start_proxy(self) -> subprocess.Popen:
        hub, proto, options = self.hub, "http", []
        if hub.behind_proxy:
            hub.make_certificates()
            proto = "https"
            for what in ("api", "client"):  # to the Hub, to servers
                files = dict(zip(("key", "cert", "ca"), hub.pair(f"proxy-{what}"), strict=True))
                options += [f"--{what}-ssl-{name}={file}" for name, file in files.items()]
                options += [f"--{what}-ssl-request-cert", f"--{what}-ssl-reject-unauthorized"]
        return subprocess.Popen(
            [
                "configurable-http-proxy",
                *("--ip", "127.0.0.1", "--port", str(hub.port)),
                *("--api-ip", "127.0.0.1", "--api-port", str(hub.api_port)),
                *("--default-target", f"{proto}://127.0.0.1:{hub.hub_port}"),
                *options,
            ],
            env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": "proxy-secret"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def configure(self, extra: str) -> None:
        """Let the next Hub be configured so, and the proxy as it has to be."""
        self.hub.config.write_text(self._common + extra)
        if self.hub.behind_proxy != (_INTERNAL_SSL in extra):
            self.hub.behind_proxy = not self.hub.behind_proxy
            self._end_proxy()
            self._proxy = self._start_proxy()

    def close(self) -> None:
        self.hub.kill()
        self._end_proxy()

    def _end_proxy(self) -> None:
        self._proxy.kill()
        self._proxy.wait()

    # orders

    def order(self, victim: str, step: int | str, delay: float = 0.0) -> None:
        """Let steps be counted from now on, and the victim die at that one; 0 lets nobody die.

        Args:
            victim: ``"hub"`` or ``"service"``.
            step: number of the step, from 1, or its name.
            delay: seconds from there.
        """
        self._orders += 1
        (self.hub.folder / "steps").write_text("")
        (self.hub.folder / "killed").unlink(missing_ok=True)
        new = self.hub.folder / "order.new"
        new.write_text(f"{self._orders} {victim} {str(step).replace(' ', '_')} {delay}")
        new.rename(self.hub.folder / "order")

    def no_order(self) -> list[str]:
        """Let no more steps be counted; return those that were."""
        (self.hub.folder / "order").unlink(missing_ok=True)
        steps = self.hub.folder / "steps"
        return steps.read_text().splitlines() if steps.exists() else []

    def await_patience(self) -> None:
        """Wait until one more kill of the service does not make it one that never starts."""
        if len(self._kills) == self._kills.maxlen:
            time.sleep(max(0.0, self._kills[0] + direct._CRASH_WINDOW + 1 - time.monotonic()))

    def wake(self) -> None:
        """Let there be a service to kill."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(f"/run/user/{self.uid}/podman/podman.sock")
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            assert b" 200 " in connection.recv(100)

    def end_services(self) -> None:
        """End those of former Hubs: else the next one uses them, and does not listen itself."""
        for pid in self.account.processes("system service"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.hub.until(lambda: not self.account.processes("system service"))

    def demand_killed(self) -> None:
        """See that the service has been killed, a moment ago."""
        assert (self.hub.folder / "killed").exists(), "it was not killed"
        self._kills.append(time.monotonic())

    # what an engine leaves that is killed in the middle of its own writing

    def forgive_a_lock(self) -> None:
        """Let one lock be lost: its owner was in no database yet, or in none any more."""
        lost = self._locks_without_owner()
        assert lost in (0, 1), lost
        self._locks_lost += lost

    def find_locks_again(self) -> int:
        """Do what faults.md says of lost locks, see it help; return how many there were."""
        found, self._locks_lost = self._locks_lost, 0
        self.account.podman("system", "renumber")
        self._locks = 0
        assert self._locks_without_owner() == 0
        return found

    def mend_secrets(self) -> None:
        """Do what faults.md says of an empty file of secrets, or a secret without data."""
        folder = self._storage() / "secrets"
        files = [folder / "secrets.json", folder / "filedriver/secretsdata.json"]
        self.account.run("rm", "-f", *map(str, files))
        self.await_patience()
        self.end_services()
        self._kills.append(time.monotonic())
        self.secrets_mended += 1

    # what there is

    def servers(self) -> dict[str, str]:
        """Return the servers that the Hub says are ready: name to id of the container."""
        user = self.hub.api("GET", f"users/{self.name}")
        if user.status_code == 404:
            return {}
        user.raise_for_status()
        found = user.json()["servers"]
        assert all(server["ready"] for server in found.values()), found
        return {name: server["state"]["container_id"] for name, server in found.items()}

    def containers(self) -> dict[str, str]:
        """Return all containers, also those that only the storage knows: id to status."""
        listed = self.account.podman(
            "ps", "-a", "--external", "--no-trunc", "--format", "{{.ID}} {{.Status}} {{.Labels}}"
        )
        return dict(line.split(" ", 1) for line in listed.splitlines())

    def running(self) -> set[str]:
        return {name for name, status in self.containers().items() if status.startswith("Up")}

    def routes(self) -> set[str]:
        proto, options = "http", {}
        if self.hub.behind_proxy:
            key, certificate, authorities = self.hub.pair("hub-internal")
            proto, options = "https", {"cert": (certificate, key), "verify": authorities}
        answer = requests.get(
            f"{proto}://127.0.0.1:{self.hub.api_port}/api/routes",
            headers={"Authorization": "token proxy-secret"},
            timeout=10,
            **options,
        )
        return {route for route in answer.json() if route.startswith("/user/")}

    def _storage(self) -> Path:
        return Path(self.account.account.home, ".local/share/containers/storage")

    def secrets(self) -> list[str]:
        try:
            text = (self._storage() / "secrets/secrets.json").read_text()
        except FileNotFoundError:
            return []
        return [entry["name"] for entry in json.loads(text)["secrets"].values()]

    def volumes(self) -> list[str]:
        folder = self._storage() / "volumes"
        return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []

    def busy(self) -> dict[int, str]:
        """Return the account's processes but those that an idle account may have."""
        lines = self.account.all_processes().items()
        return {
            pid: line for pid, line in lines if line and not any(word in line for word in _IDLE)
        }

    def files(self) -> list[str]:
        """Return what is named after containers in the runtime directory, such as sockets.

        Not the storage's folders: a create whose asker has gone may leave an empty one there.
        """
        names = set()
        for top in ("libpod", "runc", "crun"):
            for folder, folders, files in os.walk(f"/run/user/{self.uid}/{top}"):
                if Path(folder).name == "exits":  # one of a container that was removed as it ended
                    continue
                names |= {Path(folder, name) for name in (*folders, *files)}
        return [str(name) for name in names if len(name.name.split(".")[0]) == 64]

    def _locks_taken(self) -> int:
        """Return how many of the engine's locks are taken, one for each container and volume.

        ref: Podman's libpod/lock/shm/shm_lock.h, of 64-bit machines
        """
        try:
            data = Path(f"/dev/shm/libpod_rootless_lock_{self.uid}").read_bytes()
        except FileNotFoundError:
            return 0
        mutex, groups_at = 40, 56
        (groups,) = struct.unpack_from("=I", data, 48)
        bitmaps = (
            struct.unpack_from("=I", data, groups_at + number * (8 + 32 * mutex))[0]
            for number in range(groups)
        )
        return sum(bitmap.bit_count() for bitmap in bitmaps)

    def _locks_without_owner(self) -> int:
        owners = len(self.containers()) + len(self.volumes())
        return self._locks_taken() - self._locks - self._locks_lost - owners

    def leftovers(self) -> dict[str, object]:
        """Return all that is there beyond an idle account's."""
        found = {
            "containers": self.containers(),
            "processes": self.busy(),
            "secrets": self.secrets(),
            "volumes": self.volumes(),
            "files": self.files(),
            "routes": self.routes(),
        }
        found["locks"] = self._locks_without_owner()
        return {what: there for what, there in found.items() if there}

    def demand_nothing_left(self, *, but: tuple[str, ...] = ()) -> None:
        """See everything end that ends by itself; what does not is a fault."""
        end = time.monotonic() + _SETTLE_SECONDS
        while left := {key: value for key, value in self.leftovers().items() if key not in but}:
            assert time.monotonic() < end, left
            time.sleep(0.05)
