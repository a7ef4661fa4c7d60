"""A real account whose Podman lies, and what must not suffer from it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tornado import web

from podmanspawner import (
    AccountError,
    ImageNotFound,
    PodmanError,
    ServiceError,
    SpecError,
    UntrustedServiceError,
)

_SERVICE = Path(__file__).with_name("service.py")


class Liar:
    """The account's service, a process of the account's, and a wire to tell it how to lie."""

    def __init__(self, account) -> None:
        self.name = account.name
        self.account = account.account
        ours, theirs = socket.socketpair()
        ours.settimeout(10)
        path = os.pathsep.join(sys.path)
        self.process = subprocess.Popen(
            [sys.executable, str(_SERVICE), account.name],
            stdin=theirs,
            env={**os.environ, "PYTHONPATH": path},
        )
        theirs.close()
        self._wire = ours.makefile("rwb")
        ours.close()
        self.order()

    def order(self, **order) -> dict:
        self._wire.write(json.dumps(order).encode() + b"\n")
        self._wire.flush()
        return json.loads(self._wire.readline())

    def close(self) -> None:
        self._wire.close()
        self.process.wait(10)


def threads():
    """Return how many threads of this process are the spawner's."""
    return sum("podmanspawner" in thread.name for thread in threading.enumerate())


def descriptors() -> dict[str, str]:
    """Return what this process has open, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


class Resources:
    """What this process uses; it must come back to that."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # ref: proc(5), forget the peak
        self.threads = threads()
        self.descriptors = descriptors()
        self.resident = self._status("VmRSS")

    @staticmethod
    def _status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

    @property
    def peak_growth(self) -> int:
        """Bytes of memory in use at worst since then, beyond those at the beginning."""
        return self._status("VmHWM") - self.resident

    def demand_level(self) -> None:
        end = time.monotonic() + 2
        while True:
            more, now = threads() - self.threads, descriptors()
            if more <= 0 and len(now) <= len(self.descriptors):
                return
            new = {number: link for number, link in now.items() if number not in self.descriptors}
            assert time.monotonic() < end, f"{more} threads more; {new}"
            time.sleep(0.01)


def kind(error):
    """Return the table's word for how a verb ended."""
    if error is None:
        return "fine"
    if isinstance(error, web.HTTPError):
        error = error.__cause__
    if isinstance(error, UntrustedServiceError):
        return error.reason
    names = {ImageNotFound: "image", PodmanError: "engine", ServiceError: "service"}
    names |= {SpecError: "spec", AccountError: "account", asyncio.TimeoutError: "timeout"}
    found = [name for known, name in names.items() if isinstance(error, known)]
    assert found, f"no typed error: {error!r}"
    return found[0]
