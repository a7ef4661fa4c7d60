"""Ports for what the tests themselves listen with."""

from __future__ import annotations

from pathlib import Path

from podmanspawner import ports

_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a free port of 127.0.0.1 that no connection gets before somebody listens on it.

    Of the kernel's own choice it might: tests beside this one connect all the time.
    """
    first, _ = _OF_CONNECTIONS.read_text().split()
    return ports.free_port(within=(10_000, int(first) - 1))
