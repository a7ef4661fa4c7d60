"""Host ports: a free one, and who listens on one."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import random
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LISTEN = 10  # ref: include/net/tcp_states.h, TCP_LISTEN
_ANSWER_SECONDS = 1.0
_ANSWER_BYTES = 4096

# ref: sock_diag(7); struct inet_diag_req_v2 and inet_diag_msg, whose ports and addresses are in
# network order, all else in the machine's
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 0x1
_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBxxI2s2x16s16xIII")
_FOUND = struct.Struct("=xB62xI")
_NO_COOKIE = 0xFFFFFFFF


def free_port(host: str = "127.0.0.1", within: tuple[int, int] | None = None) -> int:
    """Return a TCP port that nothing listens on at this moment.

    Another process may take it before it is used: whoever uses it tries again then.

    Args:
        host: literal address of the host.
        within: first and last port to choose from; None for the kernel's choice.

    Raises:
        SpecError: all of them are taken.
    """
    if within is None:
        return _bound(host, 0)
    first, last = within
    for port in random.sample(range(first, last + 1), last + 1 - first):
        with contextlib.suppress(OSError):
            return _bound(host, port)
    raise SpecError(
        "port_range", f"all ports from {first} to {last} of {host} are taken; make it wider"
    )


def _bound(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # a port whose connections are being closed is free to whoever will listen
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def listener_uids(host: str, port: int) -> frozenset[int]:
    """Return the uids of the sockets that a connection to ``host:port`` could reach.

    A listener on the very address takes the connection before one on all addresses does. It is
    the kernel's own word, which no account can forge.
    """
    return Place(host, port).listener_uids()


class Place:
    """An address and port of this host, to ask again and again who listens there."""

    def __init__(self, host: str, port: int) -> None:
        """Prepare the question, which else would be a third of a poll after half a minute.

        Args:
            host: literal address of the host.
            port: a port of it.
        """
        self._address = address = ipaddress.ip_address(host)
        self._port = port
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        nobody = (0, _NO_COOKIE, _NO_COOKIE)
        query = _QUERY.pack(
            *(family, socket.IPPROTO_TCP, 1 << _LISTEN),
            *(port.to_bytes(2, "big"), address.packed),
            *nobody,
        )
        length = _HEADER.size + len(query)
        self._question = _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST, 0, 0) + query

    def listener_uids(self) -> frozenset[int]:
        """Do as the function of that name."""
        try:
            return _asked(self._question)
        except OSError:  # a kernel without the module inet_diag, or one that may not load it
            return _read(self._address, self._port)


def _asked(question: bytes) -> frozenset[int]:
    """Ask the kernel who would take a connection: as quick with many listeners as with one."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(_ANSWER_SECONDS)
        link.send(question)
        answer = link.recv(_ANSWER_BYTES)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        number = -int.from_bytes(answer[_HEADER.size :][:4], sys.byteorder, signed=True)
        if number == errno.ENOENT:
            return frozenset()
        raise OSError(number, os.strerror(number))
    state, uid = _FOUND.unpack_from(answer, _HEADER.size)
    return frozenset([uid] if state == _LISTEN else [])


def _read(wanted: _Address, port: int) -> frozenset[int]:
    """Read the kernel's table of all connections.

    ref: proc(5), ``/proc/net/tcp``
    """
    exact, wildcard = set(), set()
    for address, uid in _listeners(port):
        if address == wanted:
            exact.add(uid)
        elif int(address) == 0:
            wildcard.add(uid)
    return frozenset(exact or wildcard)


def _listeners(port: int) -> Iterator[tuple[_Address, int]]:
    """Return address and uid of whoever listens on a port."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in lines:
            words = line.split()
            address, found_port = words[1].split(":")
            if int(words[3], 16) == _LISTEN and int(found_port, 16) == port:
                yield _address(address), int(words[7])


def _address(text: str) -> _Address:
    """Read the kernel's form: groups of four bytes, each in the machine's byte order."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    return _plain(ipaddress.ip_address(raw))


def _plain(address: _Address) -> _Address:
    """Return the IPv4 address of an IPv6 one that stands for it."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
