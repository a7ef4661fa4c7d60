"""``ContainerSpec``: its JSON, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from podmanspawner.checks import signal_number
from podmanspawner.errors import SpecError
from podmanspawner.identity import UserMapping
from podmanspawner.mounts import FIELDS, Mount
from podmanspawner.network import Port
from podmanspawner.resources import Resources, gpu_devices
from podmanspawner.secrets import Secret
from podmanspawner.spec import FINGERPRINT_LABEL, ContainerSpec
from specs import cases

GOLDEN = Path(__file__).parent / "golden"
CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    file = GOLDEN / f"{name}.json"
    text = json.dumps(CASES[name].spec.to_json(), indent=2, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text)
    assert text == file.read_text()


def test_no_golden_is_left_over():
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(CASES)


def test_every_field_has_a_golden():
    seen = {key for case in CASES.values() for key in case.spec.to_json()}
    seen = seen - {"timezone", "read_write_tmpfs", "idmappings", "secret_env"} | {"extra"}
    seen -= {"healthLogDestination", "healthMaxLogCount", "healthMaxLogSize", "log_configuration"}
    renamed = {"environment": "env", "ports": "portmappings", "network": "netns",
               "user_mapping": "userns", "resources": "resource_limits",
               "working_dir": "work_dir", "ulimits": "r_limits", "dns": "dns_server",
               "extra_hosts": "hostadd", "dns_options": "dns_option",
               "read_only": "read_only_filesystem", "masked_paths": "mask",
               "seccomp_profile": "seccomp_profile_path", "unmasked_paths": "unmask",
               "healthcheck": "healthconfig"}  # fmt: skip
    fields = {field.name for field in dataclasses.fields(ContainerSpec)} | set(FIELDS)
    assert seen == {renamed.get(name, name) for name in fields}


def make(**options):
    return ContainerSpec(**{"image": "busybox", **options})


@pytest.mark.parametrize(
    ("option", "remedy", "function"),
    [
        ("image", "name one such as", lambda: make(image="")),
        ("image", "name one such as", lambda: make(image="-v")),
        ("image", "name one such as", lambda: make(image="a b")),
        ("image", "name one such as", lambda: make(image="a\n")),
        ("image", "name one such as", lambda: make(image="a\0")),
        ("name", "must match", lambda: make(name="")),
        ("name", "must match", lambda: make(name="-a")),
        ("name", "must match", lambda: make(name="a b")),
        ("name", "must match", lambda: make(name="a\n")),
        ("cmd", "write a list", lambda: make(command="echo a")),
        ("cmd", "texts", lambda: make(command=["echo", 1])),
        ("cmd", "NUL", lambda: make(command=["a\0b"])),
        ("entrypoint", "write a list", lambda: make(entrypoint="tini")),
        ("environment", "drop '='", lambda: make(environment={"": "1"})),
        ("environment", "drop '='", lambda: make(environment={"A=B": "1"})),
        ("environment", "drop '='", lambda: make(environment={"A\0": "1"})),
        ("environment", "text without NUL", lambda: make(environment={"A": "1\0"})),
        ("environment", "text without NUL", lambda: make(environment={"A": 1})),
        ("extra_labels", "texts", lambda: make(labels={"": "1"})),
        ("extra_labels", "texts", lambda: make(labels={"a": 1})),
        ("working_dir", "absolute", lambda: make(working_dir="work")),
        ("working_dir", "absolute", lambda: make(working_dir="")),
        ("volumes", "absolute", lambda: Mount("data", "/data")),
        ("volumes", "absolute", lambda: Mount("/srv/../data", "/data")),
        ("volumes", "absolute", lambda: Mount.bind("", "/data")),
        ("volumes", "absolute", lambda: Mount.bind("/srv", "data")),
        ("volumes", "absolute", lambda: Mount.bind("/srv", "")),
        ("volumes", "absolute", lambda: Mount.bind("/srv", "/a/../data")),
        ("volumes", "control", lambda: Mount("/srv\0", "/data")),
        ("volumes", "control", lambda: Mount("/srv", "/da\nta")),
        ("volumes", "below '/'", lambda: Mount("/srv", "/data/")),
        ("volumes", "below '/'", lambda: Mount.bind("/srv", "/")),
        ("volumes", "below '/'", lambda: Mount.bind("/srv", "//")),
        ("volumes", "below '/'", lambda: Mount.bind("/srv", "/./")),
        ("read_only_volumes", "absolute", lambda: Mount("x", "/data", read_only=True)),
        ("volumes", "a target of its own",
         lambda: make(mounts=[Mount.bind("/a", "/data"), Mount.bind("/b", "/data/")])),
        ("port", "1 to 65535", lambda: Port(0, 1)),
        ("port", "1 to 65535", lambda: Port(1, 65536)),
        ("port", "1 to 65535", lambda: Port(-1, 1)),
        ("host_ip", "literal", lambda: Port(1, 1, "localhost")),
        ("host_ip", "literal", lambda: Port(1, 1, "")),
        ("host_ip", "literal", lambda: Port(1, 1, "127.1")),
        ("network", "none of", lambda: make(network="lab")),
        ("network", "to go with 'bridge'", lambda: make(networks=["lab"])),
        ("network", "to go with 'bridge'", lambda: make(network="bridge", networks=["a b"])),
        ("port", "'tcp' or 'udp'", lambda: Port(1, protocol="sctp")),
        ("port", "1 or more", lambda: Port(1, count=0)),
        ("port", "1 to 65535", lambda: Port(65535, count=2)),
        ("port", "1 to 65535", lambda: Port(1, 65535, count=2)),
        ("extra_ports", "no port to publish", lambda: Port.parse("")),
        ("extra_ports", "no port to publish", lambda: Port.parse("0")),
        ("extra_ports", "no port to publish", lambda: Port.parse("65536")),
        ("extra_ports", "no port to publish", lambda: Port.parse("127.0.0.1:80")),
        ("extra_ports", "no port to publish", lambda: Port.parse("localhost:1:80")),
        ("extra_ports", "no port to publish", lambda: Port.parse("80/sctp")),
        ("extra_ports", "no port to publish", lambda: Port.parse("9-8")),
        ("extra_ports", "2 ports cannot be 3", lambda: Port.parse("1-3:1-2")),
        ("extra_ports", "no port to publish", lambda: Port.parse("::1:1:80")),
        ("extra_ports", "no port to publish", lambda: Port.parse("1:2:3:4")),
        ("extra_ports", "no port to publish", lambda: Port.parse("80\n")),
        ("network", "publishes no ports", lambda: make(network="host", ports=[Port(1, 1)])),
        ("network", "takes no options", lambda: make(network="host", network_options=["-T"])),
        ("mem_limit", "at least", lambda: Resources(memory=-1)),
        ("mem_limit", "at least", lambda: Resources(memory=0)),
        ("mem_limit", "at least", lambda: Resources(memory=6 * 1024 * 1024 - 1)),
        ("cpu_limit", "at least", lambda: Resources(cpus=0)),
        ("cpu_limit", "at least", lambda: Resources(cpus=-1)),
        ("cpu_limit", "at least", lambda: Resources(cpus=0.009)),
        ("cpu_limit", "at least", lambda: Resources(cpus=float("nan"))),
        ("cpu_limit", "at least", lambda: Resources(cpus=float("inf"))),
        ("cpu_guarantee", "at least", lambda: Resources(cpu_guarantee=0)),
        ("cpu_guarantee", "more than cpu_limit", lambda: Resources(cpus=1, cpu_guarantee=2)),
        ("mem_guarantee", "at least", lambda: Resources(memory_guarantee=0)),
        ("mem_guarantee", "more than mem_limit",
         lambda: Resources(memory=1 << 30, memory_guarantee=2 << 30)),
        ("memswap_limit", "less than mem_limit",
         lambda: Resources(memory=1 << 30, memory_swap=1)),
        ("memswap_limit", "less than mem_limit", lambda: Resources(memory_swap=1 << 30)),
        ("memswap_limit", "less than mem_limit", lambda: Resources(memory_swap=-1)),
        ("memswap_limit", "less than mem_limit",
         lambda: Resources(memory=1 << 30, memory_swap=-2)),
        ("gpus", "no number of GPUs", lambda: gpu_devices(-1)),
        ("gpus", "no number of GPUs", lambda: gpu_devices(True)),
        ("gpus", "nvidia-ctk", lambda: gpu_devices("")),
        ("gpus", "nvidia-ctk", lambda: gpu_devices("all,none")),
        ("gpus", "nvidia-ctk", lambda: gpu_devices(["a/b"])),
        ("gpus", "nvidia-ctk", lambda: gpu_devices([None])),
        ("gpus", "nvidia-ctk", lambda: gpu_devices([-1])),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("nomap")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("keep-id:uid=1")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("keep-id:uid=-1,gid=1")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("keep-id:uid=1,gid=1,x=1")),
        ("user_mapping", "'root'", lambda: UserMapping.parse("keep-id:uid=0,gid=0")),
        ("user_mapping", "'root'", lambda: UserMapping.parse("keep-id:uid=1000,gid=0")),
        ("user_mapping", "ids from 1", lambda: UserMapping("keep-id", 2**32, 1)),
        ("user_mapping", "belong together", lambda: UserMapping("keep-id", 1000)),
        ("user_mapping", "belong together", lambda: UserMapping("root", 1, 1)),
        ("user_mapping", "none of", lambda: UserMapping("auto")),
        ("user_mapping", "1 or more ids", lambda: UserMapping.parse("auto-userns:size=0")),
        ("user_mapping", "1 or more ids", lambda: UserMapping("root", size=1)),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("auto-userns:size=-1")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("auto-userns:uidmapping=0:0:1")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("0:1")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("0:1:2;")),
        ("user_mapping", "'auto'", lambda: UserMapping.parse("+0:@1000:1")),
        ("user_mapping", "no range", lambda: UserMapping.parse("0:1:0")),
        ("user_mapping", "no range", lambda: UserMapping.parse("0:1:9999999999")),
        ("user_mapping", "two ranges of the uids have the container's id 4",
         lambda: UserMapping.parse("0:1:5,4:9:1;0:0:1")),
        ("user_mapping", "two ranges of the gids have the host's id 0",
         lambda: UserMapping.parse("0:1:5;0:0:1,1:0:1")),
        ("user_mapping", "comes up without its root", lambda: UserMapping.parse("1:1:5")),
        ("user_mapping", "belong together", lambda: UserMapping("ids", uids=[(0, 1, 5)])),
        ("user_mapping", "belong together", lambda: UserMapping("ids")),
        ("user_mapping", "belong together",
         lambda: UserMapping("root", uids=[(0, 1, 5)], gids=[(0, 1, 5)])),
        ("supplemental_gids", "no group", lambda: make(groups=["a b"])),
        ("supplemental_gids", "no group", lambda: make(groups=["-1"])),
        ("supplemental_gids", "no group", lambda: make(groups=["1:2"])),
        ("supplemental_gids", "write a list", lambda: make(groups="users")),
        ("stop_signal", "use a name", lambda: make(stop_signal="SIGNOTHING")),
        ("stop_signal", "use a name", lambda: make(stop_signal="")),
        ("stop_signal", "use a name", lambda: make(stop_signal=0)),
        ("stop_signal", "use a name", lambda: make(stop_signal=65)),
        ("stop_signal", "use a name", lambda: make(stop_signal=-2)),
        ("stop_timeout", "0 or more", lambda: make(stop_timeout=-1)),
        ("pids_limit", "-1 for no limit", lambda: Resources(pids=0)),
        ("pids_limit", "-1 for no limit", lambda: Resources(pids=-2)),
        ("shm_size", "at least 4096", lambda: make(shm_size=0)),
        ("shm_size", "at least 4096", lambda: make(shm_size=-1)),
        ("ulimits", "known: core", lambda: make(ulimits={"nofiles": 1})),
        ("ulimits", "known: core", lambda: make(ulimits={"NOFILE": 1})),
        ("ulimits", "or \\(soft, hard\\)", lambda: make(ulimits={"nofile": (1, 2, 3)})),
        ("ulimits", "or \\(soft, hard\\)", lambda: make(ulimits={"nofile": "1024"})),
        ("ulimits", "or \\(soft, hard\\)", lambda: make(ulimits={"nofile": None})),
        ("ulimits", "or \\(soft, hard\\)", lambda: make(ulimits={"nofile": True})),
        ("ulimits", "or \\(soft, hard\\)", lambda: make(ulimits={"nofile": -2})),
        ("ulimits", "is above", lambda: make(ulimits={"nofile": (2, 1)})),
        ("ulimits", "is above", lambda: make(ulimits={"nofile": (-1, 1)})),
        ("hostname", "no host name", lambda: make(hostname="")),
        ("hostname", "no host name", lambda: make(hostname="a_b")),
        ("hostname", "no host name", lambda: make(hostname="-a")),
        ("hostname", "no host name", lambda: make(hostname="a" * 65)),
        ("hostname", "no host name", lambda: make(hostname="a\n")),
        ("extra_hosts", "no host name", lambda: make(extra_hosts={"a b": "192.0.2.7"})),
        ("extra_hosts", "literal", lambda: make(extra_hosts={"db": "db.example.org"})),
        ("extra_hosts", "without it", lambda: make(extra_hosts={"db": "host-gateway"})),
        ("dns", "literal", lambda: make(dns=["ns.example.org"])),
        ("dns", "write a list", lambda: make(dns="192.0.2.53")),
        ("devices", "such as '/dev/fuse'", lambda: make(devices=["fuse"])),
        ("devices", "such as '/dev/fuse'", lambda: make(devices=["/etc/shadow"])),
        ("devices", "such as '/dev/fuse'", lambda: make(devices=["/dev/../etc/shadow"])),
        ("devices", "such as '/dev/fuse'", lambda: make(devices=["/dev/null:rwx"])),
        ("devices", "such as '/dev/fuse'", lambda: make(devices=["nvidia.com/gpu"])),
        ("devices", "write a list", lambda: make(devices="/dev/fuse")),
        ("umask", "octal", lambda: make(umask="8")),
        ("umask", "octal", lambda: make(umask="22")),
        ("umask", "octal", lambda: make(umask="1777")),
        ("umask", "octal", lambda: make(umask="u=rwx")),
        ("extra_annotations", "texts", lambda: make(annotations={"": "a"})),
        ("extra_annotations", "texts", lambda: make(annotations={"a": 1})),
        ("container_user", "such as '1000:100'", lambda: make(user="a b")),
        ("container_user", "such as '1000:100'", lambda: make(user="-1")),
        ("container_user", "such as '1000:100'", lambda: make(user="1000:")),
        ("container_user", "such as '1000:100'", lambda: make(user="")),
        ("cap_add", "did you mean NET_RAW", lambda: make(cap_add=["NET_ROW"])),
        ("cap_add", "capabilities\\(7\\)", lambda: make(cap_add=["xyzzy"])),
        ("cap_drop", "capabilities\\(7\\)", lambda: make(cap_drop=[""])),
        ("cap_drop", "write a list", lambda: make(cap_drop="ALL")),
        ("seccomp_profile", "absolute", lambda: make(seccomp_profile="profile.json")),
        ("seccomp_profile", "absolute", lambda: make(seccomp_profile="")),
        ("seccomp_profile", "absolute", lambda: make(seccomp_profile="/a/../b")),
        ("selinux_opts", "no option of a label", lambda: make(selinux_opts=["label=disable"])),
        ("selinux_opts", "no option of a label", lambda: make(selinux_opts=["type:"])),
        ("selinux_opts", "write a list", lambda: make(selinux_opts="disable")),
        ("masked_paths", "absolute", lambda: make(masked_paths=["ALL"])),
        ("masked_paths", "absolute", lambda: make(masked_paths=["proc"])),
        ("unmasked_paths", "absolute", lambda: make(unmasked_paths=["all"])),
        ("unmasked_paths", "write a list", lambda: make(unmasked_paths="ALL")),
        ("secrets", "two secrets at 'a'", lambda: make(secrets=[Secret("a"), Secret("a")])),
        ("secrets", "one owner and mode",
         lambda: make(secrets=[Secret("a"), Secret("a", target="b", mode=0o400)])),
        ("secrets", "in environment already",
         lambda: make(secrets=[Secret("A", "env")], environment={"A": "1"})),
        ("tmpfs", "no option", lambda: Mount("", "/a", kind="tmpfs", options=["size=lots"])),
        ("tmpfs", "no option", lambda: Mount("", "/a", kind="tmpfs", options=["z"])),
        ("tmpfs", "no source", lambda: Mount("/a", "/a", kind="tmpfs")),
        ("tmpfs", "below '/'", lambda: Mount("", "/", kind="tmpfs")),
        ("extra_spec", "did you mean timezone", lambda: make(extra={"time_zone": "local"})),
        ("extra_spec", "API reference", lambda: make(extra={"": 1})),
        ("extra_spec", "use extra_labels", lambda: make(extra={"labels": {}})),
        ("extra_spec", "not to be changed", lambda: make(extra={"name": "x"})),
        ("extra_spec", "JSON", lambda: make(extra={"sysctl": {"a": object()}})),
        ("extra_spec", "JSON", lambda: make(extra={"sysctl": {"a": float("nan")}})),
        ("mounts", "no kind of mount", lambda: Mount("/a", "/a", kind="nfs")),
        ("volumes", "name of a volume", lambda: Mount("a/b", "/a", kind="volume")),
        ("volumes", "name of a volume", lambda: Mount("-a", "/a", kind="volume")),
        ("volumes", "name of a volume", lambda: Mount("", "/a", kind="volume")),
        ("mounts", "no image", lambda: Mount("", "/a", kind="image")),
        ("mounts", "no option", lambda: Mount("a", "/a", kind="image", options=["z"])),
        ("mounts", "absolute", lambda: Mount("a", "/a", kind="overlay")),
        ("mounts", "read-only bind", lambda: Mount("/a", "/a", kind="overlay", read_only=True)),
        ("volumes", "no option", lambda: Mount("/a", "/a", options=["upperdir=/x"])),
        ("volumes", "no option", lambda: Mount("/a", "/a", options=["ro"])),
        ("volumes", "write a list", lambda: Mount("/a", "/a", options="z")),
    ],
)  # fmt: skip
def test_refused(option, remedy, function):
    with pytest.raises(SpecError, match=remedy) as caught:
        function()
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("value", "number"),
    [("SIGTERM", 15), ("TERM", 15), ("int", 2), ("9", 9), (3, 3), ("SIGRTMIN", 34), (64, 64),
     ("SIGRTMIN+3", 37), ("rtmax-14", 50)],
)  # fmt: skip
def test_signal_number(value, number):
    assert signal_number(value) == number


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("root", UserMapping("root")),
        ("keep-id", UserMapping("keep-id")),
        ("keep-id:uid=1000,gid=100", UserMapping("keep-id", 1000, 100)),
        ("auto-userns", UserMapping("auto-userns")),
        ("auto-userns:size=5", UserMapping("auto-userns", size=5)),
        (
            "0:1:10,10:0:1;0:0:9",
            UserMapping("ids", uids=[(0, 1, 10), (10, 0, 1)], gids=[(0, 0, 9)]),
        ),
        ("0:1:10", UserMapping("ids", uids=[(0, 1, 10)], gids=[(0, 1, 10)])),
    ],
)
def test_parse_mapping(text, mapping):
    assert UserMapping.parse(text) == mapping


@pytest.mark.parametrize(
    ("gpus", "devices"),
    [
        (None, ()),
        (0, ()),
        ([], ()),
        (2, ("nvidia.com/gpu=0", "nvidia.com/gpu=1")),
        ("all", ("nvidia.com/gpu=all",)),
        ("0:1", ("nvidia.com/gpu=0:1",)),
        ([3, "GPU-5c1a", "amd.com/gpu=all"],
         ("nvidia.com/gpu=3", "nvidia.com/gpu=GPU-5c1a", "amd.com/gpu=all")),
    ],
)  # fmt: skip
def test_gpu_devices(gpus, devices):
    assert gpu_devices(gpus) == devices


@pytest.mark.parametrize(
    ("resources", "limits"),
    [
        (Resources(), {}),
        (Resources(1 << 30), {"memory": {"limit": 1 << 30, "swap": 2 << 30}}),
        (Resources(1 << 30, memory_swap=-1), {"memory": {"limit": 1 << 30, "swap": -1}}),
        (Resources(memory_guarantee=1 << 20), {"memory": {"reservation": 1 << 20}}),
        (Resources(cpus=0.5, cpu_guarantee=0.25),
         {"cpu": {"quota": 50_000, "period": 100_000, "shares": 256}}),
        (Resources(cpu_guarantee=0.01), {"cpu": {"shares": 10}}),
        (Resources(cpu_guarantee=1000), {"cpu": {"shares": 262144}}),
        (Resources(pids=-1), {"pids": {"limit": -1}}),
    ],
)  # fmt: skip
def test_limits(resources, limits):
    assert resources.to_json() == limits


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("80", Port(80)),
        (":80", Port(80)),
        ("8080:80", Port(80, 8080)),
        ("127.0.0.2:8080:80/tcp", Port(80, 8080, "127.0.0.2")),
        ("0.0.0.0::80/udp", Port(80, 0, "0.0.0.0", "udp")),
        ("[::1]:8080:80", Port(80, 8080, "::1")),
        ("9000-9002:80-82", Port(80, 9000, count=3)),
        ("80-82/udp", Port(80, protocol="udp", count=3)),
    ],
)
def test_parse_port(text, port):
    assert Port.parse(text) == port


@pytest.mark.parametrize(
    ("text", "who"),
    [("root", 0), ("keep-id", 1001), ("keep-id:uid=7,gid=8", 7), ("auto-userns", None),
     ("0:1:5", None), ("0:1:5,5:0:1", 5)],
)  # fmt: skip
def test_who_is_the_account(text, who):
    assert UserMapping.parse(text).account_inside(1001) == who


def test_spec_keeps_its_own_values():
    environment, command = {"A": "1"}, ["sh"]
    spec = make(environment=environment, command=command)
    environment["A"] = command[0] = "changed"
    assert spec.to_json()["env"] == {"A": "1"}
    assert spec.command == ("sh",)
    with pytest.raises(TypeError):
        spec.environment["A"] = "2"
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.image = "other"


def test_extra_fields_are_merged_last():
    extra = {"env": {"B": "2"}, "cap_add": ["CAP_BPF"], "umask": None}
    body = make(environment={"A": "1"}, cap_add=["KILL"], umask="0022", extra=extra).to_json()
    assert body["env"] == {"A": "1", "B": "2"}
    assert body["cap_add"] == ["CAP_BPF"]
    assert "umask" not in body


def test_specs_compare_by_value():
    assert make(environment={"A": "1"}, command=["sh"]) == make(
        environment={"A": "1"}, command=("sh",)
    )


BASE = {"ports": [Port(8888, 1)], "labels": {"a": "1"}, "environment": {"A": "1", "B": "2"}}


@pytest.mark.parametrize(
    "change",
    [
        {"ports": [Port(8888, 2)]},
        {"labels": {"a": "1", FINGERPRINT_LABEL: "f"}},
        {"environment": {"B": "2", "A": "1"}},
        {"network": "private"},
    ],
)
def test_same_fingerprint(change):
    assert make(**BASE).fingerprint() == make(**{**BASE, **change}).fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"ports": [Port(8889, 1)]},
        {"ports": [Port(8888, 1, "0.0.0.0")]},
        {"ports": []},
        {"ports": [Port(8888, 1), Port(80, 2)]},
        {"labels": {"a": "2"}},
        {"environment": {"A": "1"}},
        {"image": "other"},
        {"command": ["sh"]},
        {"network": "none", "ports": []},
        {"resources": Resources(memory=1 << 30)},
        {"user_mapping": UserMapping("keep-id")},
    ],
)
def test_other_fingerprint(change):
    assert make(**BASE).fingerprint() != make(**{**BASE, **change}).fingerprint()


def test_fingerprint_stays_from_release_to_release():
    assert (
        make().fingerprint() == "83d329c0514badd9178410627dce69230069166ca4252104ec215abc2e8976cd"
    )
