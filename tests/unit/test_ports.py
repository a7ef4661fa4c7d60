"""Who listens on a port, by the kernel's own word."""

from __future__ import annotations

import os
import socket

import pytest

from podmanspawner import SpecError, ports


@pytest.fixture
def listen():
    """Return a function that listens on an address and returns the port."""
    opened = []

    def start(host, port=0, backlog=1):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened.append(socket.socket(family))
        opened[-1].bind((host, port))
        if backlog:
            opened[-1].listen(backlog)
        return opened[-1].getsockname()[1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture(params=["asked", "read"])
def way(request, monkeypatch):
    """The kernel is asked, or its table is read where it cannot be."""
    if request.param == "read":
        monkeypatch.setattr(ports, "_NETLINK_SOCK_DIAG", 255)
    else:
        monkeypatch.delattr(ports, "_read")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("listens_on", "asked", "seen"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.2", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
    ],
)
def test_own_listener(listen, listens_on, asked, seen):
    port = listen(listens_on)
    assert ports.listener_uids(asked, port) == ({os.getuid()} if seen else set())


@pytest.mark.usefixtures("way")
def test_bound_is_not_listening(listen):
    port = listen("127.0.0.1", backlog=0)
    assert not ports.listener_uids("127.0.0.1", port)


@pytest.mark.usefixtures("way")
def test_connected_is_not_listening(listen):
    port = listen("127.0.0.1")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        own_port = connection.getsockname()[1]
        assert not ports.listener_uids("127.0.0.1", own_port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_free_port(listen, host):
    port = ports.free_port(host)
    assert not ports.listener_uids(host, port)
    assert listen(host, port) == port


def test_free_ports_differ():
    assert len({ports.free_port() for _ in range(20)}) > 1


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 1 1
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002        0 2 1
   2: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1003        0 3 1
   3: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1004        0 4 1
   4: 00000000:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1005        0 5 1
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F92 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1006
   1: 00000000000000000000000001000000:1F93 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1007
   2: 0000000000000000FFFF00000100007F:1F94 00000000000000000000000000000000:0000 0A 0:0 0:0 0 1008
"""


@pytest.mark.parametrize(
    ("host", "port", "uids"),
    [
        ("127.0.0.1", 8080, {1001}),  # the exact address takes the connection
        ("127.0.0.2", 8080, {1003}),
        ("127.0.0.3", 8080, {1002}),
        ("127.0.0.1", 8081, set()),  # a connection, not a listener
        ("127.0.0.1", 8082, {1005, 1006}),
        ("::1", 8083, {1007}),
        ("127.0.0.1", 8083, set()),
        ("127.0.0.1", 8084, {1008}),
        ("127.0.0.1", 8085, set()),
    ],
)
def test_listeners_of_others(tmp_path, monkeypatch, host, port, uids):
    """The kernel's tables as a host with many users has them."""
    monkeypatch.setattr(ports, "_NETLINK_SOCK_DIAG", 255)
    (tmp_path / "tcp").write_text(TABLE)
    (tmp_path / "tcp6").write_text(TABLE_6)
    monkeypatch.setattr(ports, "Path", lambda folder, name: {"/proc/net": tmp_path}[folder] / name)
    assert ports.listener_uids(host, port) == uids


def test_listeners_of_another_uid(listen):
    """What the kernel says of a socket is its owner, not who asks."""
    os.seteuid(12345)
    try:
        port = listen("127.0.0.1")
    finally:
        os.seteuid(0)
    assert ports.listener_uids("127.0.0.1", port) == {12345}


@pytest.mark.usefixtures("way")
def test_the_one_of_many_that_takes_the_connection(listen):
    """On the same port: others' on other addresses, and one of another uid on this one."""
    port = listen("127.0.1.1")
    for number in range(2, 250):
        listen(f"127.0.1.{number}", port)
    os.seteuid(12345)
    try:
        listen("127.0.2.1", port)
    finally:
        os.seteuid(0)
    assert ports.listener_uids("127.0.2.1", port) == {12345}
    assert ports.listener_uids("127.0.1.249", port) == {0}
    assert ports.listener_uids("127.0.2.2", port) == set()


def test_a_port_within_a_range(listen):
    mine, other = "127.0.3.1", "127.0.3.2"  # where no other test's connections are
    taken = listen(mine)
    first = min(taken, 65534)
    assert ports.free_port(mine, (first, first + 1)) != taken
    assert ports.free_port(other, (taken, taken)) == taken
    with pytest.raises(SpecError, match=f"all ports from {taken} to {taken} of {mine}.*wider"):
        ports.free_port(mine, (taken, taken))
