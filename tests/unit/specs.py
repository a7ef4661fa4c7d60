"""Specs by name, each with what an inspect of the real engine must show of it.

``tests/unit`` holds their JSON against ``golden/NAME.json``; ``tests/podman`` posts each to the
engine and asks ``mismatches(inspected, case.expect)``. The image and the folders are parameters,
because a golden file needs fixed ones and an engine needs ones that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from podmanspawner.account import Account
from podmanspawner.builder import build
from podmanspawner.health import HealthCheck
from podmanspawner.identity import UserMapping
from podmanspawner.mounts import Mount
from podmanspawner.names import ServerName
from podmanspawner.network import Port
from podmanspawner.resources import Resources
from podmanspawner.secrets import Secret
from podmanspawner.settings import Engine, ImageFacts, ServerSettings
from podmanspawner.spec import ContainerSpec

IMAGE = "localhost/podmanspawner-test:latest"
ACCOUNT = Account(name="ada", uid=1001, gid=1002, home="/home/ada")
DATA = "/srv/data"
PORT = 18999
SECRET = "licence"
"""Name of a secret that the account must have."""

Expect = Mapping[tuple[str | int, ...], Any]


@dataclass(frozen=True)
class Case:
    spec: ContainerSpec
    expect: Expect = field(default_factory=dict)
    """Path into the inspected JSON to its value, or to a function that says yes or no."""
    needs: str = ""
    """What not every engine has: ``"pasta"``, or ``"limits"`` (cgroup v2 with controllers)."""


def either(*values: Any) -> Callable[[Any], bool]:
    """Podman 4 and 5 show the same thing differently."""
    return lambda found: found in values


def holds(*items: Any) -> Callable[[Any], bool]:
    return lambda found: all(item in found for item in items)


def mismatches(inspected: Any, expect: Expect) -> list[str]:
    """Return one line for everything that is not as expected."""
    lines = []
    for path, wanted in expect.items():
        found = inspected
        try:
            for key in path:
                found = found[key]
        except (KeyError, IndexError, TypeError):
            lines.append(f"{path}: missing")
            continue
        if not (wanted(found) if callable(wanted) else found == wanted):
            lines.append(f"{path}: {found!r}")
    return lines


def cases(image: str = IMAGE, account: Account = ACCOUNT, data: str = DATA) -> dict[str, Case]:
    """Return every named case.

    Args:
        image: one that exists, for posting.
        account: whose engine it is posted to; the home must exist.
        data: a folder that exists and that the account may read.
    """
    return {**_plain(image, data), **_built(image, account, data)}


def _plain(image: str, data: str) -> dict[str, Case]:
    def spec(**options: Any) -> ContainerSpec:
        return ContainerSpec(image=image, **options)

    keep_id = {("HostConfig", "UsernsMode"): "private"}
    bind = {"Type": "bind", "Source": data, "Destination": "/data"}
    port = [{"HostIp": "127.0.0.1", "HostPort": str(PORT)}]
    return {
        "minimal": Case(
            spec(),
            {("ImageName",): image, ("Config", "Tty"): False, ("HostConfig", "AutoRemove"): False},
        ),
        "name": Case(spec(name="jupyter-8081--ada"), {("Name",): "jupyter-8081--ada"}),
        "command": Case(
            spec(command=["sh", "-c", "echo 'a b'; exit 3"]),
            {("Config", "Cmd"): ["sh", "-c", "echo 'a b'; exit 3"]},
        ),
        "entrypoint": Case(
            spec(entrypoint=["/bin/sh", "-c"], command=["true"]),
            {("Config", "Entrypoint"): either("/bin/sh -c", ["/bin/sh", "-c"])},
        ),
        "environment": Case(
            spec(environment={"EMPTY": "", "JSON": '["a b", "c"]', "LINES": "1\n2"}),
            {("Config", "Env"): holds("EMPTY=", 'JSON=["a b", "c"]', "LINES=1\n2")},
        ),
        "labels": Case(
            spec(labels={"hub.jupyter.org/servername": "", "x": "ü=1"}),
            {
                ("Config", "Labels"): lambda found: (
                    found.items() >= {"hub.jupyter.org/servername": "", "x": "ü=1"}.items()
                )
            },
        ),
        "working-dir": Case(spec(working_dir="/tmp"), {("Config", "WorkingDir"): "/tmp"}),
        "user": Case(spec(user="1000:100"), {("Config", "User"): "1000:100"}),
        "mount": Case(
            spec(mounts=[Mount.bind(data, "/data/")]),
            {("Mounts", 0, key): value for key, value in {**bind, "RW": True}.items()},
        ),
        "mount-read-only": Case(
            spec(mounts=[Mount.bind(data, "/data", read_only=True)]),
            {("Mounts", 0, key): value for key, value in {**bind, "RW": False}.items()},
        ),
        "mount-options": Case(
            spec(mounts=[Mount(data, "/data", options=["z", "rslave", "noexec"])]),
            {
                ("Mounts", 0, "Mode"): either("", "z"),
                ("Mounts", 0, "Propagation"): "rslave",
                ("Mounts", 0, "Options"): holds("noexec"),
            },
        ),
        "mount-volume": Case(
            spec(mounts=[Mount("work-ada", "/work", kind="volume", read_only=True)]),
            {
                ("Mounts", 0, "Type"): "volume",
                ("Mounts", 0, "Name"): "work-ada",
                ("Mounts", 0, "Destination"): "/work",
                ("Mounts", 0, "RW"): False,
            },
        ),
        "healthcheck": Case(
            spec(healthcheck=HealthCheck(cmd="test -e /tmp/a b", interval=1.5, start_period=60)),
            {
                ("Config", "Healthcheck", "Test"): ["CMD-SHELL", "test -e /tmp/a b"],
                ("Config", "Healthcheck", "Interval"): 1_500_000_000,
                ("Config", "Healthcheck", "Timeout"): 30_000_000_000,
                ("Config", "Healthcheck", "StartPeriod"): 60_000_000_000,
                ("Config", "Healthcheck", "Retries"): 3,
            },
        ),
        "healthcheck-none": Case(spec(healthcheck=HealthCheck(cmd="none"))),
        "healthcheck-words": Case(
            spec(healthcheck=HealthCheck(cmd=["test", "a b"], timeout=5, retries=9)),
            {
                ("Config", "Healthcheck", "Test"): ["CMD", "test", "a b"],
                ("Config", "Healthcheck", "Timeout"): 5_000_000_000,
                ("Config", "Healthcheck", "Retries"): 9,
            },
        ),
        "mount-image": Case(spec(mounts=[Mount(image, "/tools", kind="image", read_only=True)])),
        "mount-overlay": Case(spec(mounts=[Mount(data, "/course", kind="overlay")])),
        "port": Case(
            spec(ports=[Port(8888, PORT)]), {("HostConfig", "PortBindings", "8888/tcp"): port}
        ),
        "ports": Case(
            spec(
                ports=[Port(8888, PORT), Port(5000, PORT, "127.0.0.2", "udp"), Port(6000, count=2)]
            ),
            {
                ("HostConfig", "PortBindings", "8888/tcp"): port,
                ("HostConfig", "PortBindings", "5000/udp"): [
                    {"HostIp": "127.0.0.2", "HostPort": str(PORT)}
                ],
                ("HostConfig", "PortBindings", "6001/tcp", 0, "HostPort"): lambda found: (
                    int(found) > 0
                ),
            },
        ),
        "network-named": Case(
            spec(network="bridge", networks=["podman"]),
            {
                ("HostConfig", "NetworkMode"): "bridge",
                ("NetworkSettings", "Networks"): holds("podman"),
            },
        ),
        "network-private": Case(
            spec(network="private"),
            {("HostConfig", "NetworkMode"): either("slirp4netns", "pasta")},
        ),
        "network-slirp4netns": Case(
            spec(network="slirp4netns", network_options=["allow_host_loopback=true"]),
            {
                ("HostConfig", "NetworkMode"): either(
                    "slirp4netns", "slirp4netns:allow_host_loopback=true"
                )
            },
        ),
        "network-pasta": Case(
            spec(network="pasta", network_options=["-T", "8081"]),
            {("HostConfig", "NetworkMode"): lambda found: found.startswith("pasta")},
            needs="pasta",
        ),
        "network-host": Case(spec(network="host"), {("HostConfig", "NetworkMode"): "host"}),
        "network-none": Case(spec(network="none"), {("HostConfig", "NetworkMode"): "none"}),
        "mapping-root": Case(
            spec(user_mapping=UserMapping("root")),
            {("HostConfig", "UsernsMode"): either("", "host")},
        ),
        "mapping-keep-id": Case(spec(user_mapping=UserMapping("keep-id")), keep_id),
        "mapping-keep-id-numbers": Case(
            spec(user_mapping=UserMapping("keep-id", 1000, 100)),
            {
                **keep_id,
                ("HostConfig", "IDMappings", "UidMap"): holds("1000:0:1"),
                ("HostConfig", "IDMappings", "GidMap"): holds("100:0:1"),
            },
        ),
        "mapping-auto-userns": Case(
            spec(user_mapping=UserMapping("auto-userns", size=4096)),
            {
                ("HostConfig", "IDMappings", "UidMap"): ["0:1:4096"],
                ("HostConfig", "IDMappings", "GidMap"): ["0:1:4096"],
            },
        ),
        "mapping-ids": Case(
            spec(user_mapping=UserMapping.parse("0:1:1000,1000:0:1;0:1:100,100:0:1,101:101:9")),
            {
                **keep_id,
                ("HostConfig", "IDMappings", "UidMap"): ["0:1:1000", "1000:0:1"],
                ("HostConfig", "IDMappings", "GidMap"): ["0:1:100", "100:0:1", "101:101:9"],
            },
        ),
        "groups": Case(
            spec(groups=["1234", "users"]), {("HostConfig", "GroupAdd"): ["1234", "users"]}
        ),
        "limits": Case(
            spec(resources=Resources(memory=1 << 30, cpus=1.5)),
            {
                ("HostConfig", "Memory"): 1 << 30,
                ("HostConfig", "MemorySwap"): 2 << 30,
                ("HostConfig", "NanoCpus"): 1_500_000_000,
            },
            needs="limits",
        ),
        "limits-guarantees": Case(
            spec(
                resources=Resources(
                    1 << 30, memory_swap=1 << 30, memory_guarantee=1 << 29, cpu_guarantee=0.5
                )
            ),
            {
                ("HostConfig", "Memory"): 1 << 30,
                ("HostConfig", "MemorySwap"): 1 << 30,
                ("HostConfig", "MemoryReservation"): 1 << 29,
                ("HostConfig", "CpuShares"): 512,
            },
            needs="limits",
        ),
        "limits-pids": Case(
            spec(resources=Resources(pids=100)), {("HostConfig", "PidsLimit"): 100}, needs="limits"
        ),
        "shm-size": Case(spec(shm_size=1 << 24), {("HostConfig", "ShmSize"): 1 << 24}),
        "ulimits": Case(
            spec(ulimits={"nofile": (512, 1024), "core": 0}),
            {
                ("HostConfig", "Ulimits"): holds(
                    {"Name": "RLIMIT_NOFILE", "Soft": 512, "Hard": 1024},
                    {"Name": "RLIMIT_CORE", "Soft": 0, "Hard": 0},
                )
            },
        ),
        "hostname": Case(spec(hostname="ada.example"), {("Config", "Hostname"): "ada.example"}),
        "extra-hosts": Case(
            spec(extra_hosts={"db.example.org": "192.0.2.7", "six": "2001:db8::1"}),
            {("HostConfig", "ExtraHosts"): ["db.example.org:192.0.2.7", "six:2001:db8::1"]},
        ),
        "dns": Case(
            spec(dns=["192.0.2.53", "2001:db8::53"]),
            {("HostConfig", "Dns"): ["192.0.2.53", "2001:db8::53"]},
        ),
        "dns-search": Case(
            spec(dns_search=["lab.example.org"], dns_options=["ndots:2", "rotate"]),
            {
                ("HostConfig", "DnsSearch"): ["lab.example.org"],
                ("HostConfig", "DnsOptions"): ["ndots:2", "rotate"],
            },
        ),
        "devices": Case(spec(devices=["/dev/fuse", "/dev/null:/dev/mynull:rw"])),
        "umask": Case(spec(umask="027"), {("Config", "Umask"): "0027"}),
        "annotations": Case(
            spec(annotations={"example.org/team": "ü"}),
            {("Config", "Annotations", "example.org/team"): "ü"},
        ),
        "capabilities": Case(
            spec(cap_add=["net_admin"], cap_drop=["CAP_CHOWN"]),
            {
                ("HostConfig", "CapAdd"): ["CAP_NET_ADMIN"],
                ("HostConfig", "CapDrop"): holds("CAP_CHOWN"),
            },
        ),
        "seccomp": Case(spec(seccomp_profile="unconfined")),
        "selinux": Case(spec(selinux_opts=["disable"])),
        "paths": Case(spec(masked_paths=["/proc/meminfo"], unmasked_paths=["ALL"])),
        "secrets": Case(
            spec(
                secrets=[
                    Secret(SECRET, uid=1000, gid=100, mode=0o400),
                    Secret(SECRET, target="/etc/own", uid=1000, gid=100, mode=0o400),
                    Secret(SECRET, "env", "LICENCE"),
                ]
            ),
            {
                ("Config", "Secrets", 0, "Name"): SECRET,
                ("Config", "Secrets", 1, "UID"): 1000,
                ("Config", "Secrets", 1, "Mode"): 0o400,
            },
        ),
        "no-new-privileges": Case(
            spec(no_new_privileges=True), {("HostConfig", "SecurityOpt"): ["no-new-privileges"]}
        ),
        "read-only": Case(spec(read_only=True), {("HostConfig", "ReadonlyRootfs"): True}),
        "tmpfs": Case(
            spec(mounts=[Mount("", "/scratch", kind="tmpfs", options=["size=16m", "mode=1770"])]),
            {
                ("HostConfig", "Tmpfs", "/scratch"): lambda found: (
                    {"size=16m", "mode=1770", "rw"} <= set(found.split(","))
                )
            },
        ),
        "extra": Case(
            spec(extra={"timezone": "Europe/Paris", "init": True, "env": {"A": "1"}}),
            {
                ("Config", "Timezone"): "Europe/Paris",
                ("HostConfig", "Init"): True,
                ("Config", "Env"): holds("A=1"),
            },
        ),
        "init": Case(spec(init=True), {("HostConfig", "Init"): True}),
        "stop": Case(
            spec(stop_signal="int", stop_timeout=0),
            {
                ("Config", "StopSignal"): either(2, "SIGINT"),
                ("Config", "StopTimeout"): 0,
            },
        ),
    }


def _built(image: str, account: Account, data: str) -> dict[str, Case]:
    def built(**options: Any) -> ContainerSpec:
        settings = ServerSettings(
            image=image,
            server=ServerName("8081", "ada"),
            environment={"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ada/", "N": 1},
            hub_port=8081,
            **options,
        )
        return build(settings, JOVYAN, account, port=PORT)

    everything = {
        "server": ServerName("8081", "ada", "a"),
        "cmd": ["jupyterhub-singleuser"],
        "args": ["--debug"],
        "extra_labels": {"team": "engines"},
        "working_dir": "{image_home}",
        "volumes": {data: "/data", f"{data}/": {"bind": "/{account}", "mode": "ro"}},
        "read_only_volumes": {f"{data}/.": "/ro"},
        "mem_limit": 1 << 30,
        "cpu_limit": 0.5,
        "entrypoint": ["/bin/sh", "--"],
        "container_user": "1000:100",
        "umask": "0077",
        "hostname": "{username}",
        "extra_hosts": {"db": "192.0.2.7"},
        "dns": ["192.0.2.53"],
        "extra_annotations": {"example.org/team": "engines"},
        "keep_groups": True,
        "mem_guarantee": 1 << 29,
        "cpu_guarantee": 0.25,
        "memswap_limit": -1,
        "pids_limit": 500,
        "shm_size": 1 << 24,
        "ulimits": {"nofile": 512},
        "devices": ["/dev/fuse"],
        "gpus": [],
        "cap_add": ["NET_RAW"],
        "cap_drop": ["CHOWN"],
        "seccomp_profile": "unconfined",
        "selinux_opts": ["level:s0:c1"],
        "masked_paths": ["/proc/meminfo"],
        "unmasked_paths": ["/proc/kcore"],
        "secrets": [f"{SECRET},target={{username}},mode=0400"],
        "read_only": True,
        "tmpfs": {"/scratch/": "16m", "/run": ""},
        "stop_signal": "SIGINT",
        "delete_grace_period": 5,
    }
    listens = "JUPYTERHUB_SERVICE_URL=http://0.0.0.0:8888/user/ada/"
    return {
        "built-private-slirp4netns": Case(
            built(),
            {
                ("Name",): "jupyter-8081--ada",
                ("Config", "Env"): holds(listens, "N=1"),
                ("Mounts", 0, "Destination"): "/home/jovyan",
                ("Mounts", 0, "Source"): account.home,
                ("Config", "Labels", "hub.jupyter.org/username"): "ada",
                ("HostConfig", "IDMappings", "UidMap"): holds("1000:0:1"),
            },
        ),
        "built-private-pasta": Case(
            built(engine=Engine((5, 4, 2), pasta=True)),
            {("Config", "Env"): holds(listens)},
            needs="pasta",
        ),
        "built-host": Case(
            built(network="host"),
            {
                ("HostConfig", "PortBindings"): either({}, None),
                ("Config", "Env"): holds(
                    f"JUPYTERHUB_SERVICE_URL=http://127.0.0.1:{PORT}/user/ada/"
                ),
            },
        ),
        "built-full": Case(
            build(
                ServerSettings(image=image, hub_port=8081, **everything),
                JOVYAN,
                account,
                port=PORT,
            ),
            {
                ("Name",): "jupyter-8081--ada--a",
                ("Config", "Cmd"): ["jupyterhub-singleuser", "--debug"],
                ("Config", "WorkingDir"): "/home/jovyan",
                ("Config", "Labels", "team"): "engines",
                ("Config", "Labels", "hub.jupyter.org/servername"): "a",
                ("Mounts",): lambda found: (
                    {m["Destination"]: m["RW"] for m in found}
                    == {
                        "/home/jovyan": True,
                        "/data": True,
                        f"/{account.name}": False,
                        "/ro": False,
                    }
                ),
                ("Config", "User"): "1000:100",
                ("Config", "Hostname"): "ada",
                ("Config", "Umask"): "0077",
                ("HostConfig", "ReadonlyRootfs"): True,
                ("HostConfig", "SecurityOpt"): holds("no-new-privileges"),
                ("HostConfig", "Tmpfs"): lambda found: (
                    set(found) == {"/scratch", "/run", "/tmp", "/var/tmp"}
                ),
                ("HostConfig", "Init"): True,
                ("Config", "StopTimeout"): 5,
            },
        ),
    }


JOVYAN = ImageFacts(
    id="f0" * 32,
    user="jovyan",
    working_dir="/home/jovyan",
    environment={"NB_USER": "jovyan", "NB_UID": "1000", "NB_GID": "100"},
    command=["start-notebook.py"],
    entrypoint=["tini", "--"],
)
"""As Jupyter's docker-stacks images are."""
