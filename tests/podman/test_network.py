"""Each kind of network: the Hub is found from inside, and the server from outside."""

from __future__ import annotations

import shutil
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from accounts import TINY_JOVYAN
from podmanspawner import SpecError, UserPodman, launching, server
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings

ASK = """
url=$JUPYTERHUB_API_URL; hostport=${url#http://}; hostport=${hostport%%/*}
host=${hostport%:*}; named=$(awk -v h=$host '$2 == h {print $1}' /etc/hosts | head -n 1)
mkdir -p /tmp/www
printf 'GET /hub/api HTTP/1.0\\r\\n\\r\\n' |
    nc -w 3 ${named:-$host} ${hostport##*:} >/tmp/www/said 2>&1
listen=${JUPYTERHUB_SERVICE_URL#http://}; listen=${listen%%/*}
exec httpd -f -p $listen -h /tmp/www
"""
"""Asks the Hub once, and serves what it said. busybox's own resolver is not to be used: static."""


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the Hub itself")

    def log_message(self, *_arguments):
        pass


@contextmanager
def hub_on(address):
    listening = ThreadingHTTPServer((address, 0), _Hub)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield listening.server_address[1]
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.fixture(scope="module")
def podman(ada):
    ada.load(TINY_JOVYAN)
    # names are no matter here; their server needs the account's bus where systemd runs
    ada.podman("network", "create", "--disable-dns", "lab")
    ada.podman("network", "create", "--disable-dns", "--internal", "cell")
    with UserPodman.for_user(ada.name) as podman:
        yield podman
    ada.podman("network", "rm", "lab", "cell")


@pytest.fixture
def launch(podman):
    """Return a function that launches a server and returns it, started."""

    def run(hub_port, **options):
        settings = ServerSettings(
            image=TINY_JOVYAN,
            server=ServerName("8081", "ada"),
            cmd=["sh", "-c", ASK],
            environment={
                "JUPYTERHUB_API_URL": f"http://127.0.0.1:{hub_port}/hub/api",
                "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ada/",
            },
            hub_port=hub_port,
            **options,
        )
        return launching.launch(podman, settings, pull_policy="never")

    yield run
    for container in podman.containers():
        podman.remove(container.id)


def fetched(port, path="said", host="127.0.0.1"):
    """Return what the server serves, once it does."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/{path}", timeout=3) as answer:
                return answer.read().decode()
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server is not reached")


@pytest.mark.parametrize(
    ("network", "everywhere"),
    [
        ("private", False),
        ("private", True),
        ("host", False),
        ("slirp4netns", False),
        ("slirp4netns:cidr=10.9.0.0/24,mtu=1500", False),
        ("slirp4netns:port_handler=slirp4netns", False),
        ("slirp4netns:allow_host_loopback=false", True),
        ("lab", True),
        ("bridge", True),
    ],
)
def test_both_find_each_other(podman, launch, network, everywhere):
    with hub_on("0.0.0.0" if everywhere else "127.0.0.1") as hub_port:
        started = launch(hub_port, network=network, hub_everywhere=everywhere)
        assert "the Hub itself" in fetched(started.port), podman.logs(started.id)
        assert server.listening(podman, started.id, "127.0.0.1", started.port)


def test_what_is_reached_of_the_hosts_loopback(podman, launch, ada):
    """By pasta the Hub's port alone; slirp4netns, all that older engines have, opens it whole."""
    with hub_on("127.0.0.1") as hub_port, hub_on("127.0.0.1") as other_port:
        started = launch(hub_port, network="private")
        assert "the Hub itself" in fetched(started.port)
        gateway = "ip route | awk '/^default/ {print $3}'"
        hosts = "awk '!/^#/ {print $1}' /etc/hosts"
        look = f"""
            for host in 127.0.0.1 10.0.2.2 $({gateway}) $({hosts}); do
                printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 $host {other_port} && echo by $host
            done; true
        """
        said = ada.podman("exec", started.id, "sh", "-c", look)
    if shutil.which("pasta") and podman.engine_version >= (4, 4):
        assert "the Hub itself" not in said
        assert "by " not in said
    else:
        assert "the Hub itself" in said
        assert "by 10.0.2.2" in said


@pytest.mark.parametrize(
    ("network", "options", "remedy"),
    [
        ("lab", {}, "hub_ip = '0.0.0.0'"),
        ("slirp4netns:allow_host_loopback=false", {}, "hub_ip = '0.0.0.0'"),
        ("cell", {"hub_everywhere": True}, "internal.*--internal"),
        ("no-such", {"hub_everywhere": True}, "podman network create no-such"),
        ("none", {}, "Use 'private'"),
        ("pasta", {}, "network"),
    ],
)
def test_a_network_without_the_hub_is_refused(podman, launch, network, options, remedy):
    if network == "pasta" and podman.engine_version >= (4, 4):
        pytest.skip("this Podman has pasta")
    with pytest.raises(SpecError, match=remedy) as caught:
        launch(18081, network=network, **options)
    assert caught.value.option == "network"
    assert podman.containers() == []


def test_ports_within_a_range(launch):
    started = launch(18081, port_range=(31500, 31509))
    assert 31500 <= started.port <= 31509
    fetched(started.port)


def test_extra_ports(podman, launch, ada):
    """Both get a port that the engine picks. UDP is only seen to listen."""
    script = "mkdir -p /tmp/www; echo told > /tmp/www/a; httpd -p 8501 -h /tmp/www"
    started = launch(
        18081,
        entrypoint=["sh", "-c", f'{script}; exec "$@"', "sh"],
        extra_ports=[8501, "127.0.0.2::5000/udp"],
    )
    http, udp = (ada.podman("port", started.id, port).strip() for port in ("8501/tcp", "5000/udp"))
    assert http.startswith("127.0.0.1:")
    assert fetched(http.rpartition(":")[2], "a") == "told\n"
    sockets = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()]
    local = f"0200007F:{int(udp.rpartition(':')[2]):04X}"
    assert [words[7] for words in sockets if words[1] == local] == [str(ada.account.uid)]
    fetched(started.port)


def test_a_kept_container_keeps_its_ports(podman, launch, ada):
    options = {"extra_ports": [8501], "remove": False}
    started = launch(18081, **options)
    extra = ada.podman("port", started.id, "8501/tcp")
    podman.stop(started.id, seconds=0)
    settings = {**options, "cmd": ["sh", "-c", ASK]}
    again = launching.launch(
        podman,
        ServerSettings(
            image=TINY_JOVYAN,
            server=ServerName("8081", "ada"),
            environment={
                "JUPYTERHUB_API_URL": "http://127.0.0.1:18081/hub/api",
                "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ada/",
            },
            hub_port=18081,
            **settings,
        ),
        pull_policy="never",
    )
    assert again.resumed
    assert ada.podman("port", started.id, "8501/tcp") == extra
