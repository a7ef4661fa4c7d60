"""Host ports: a free one, and who listens on one."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTEN = "0A"  # ref: include/net/tcp_states.h, TCP_LISTEN


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens on at this moment.

    Another process may take it before it is used: whoever uses it tries again then.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def listener_uids(host: str, port: int) -> frozenset[int]:
    """Return the uids of the sockets that a connection to ``host:port`` could reach.

    A listener on the very address takes the connection before one on all addresses does.

    ref: proc(5), ``/proc/net/tcp``: the kernel's own word, no account can forge it.
    """
    exact, wildcard = set(), set()
    wanted = ipaddress.ip_address(host)
    for address, found_port, uid in _listeners():
        if found_port != port:
            continue
        if address == wanted:
            exact.add(uid)
        elif int(address) == 0:
            wildcard.add(uid)
    return frozenset(exact or wildcard)


def _listeners() -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, int]]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except FileNotFoundError:  # a kernel without IPv6
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTEN:
                address, port = words[1].split(":")
                yield _address(address), int(port, 16), int(words[7])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read the kernel's form: groups of four bytes, each in the machine's byte order."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    found = ipaddress.ip_address(raw)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
