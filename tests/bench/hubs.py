"""What real Hubs do with each contender: a click, a crowd, requests through the proxy."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import requests

from accounts import SINGLEUSER, TINY_JOVYAN, real_account
from contenders import LOCAL_ANSWERING, Place
from hub import Hub
from lone import ANSWERING
from measure import cpu_of, exponents, memory, percentile, spread

CONNECTIONS = 8
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
BIG_MIB = 128
NAMED = "of-the-bench"
"""A network that the account has made."""
PROBE = """
import sys
sys.path[:0] = {path!r}
from measure import report_loop, report_polls
if {probed}:
    report_loop({report!r})
else:
    from podmanspawner import PodmanSpawner
    report_polls({report!r}, PodmanSpawner)
c.JupyterHub.log_level = "WARN"
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 120}}
c.Spawner.http_timeout = 120
"""
OURS = """
c.PodmanSpawner.image = {image!r}
"""
CLI = """
c.JupyterHub.spawner_class = "podmanclispawner.PodmanCLISpawner"
c.Spawner.hub_connect_url = {hub_url!r}
c.PodmanCLISpawner.image = {image!r}
c.PodmanCLISpawner.remove = True

def as_the_user(spawner):
    home = "/home/" + spawner.user.name
    spawner.podman_executable = {folder!r} + "/podman-of-" + spawner.user.name
    spawner.podman_additional_cmds = [
        "--network", {network!r}, "--userns", "keep-id:uid=1000,gid=100",
        "--stop-timeout", "1", "--volume", home + ":/home/jovyan",
    ]

c.Spawner.pre_spawn_hook = as_the_user
"""
DOCKER = """
c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.Spawner.hub_connect_url = {hub_url!r}
c.DockerSpawner.image = {image!r}
c.DockerSpawner.pull_policy = "never"
c.DockerSpawner.remove = True
c.DockerSpawner.client_kwargs = {{"base_url": "unix://" + {socket!r}}}
c.DockerSpawner.network_name = {network!r}
c.DockerSpawner.use_internal_ip = False
"""
LOCAL = """
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {folder!r} + "/{{username}}"
c.Spawner.args = ["--ServerApp.allow_root=True"]
"""
CONFIGS = {"PodmanSpawner": OURS, "podmanclispawner": CLI, "dockerspawner": DOCKER, "local": LOCAL}
SERVING = """
import asyncio
SMALL = b"HTTP/1.1 200 OK\\r\\nContent-Length: 1024\\r\\n\\r\\n" + 1024 * b"x"
BIG = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % ({mib} << 20)
async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            if b"/big" in head.split()[1]:
                writer.write(BIG)
                for _ in range({mib}):
                    writer.write(bytes(1 << 20))
                    await writer.drain()
            else:
                writer.write(SMALL)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    import os, urllib.parse
    port = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port
    async with await asyncio.start_server(serve, "", port) as server:
        await server.serve_forever()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Measured:
    """What a Hub took of the machine between two moments."""

    cpu: float
    """Seconds of the processor, with its children."""
    worst: float
    """Milliseconds that its event loop was held at once."""
    ran: float
    """For how many of those it had a processor."""
    p99: float


class Probed(Hub):
    """A Hub that tells how long its event loop was held, or only how long its polls took."""

    def __init__(self, folder: Path, *, probed: bool) -> None:
        self.report = folder / "loop.json"
        path = [entry for entry in sys.path if entry]
        super().__init__(folder, PROBE.format(path=path, report=str(self.report), probed=probed))

    def begin_measuring(self) -> None:
        self.told()
        self._cpu = cpu_of(self.process.pid)

    def told(self) -> dict[str, list[float]]:
        """Return what it noted since last time, see ``measure``."""
        self.report.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR2)
        self.until(self.report.exists)
        return json.loads(self.report.read_text())

    def measured(self) -> Measured:
        used = cpu_of(self.process.pid) - self._cpu
        told = self.told()
        held, ran = (told[name] or [0.0] for name in ("held", "ran"))
        worst, ran_then = max(zip(held, ran, strict=True))
        return Measured(used, worst, ran_then, percentile(held, 99))

    def click(self, user: str, name: str = "") -> float:
        """Start a server; return the seconds until the Hub says that it is ready."""
        began = time.perf_counter()
        answer = self.api("POST", self.path(user, name), json={})
        took = time.perf_counter() - began
        assert answer.status_code == 201, f"{answer.text}{self.tail()}"
        return took


@contextmanager
def hubs(kinds, users, *, network: str, image: str, extra: str = "", probed: bool = True):
    """Give a Hub for each of some contenders, all with the same users."""
    with ExitStack() as stack:
        made = {}
        for kind in kinds:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            folder.chmod(0o755)
            places = [Place(user, network, folder) for user in users]
            for place in places:
                stack.callback(place.close)
                place.user.load(image)
                assert place.executable
            if kind == "dockerspawner":
                places[0].serve()
            made[kind] = hub = _hub(
                Probed(folder, probed=probed),
                kind,
                places[0],
                network=network,
                image=image,
                extra=extra,
            )
            stack.enter_context(hub)
            names = [user.name for user in users]
            hub.api("POST", "users", json={"usernames": names}).raise_for_status()
        yield made


def _hub(hub: Probed, kind: str, place: Place, **words: str) -> Probed:
    """Configure a Hub for a contender."""
    loopback = "10.0.2.2" if "slirp4netns" in words["network"] else "127.0.0.1"
    words |= {
        "network": words["network"].replace("HUB", str(hub.hub_port)),
        "hub_url": f"http://{loopback}:{hub.hub_port}",
        "folder": str(hub.folder),
        "socket": place.socket,
    }
    extra = CONFIGS[kind].format(**words) + words["extra"]
    hub.config.write_text(hub.config.read_text() + extra)
    return hub


def measure_clicks(network: str, rounds: int, kinds: tuple[str, ...]) -> dict[str, dict]:
    """Click on a server's button, in a Hub of each contender in its turn, until it is ready."""
    with real_account() as user, same_files(user) as folder:
        extra = _commands(
            inside=["jupyterhub-singleuser"],
            outside=["chroot", folder, "/opt/venv/bin/jupyterhub-singleuser"],
        )
        with hubs(kinds, [user], network=network, image=SINGLEUSER, extra=extra) as made:
            return _clicks(made, user.name, rounds)


def _clicks(made: dict[str, Probed], user: str, rounds: int) -> dict[str, dict]:
    took: dict[str, list[float]] = {kind: [] for kind in made}
    measured: dict[str, list[Measured]] = {kind: [] for kind in made}
    kinds = [*made]
    for number in range(-1, rounds):  # the first start of all copies the image
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            hub = made[kind]
            hub.begin_measuring()
            seconds = hub.click(user)
            found = hub.measured()
            hub.end(user)
            if number >= 0:
                took[kind].append(seconds)
                measured[kind].append(found)
    return {
        kind: {
            "ready": spread(took[kind]),
            "cpu": spread([one.cpu for one in measured[kind]]),
            "held": {
                "worst": max(one.worst for one in measured[kind]),
                "p99": max(one.p99 for one in measured[kind]),
            },
        }
        for kind in kinds
    }


def _commands(*, inside: list[str], outside: list[str]) -> str:
    """Return the configuration of what runs in a container, or else on the host."""
    return f"c.Spawner.cmd = {outside} if c.JupyterHub.spawner_class == 'simple' else {inside}\n"


@contextmanager
def same_files(user):
    """Give a folder with the image's files, whose Python can run on the host, by chroot."""
    user.load(SINGLEUSER)
    made = user.podman("create", SINGLEUSER).strip()
    account = user.account
    with TemporaryDirectory(dir="/var/tmp") as folder:
        archive = subprocess.Popen(
            ["podman", "cp", f"{made}:/.", "-"],
            stdout=subprocess.PIPE,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            env={"HOME": account.home, "XDG_RUNTIME_DIR": str(account.runtime_dir), "PATH": PATH},
        )
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
        assert archive.wait() == 0
        user.podman("rm", made)
        Path(folder, "dev").mkdir(exist_ok=True)
        os.mknod(f"{folder}/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        yield folder


def measure_crowd(
    network: str, accounts: int, servers: int, kinds: tuple[str, ...]
) -> dict[str, dict]:
    """Start servers of accounts at once; of dockerspawner, which knows one socket, in one."""
    names = [f"s{number}" for number in range(servers)]
    with ExitStack() as stack:
        users = [stack.enter_context(real_account()) for _ in range(accounts)]
        extra = _commands(inside=ANSWERING, outside=LOCAL_ANSWERING)
        found = {}
        for kind in kinds:
            with hubs([kind], users, network=network, image=TINY_JOVYAN, extra=extra) as made:
                wanted = [(user.name, name) for user in users for name in names]
                found[kind] = _crowd(made[kind], wanted)
        return found


def _crowd(hub: Probed, wanted: list[tuple[str, str]]) -> dict:
    for user in {user for user, _ in wanted}:  # what an account has once and for all
        hub.click(user, "first")
        hub.end(user, "first")
    hub.begin_measuring()
    began = time.perf_counter()
    with ThreadPoolExecutor(len(wanted)) as pool:
        each = list(pool.map(lambda one: hub.click(*one), wanted))
        took = time.perf_counter() - began
        measured = hub.measured()
        list(pool.map(lambda one: hub.api("DELETE", hub.path(*one)), wanted))
    hub.until(lambda: not any(model["servers"] for model in hub.api("GET", "users").json()), 120)
    return {
        "seconds": took,
        "each": spread(each),
        "cpu": measured.cpu,
        "held": {"worst": measured.worst, "ran": measured.ran, "p99": measured.p99},
    }


def measure_proxy(networks: dict[str, str], seconds: int) -> dict[str, dict]:
    """Send requests through the proxy to a server in each kind of network, and to a process."""
    script = SERVING.format(mib=BIG_MIB)
    extra = f"""
c.JupyterHub.hub_ip = ""
NETWORKS = {list(networks.values())!r}
c.Spawner.cmd = ["python3", "-c", {script!r}]
if c.JupyterHub.spawner_class != "simple":
    c.Spawner.pre_spawn_hook = lambda spawner: spawner.set_trait(
        "network", NETWORKS[int(spawner.name[1:])]
    )
"""
    kinds = ["PodmanSpawner", "local"]
    with (
        real_account() as user,
        hubs(kinds, [user], network="slirp4netns", image=SINGLEUSER, extra=extra) as made,
    ):
        user.podman("network", "create", NAMED)
        found = {
            title: _through(made["PodmanSpawner"], user.name, f"n{number}", seconds)
            for number, title in enumerate(networks)
        }
        found["a local process"] = _through(made["local"], user.name, "local", seconds)
        return found


def _through(hub: Probed, user: str, name: str, seconds: int) -> dict[str, float]:
    hub.click(user, name)
    url = f"{hub.url}/user/{user}/{name}/"
    said = subprocess.check_output(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url + "small"], text=True
    )
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    began = time.perf_counter()
    with requests.get(url + "big", stream=True, timeout=60) as answer:
        size = sum(map(len, answer.iter_content(1 << 20)))
    assert size == BIG_MIB << 20
    rate = BIG_MIB / (time.perf_counter() - began)
    hub.end(user, name)
    return {
        "requests": float(re.search(r"Requests/sec: +([\d.]+)", said)[1]),
        "p50": _milliseconds(re.search(r"50% +(\S+)", said)[1]),
        "p99": _milliseconds(re.search(r"99% +(\S+)", said)[1]),
        "mib": rate,
    }


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def measure_watching(numbers: list[int], accounts: int, seconds: float) -> dict[str, dict]:
    """Let a Hub watch more and more containers; return what it takes of the machine."""
    with ExitStack() as stack:
        users = [stack.enter_context(real_account()) for _ in range(accounts)]
        extra = f"c.Spawner.cmd = {ANSWERING!r}\nc.Spawner.poll_interval = {seconds!r}\n"
        kinds = ["PodmanSpawner"]
        lasting = 1.2 * seconds  # with the Hub's jitter, each is polled in that time
        with hubs(kinds, users, network="", image=TINY_JOVYAN, extra=extra, probed=False) as made:
            hub, found = made["PodmanSpawner"], {}
            wanted = [
                (user.name, f"s{n}") for n in range(max(numbers) // accounts + 1) for user in users
            ]
            running = 0
            for number in numbers:
                with ThreadPoolExecutor(10) as pool:
                    list(pool.map(lambda one: hub.click(*one), wanted[running:number]))
                running = number
                time.sleep(8)  # services go idle
                hub.told()
                before = cpu_of(hub.process.pid)
                time.sleep(lasting)
                found[number] = {
                    "cpu": 100 * (cpu_of(hub.process.pid) - before) / lasting,
                    "poll": 1e6 * median(hub.told()["polls"]),
                    "memory": memory([hub.process.pid]) / 1024,
                    "services": sum(len(user.processes("system service")) for user in users),
                }
            for user in users:
                user.podman("kill", "-a")
            hub.until(
                lambda: not any(model["servers"] for model in hub.api("GET", "users").json()), 120
            )
            return {"numbers": found, "exponents": exponents(found, ("poll", "cpu", "memory"))}
