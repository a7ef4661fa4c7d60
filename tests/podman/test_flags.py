"""Flags of ``podman run``: those of this machine's podman, and what its engine makes of them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from functools import partial

import pytest

from accounts import TINY
from podmanspawner import UserPodman, compat, fitting
from podmanspawner.builder import build
from podmanspawner.flags.table import FLAGS, LETTERS
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings
from podmanspawner.spec import LOG_BYTES

_HELP = re.compile(r"^ {2}(?:-(\w), | {4})--([a-z0-9-]+)(?: ([^ ]+))?  ", re.MULTILINE)
FRESH = re.compile(
    r"Created|Id$|Name$|CreateCommand|Path$|KeyHash|Hostname$|podmanspawner\."
    # written down by the command, for inspect alone
    r"|annotations\.(seccomp|label|userns|cpuset|pids-limit)|SecurityOpt|UsernsMode"
    r"|RLIMIT_(NOFILE|NPROC)"  # set by the command where nobody asked for any limit
)
"""What two containers never share."""


def listed(*command):
    """Return (letter, name, type) of each flag that podman lists."""
    text = subprocess.check_output(["podman", *command, "--help"], text=True)
    return _HELP.findall(text.partition("\nOptions:\n")[2].replace("\n      --help ", "\n"))


@pytest.mark.parametrize("command", ["run", ""])
def test_every_flag_of_this_podman_is_known(command):
    found = listed(*command.split())
    assert len(found) > 20
    for letter, name, kind in found:
        assert name in FLAGS, name
        assert (FLAGS[name].kind == "switch") == (not kind), name
        if command and letter:
            assert LETTERS[letter] == name


@pytest.fixture(scope="module")
def podman(ada):
    ada.load(TINY)
    ada.run("sh", "-c", "mkdir -p $HOME/data; echo from-ada | podman secret create note -")
    with UserPodman.for_user(ada.name) as podman:
        yield podman
        podman.secrets.remove("note")


def flat(shown, path=""):
    """Yield (path, value) of what inspect shows; lists of texts are sets of them."""
    if isinstance(shown, dict):
        for key, value in shown.items():
            yield from flat(value, f"{path}.{key}")
    elif isinstance(shown, list):
        for value in shown:
            text = in_order(json.dumps(value, sort_keys=True))
            if not FRESH.search(path) and not FRESH.search(text):
                yield f"{path}[{text}]", True
    elif not FRESH.search(path):
        none = ("PidsLimit", "MemorySwap", "MemorySwappiness")
        no_limit = path.endswith(none) and shown == -1  # 0 is none either
        yield path, 0 if no_limit else in_order(shown)


def in_order(text):
    """Return a text whose last part has commas, such as the options of a mount, sorted.

    Without "rw", which some engines add where others take it for granted.
    """
    if not isinstance(text, str) or "rprivate" not in text:
        return text
    first, colon, options = text.rpartition(":")
    return first + colon + ",".join(sorted({*options.strip('"').split(",")} - {"rw"}))


def inspected(ada, container):
    try:
        (shown,) = json.loads(ada.podman("inspect", container))
        return set(flat({key: shown[key] for key in ("Config", "HostConfig", "Mounts")}))
    finally:
        ada.podman("rm", "-f", container)


def changes(create, usual, flags):
    """Return what flags change, apart from what is always otherwise."""
    made = create(*flags)
    return sorted(map(str, made ^ usual))


@pytest.fixture(scope="module")
def by_podman(ada, podman):
    """Return what flags change in what inspect shows, by the command line."""

    def create(*flags):
        usual = [
            "--label=x=y",
            "--init",
            "--network=slirp4netns",
            "--security-opt=no-new-privileges",
            "--log-driver=k8s-file",
            f"--log-opt=max-size={LOG_BYTES}b",
        ]
        return inspected(ada, ada.podman("create", *usual, *flags, TINY).strip())

    return partial(changes, create, create())


@pytest.fixture(scope="module")
def by_us(ada, podman):
    """Return the same, by way of the settings."""
    facts = fitting.image_facts(podman, podman.images.inspect(TINY))

    def create(*flags):
        settings = ServerSettings(image=TINY, server=ServerName("1", "ada"), home_target="")
        settings = compat.Original(podman_additional_cmds=flags).changes.applied(settings)
        spec = build(settings, facts, podman.account, port=1)
        return inspected(ada, podman.create(replace(spec, ports=spec.ports[1:])))

    return partial(changes, create, create())


@pytest.mark.parametrize(
    "flags",
    [
        "--add-host db:192.0.2.7",
        "--annotation org.example.a=b",
        "--blkio-weight 100",
        "--cap-add NET_ADMIN,SYS_TIME --cap-drop MKNOD",
        "--cgroupns private",
        "--cpu-shares 512",
        "--cpus 1.5",
        "--cpuset-cpus 0",
        "-c512 --cpu-period=50000 --cpu-quota=20000",
        "--device /dev/fuse --device=/dev/null:/dev/nul:r",
        "--dns 192.0.2.53 --dns-search example.org --dns-opt timeout:3",
        "--dns none",
        "--entrypoint /bin/sleep",
        '--entrypoint ["/bin/sh","-c"]',
        "-e A=B --env C=D=E",
        "--group-add 100",
        "--health-cmd true --health-interval 1m30s --health-retries 5 --health-timeout 3s",
        "--health-cmd true --health-start-period 10s --health-on-failure kill",
        "--no-healthcheck",
        "-h lab",
        "--hostuser=HOME_OF",
        "--image-volume tmpfs",
        "--ipc none",
        "--pid host --init=false",
        "--uts host",
        "-l a=c --label d",
        "--log-driver k8s-file --log-opt max-size=1m",
        "--memory 64m",
        "--memory 0 --cpus 0",
        "--memory-reservation 32m",
        "--memory 64m --memory-swap 128m --memory-reservation 32m",
        "-m 64m --memory-swap -1",
        "--mount type=bind,src=DATA,dst=/data,ro",
        "--mount type=tmpfs,destination=/scratch,tmpfs-size=1m,tmpfs-mode=1777",
        "--mount type=volume,source=of-ada,target=/work",
        "--no-hosts",
        "--oom-score-adj 500",
        "--passwd-entry a:x:1:1::/:/bin/sh",
        "--personality LINUX32",
        "-p 127.0.0.1:18765:80,127.0.0.1:18766:81/udp",
        "--pids-limit 100",
        "--pids-limit 0",
        "--privileged",
        "--secret note",
        "--secret note,type=env,target=NOTE",
        "--secret note,target=other,uid=1,gid=2,mode=0400",
        "--security-opt no-new-privileges=false",
        "--security-opt seccomp=unconfined",
        "--security-opt label=disable --security-opt mask=/proc/a:/proc/b",
        "--security-opt unmask=ALL",
        "--shm-size 16m",
        "--stop-signal INT --stop-timeout 3",
        "--sysctl net.ipv4.ping_group_range=0,net.core.somaxconn=100",
        "--systemd always --init=false",
        "--timeout 100",
        "--tmpfs /scratch:size=1m,noexec",
        "--tmpfs /scratch:rw,size=787448k,mode=1777",
        "--tmpfs /scratch:ro",
        "--tz Europe/Paris",
        "--ulimit fsize=100:200 --ulimit core=0",
        "--umask 0077",
        "--umask 22",
        "--unsetenv HOME --unsetenv-all=false",
        "-u 1000:100",
        "--userns keep-id",
        "-v DATA:/data:ro,z -v of-ada:/work",
        "-v DATA:/data:O",
        "-vDATA:/data",
        "-w /tmp",
        "--http-proxy=false",
    ],
)
def test_the_engine_makes_the_same_of_it(by_podman, by_us, ada, flags):
    words = flags.replace("DATA", f"{ada.account.home}/data").replace("HOME_OF", ada.name).split()
    meant, made = by_podman(words), by_us(words)
    assert [f"+{line}" for line in made if line not in meant] == [
        f"-{line}" for line in meant if line not in made
    ]
