"""What one would use to start a user's server, each behind the same verbs, in one account."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dockerspawner import DockerSpawner
from jupyterhub.spawner import SimpleLocalProcessSpawner
from podmanclispawner import PodmanCLISpawner

from accounts import TINY_JOVYAN, RealAccount
from free_ports import free_port
from lone import ANSWERING, lone, lone_spawner
from podmanspawner import UserPodman

PORT = 8888
API = "/v5.0.0/libpod"
WAIT_SECONDS = 30
LOCAL_ANSWERING = [
    *("sh", "-c"),
    'url="${JUPYTERHUB_SERVICE_URL#*//*:}"; exec busybox httpd -f -p "127.0.0.1:${url%%/*}" -h /',
]
"""What answers within milliseconds in a container, without one, at the port the Hub has chosen."""


@dataclass
class Place:
    """An account with the image, and for those who need it a service that never goes idle."""

    user: RealAccount
    network: str
    """As ``podman run --network`` takes it: what PodmanSpawner chooses on this host."""
    folder: Path
    service: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        self.user.load(TINY_JOVYAN)
        account = self.user.account
        self.socket = f"{account.runtime_dir}/bench.sock"
        # a class has one client for all that it ever makes, hence a class for each socket
        self.docker = type("DockerSpawner", (DockerSpawner,), {})
        self.environment = {
            "HOME": account.home,
            "USER": account.name,
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "XDG_RUNTIME_DIR": str(account.runtime_dir),
        }
        self.as_account = {
            "user": account.uid,
            "group": account.gid,
            "extra_groups": list(account.groups),
            "env": self.environment,
            "cwd": "/",
        }

    def serve(self) -> None:
        """Start the service."""
        self.service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", f"unix://{self.socket}"],
            **self.as_account,
        )
        end = time.monotonic() + WAIT_SECONDS
        while not Path(self.socket).exists():
            assert time.monotonic() < end
            time.sleep(0.01)

    def close(self) -> None:
        if self.service:
            self.service.kill()
            self.service.wait()

    @property
    def executable(self) -> str:
        """A program that is ``podman`` as the account, for who can only name a program."""
        path = self.folder / f"podman-of-{self.user.name}"
        if not path.exists():
            account = self.user.account
            words = [f"{key}={value}" for key, value in self.environment.items()]
            path.write_text(
                f"#!/bin/sh\ncd /; exec setpriv --reuid {account.uid} --regid {account.gid} "
                f'--init-groups env -i {" ".join(words)} podman "$@"\n'
            )
            path.chmod(0o755)
        return str(path)

    @property
    def userns(self) -> str:
        return "keep-id:uid=1000,gid=100"


class Contender:
    """Something that starts, looks at and stops one server; made anew for each start."""

    title = ""
    port = 0
    """Where the server answers, once it has been started."""

    def __init__(self, place: Place, name: str = "") -> None:
        self.place = place
        self.name = name

    def prepare(self) -> None:
        """Do what is to be done before the clock runs."""

    async def start(self) -> None:
        raise NotImplementedError

    async def poll(self) -> bool:
        """Return whether the server runs."""
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("podman")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        self.request(method, API + path, json.dumps(body) if body else None, headers)
        answer = self.getresponse()
        said = answer.read()
        assert answer.status < 300, said
        return said


class Floor(Contender):
    """A bare HTTP client that creates and starts the very container that PodmanSpawner would."""

    title = "floor: create and start"
    spec: dict | None = None
    """What PodmanSpawner has the engine create."""

    async def start(self) -> None:
        self.port = free_port()
        ports = [{"container_port": PORT, "host_ip": "127.0.0.1", "host_port": self.port}]
        spec = {**self.spec, "name": f"floor-{self.port}", "portmappings": ports}
        with closing(_Unix(self.place.socket)) as service:
            self.id = json.loads(service.ask("POST", "/containers/create", spec))["Id"]
            service.ask("POST", f"/containers/{self.id}/start")

    async def poll(self) -> bool:
        with closing(_Unix(self.place.socket)) as service:
            return json.loads(service.ask("GET", f"/containers/{self.id}/json"))["State"][
                "Running"
            ]

    async def stop(self) -> None:
        with closing(_Unix(self.place.socket)) as service:
            service.ask("POST", f"/containers/{self.id}/stop?timeout=1")
            service.ask("DELETE", f"/containers/{self.id}?force=true&timeout=0")


class Run(Contender):
    """The command as a subprocess that is waited for, as podmanspawner 0.2 did."""

    title = "`podman run -d` by subprocess"

    def _podman(self, *words: str) -> str:
        return subprocess.run(
            ["podman", *words], check=True, capture_output=True, text=True, **self.place.as_account
        ).stdout.strip()

    async def start(self) -> None:
        self.port = free_port()
        home = self.place.user.account.home
        self.id = self._podman(
            *("run", "-d", "--init", "--network", self.place.network),
            *("--userns", self.place.userns, "--volume", f"{home}:/home/jovyan"),
            *("--publish", f"127.0.0.1:{self.port}:{PORT}", TINY_JOVYAN, *ANSWERING),
        )

    async def poll(self) -> bool:
        return json.loads(self._podman("container", "inspect", self.id))[0]["State"]["Running"]

    async def stop(self) -> None:
        self._podman("stop", "-t", "1", self.id)
        self._podman("rm", self.id)


class Spawned(Contender):
    """A spawner with the Hub's own objects around it."""

    def __init__(self, place: Place, name: str = "") -> None:
        super().__init__(place, name)
        self.spawner = self.make()

    def make(self):
        raise NotImplementedError

    async def start(self) -> None:
        where = await self.spawner.start()
        self.port = urlsplit(where).port if isinstance(where, str) else where[1]
        self.spawner.server.port = self.port

    async def poll(self) -> bool:
        return await self.spawner.poll() is None

    async def stop(self) -> None:
        await self.spawner.stop()


class Ours(Spawned):
    title = "PodmanSpawner"

    def make(self):
        return lone_spawner(self.place.user.name, name=self.name, service_idle_seconds=3600)


class Asleep(Ours):
    """The same, with a service that has to be woken."""

    title = "PodmanSpawner, its Podman asleep"

    def make(self):
        return lone_spawner(self.place.user.name, name=self.name, service_idle_seconds=1)

    def prepare(self) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while self.place.user.processes("--time=1"):
            assert time.monotonic() < end
            time.sleep(0.05)


class Cli(Spawned):
    title = "podmanclispawner"

    def make(self):
        home = self.place.user.account.home
        return lone(
            PodmanCLISpawner,
            self.place.user.name,
            name=self.name,
            image=TINY_JOVYAN,
            cmd=ANSWERING,
            remove=True,
            podman_executable=self.place.executable,
            podman_additional_cmds=[
                *("--init", "--stop-timeout", "1", "--network", self.place.network),
                *("--userns", self.place.userns, "--volume", f"{home}:/home/jovyan"),
            ],
        )


class Docker(Spawned):
    """In the default mapping: Docker's client refuses ``keep-id``."""

    title = "dockerspawner on Podman's socket"

    def make(self):
        home = self.place.user.account.home
        return lone(
            self.place.docker,
            self.place.user.name,
            name=self.name,
            image=TINY_JOVYAN,
            pull_policy="never",
            cmd=ANSWERING,
            remove=True,
            client_kwargs={"base_url": f"unix://{self.place.socket}"},
            network_name=self.place.network,
            use_internal_ip=False,
            volumes={home: "/home/jovyan"},
            extra_create_kwargs={"stop_timeout": 1},
            extra_host_config={"init": True},
        )


class Local(Spawned):
    """A process of the host, without any container."""

    title = "SimpleLocalProcessSpawner"

    def make(self):
        spawner = lone(
            SimpleLocalProcessSpawner,
            self.place.user.name,
            name=self.name,
            cmd=LOCAL_ANSWERING,
            home_dir_template=str(self.place.folder / "{username}"),
        )
        spawner.ip = "127.0.0.1"
        return spawner


ALL = (Floor, Run, Ours, Asleep, Cli, Docker, Local)


def answers(port: int) -> bool:
    """Whether something answers in HTTP at a port of the host."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as made:
        made.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return made.recv(5) == b"HTTP/"
    return False


@contextlib.contextmanager
def remembered_spec():
    """Let the floor create what PodmanSpawner creates inside."""
    usual = UserPodman.create

    def create(self, spec):
        Floor.spec = spec.to_json()
        return usual(self, spec)

    UserPodman.create = create
    try:
        yield
    finally:
        UserPodman.create = usual
