"""The steps of a Hub's life, counted in the Hub itself, which dies at the one that it is told.

Its configuration file calls :func:`count_steps`. A step is each request to the engine (before it
is sent; unless it only reads also when it has been sent and when its answer is there), each
change that is committed to the Hub's database, each route that the proxy is told, and each
program that is started as an account; of the latter three before and after. While there is a file
``order`` in the Hub's folder, each step is a line of ``steps``; at the one that the order says
the Hub kills itself. With ``service`` it kills the account's Podman service; then the
steps are the requests alone, before each is sent and when it has been, those that only read too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import threading
import time
from pathlib import Path

from jupyterhub.proxy import ConfigurableHTTPProxy
from sqlalchemy import event
from sqlalchemy.orm import Session

from podmanspawner import privileges, transport

_VERSION = re.compile(r"^/v[0-9.]+/(libpod/)?")
_REQUEST = re.compile(r"(before|sent) (GET|POST|PUT|DELETE) ")
_ID = re.compile(r"[0-9a-f]{64}")


class Steps:
    """Counts steps."""

    def __init__(self, folder: Path, uid: int) -> None:
        self._folder, self._uid = folder, uid
        self._order = ""
        self.service_dies = False
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        with self._lock:
            try:
                order = (self._folder / "order").read_text()
            except FileNotFoundError:
                return
            if order != self._order:
                self._order, self._count = order, 0
            _, victim, last, delay = order.split()
            self.service_dies = victim == "service"
            if self.service_dies and not _REQUEST.match(name):
                return
            self._count += 1
            with (self._folder / "steps").open("a") as file:
                file.write(f"{name}\n")
            if last not in (str(self._count), name.replace(" ", "_")):
                return
            time.sleep(float(delay))
            for pid in [os.getpid()] if victim == "hub" else services(self._uid):
                with contextlib.suppress(ProcessLookupError):  # it went with another of them
                    os.kill(pid, signal.SIGKILL)
                    (self._folder / "killed").touch()


def services(uid: int) -> list[int]:
    """Return the processes of an account that serve its Podman's socket."""
    pids = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(pid.name) for pid in pids if _serves(pid, uid)]


def _serves(pid: Path, uid: int) -> bool:
    try:
        line = (pid / "cmdline").read_bytes()
        return b"system\0service" in line and f"Uid:\t{uid}\t" in (pid / "status").read_text()
    except OSError:  # it has ended
        return False


def count_steps(folder: Path, uid: int) -> None:
    """Count the steps of this process from now on."""
    step = Steps(folder, uid)
    _count_requests(step)
    _count_commits(step)
    _count_calls(step, privileges, "_start", lambda _account, program, *_, **__: program[0])
    _count_routes(step)


def _count_requests(step: Steps) -> None:
    usual = transport.VerifiedAdapter.send
    current = threading.local()

    @functools.wraps(usual)
    def send(self, request, **options):
        path = _ID.sub("ID", request.path_url)
        current.name = f"{request.method} {_VERSION.sub('', path)}"
        step(f"before {current.name}")
        current.sent = request.method == "GET" and not step.service_dies
        answer = usual(self, request, **options)
        if request.method != "GET":
            step(f"after {current.name}")
        return answer

    receive = transport._BoundedSocket.recv_into

    def recv_into(self, *arguments):
        if not getattr(current, "sent", True):
            current.sent = True
            step(f"sent {current.name}")
        return receive(self, *arguments)

    transport.VerifiedAdapter.send = send
    transport._BoundedSocket.recv_into = recv_into


def _count_commits(step: Steps) -> None:
    """Count commits that change something."""

    @event.listens_for(Session, "before_commit")
    def before(session):
        if session.new or session.dirty or session.deleted:
            session.info["changed"] = True
        if session.info.get("changed"):
            step("before commit")

    @event.listens_for(Session, "after_flush")
    def flushed(session, _context):
        session.info["changed"] = True

    @event.listens_for(Session, "after_commit")
    def after(session):
        if session.info.pop("changed", False):
            step("after commit")


def _count_calls(step: Steps, place, name: str, describe) -> None:
    usual = getattr(place, name)

    @functools.wraps(usual)
    def call(*arguments, **options):
        what = describe(*arguments, **options)
        step(f"before {what}")
        result = usual(*arguments, **options)
        step(f"after {what}")
        return result

    setattr(place, name, call)


def _count_routes(step: Steps) -> None:
    for verb in ("add_route", "delete_route"):
        usual = getattr(ConfigurableHTTPProxy, verb)

        def count(self, routespec, *arguments, verb=verb, usual=usual):
            async def call():
                step(f"before {verb} {routespec}")
                await usual(self, routespec, *arguments)
                step(f"after {verb} {routespec}")

            return call()

        setattr(ConfigurableHTTPProxy, verb, count)
