"""Checks that run something: a container that looks for the Hub, and a whole server."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jupyterhub
from tornado import web

from podmanspawner.answers import one_line
from podmanspawner.errors import PodmanSpawnerError

from .engine import NO_IMAGE
from .findings import Check, Seen, failure, ok, refused, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podmanspawner.answers import RunResult

    from .case import Case
    from .hub import Lone

SERVER = "podmanspawner-doctor"
"""Name of the server that is tried, beside the user's own."""
_API = "JUPYTERHUB_API_URL"
_SECONDS = 120.0
_NO_TOOL = 97
_ASK_PYTHON = (
    "import socket, sys; host, port, path, tls = sys.argv[1:]; "
    "s = socket.create_connection((host, int(port)), 5); s.settimeout(5); "
    's.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode()); '
    'sys.exit(None if s.recv(1) or tls == "https" else "no answer")'
)
_ASK = f"""
if command -v python3 >/dev/null; then exec python3 -c '{_ASK_PYTHON}' "$@"; fi
if command -v nc >/dev/null; then
    # nc hangs up when its input ends, and a busy Hub does not answer then: a sleep holds it
    ask() {{ printf 'GET %s HTTP/1.0\\r\\n\\r\\n' "$1"; sleep 5 & }}
    said=$(ask "$3" | nc -w 5 "$1" "$2") || exit 1
    case $4$said in httpHTTP* | https*) exit 0 ;; *) echo "no answer"; exit 1 ;; esac
fi
exit {_NO_TOOL}
"""
"""Run in the server's image: ask HOST PORT PATH for anything; of https, to be let in is enough."""


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub's API does to who asks for its version."""

    def do_GET(self) -> None:
        body = b'{"version": "%s"}' % jupyterhub.__version__.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-JupyterHub-Version", jupyterhub.__version__)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _somebody_at(address: str, port: int) -> Iterator[str]:
    """Have somebody answer where the Hub listens: the Hub, or else this process."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True

    try:
        stand_in = Server((address, port), _Answer)
    except OSError:  # the Hub has it, or it is on another host
        yield "the Hub"
        return
    threading.Thread(target=stand_in.serve_forever, daemon=True).start()
    try:
        yield "a stand-in for the Hub, which does not run,"
    finally:
        stand_in.shutdown()
        stand_in.server_close()


def hub_reachable(case: Case) -> Seen:
    """Run a container as a server would be run, and have it ask for the Hub."""
    if case.image is None:
        return Seen("skipped", NO_IMAGE)
    url = urlsplit(case.settings.environment[_API])
    port = url.port or {"https": 443}.get(url.scheme, 80)
    place = f"{url.hostname}:{port}"
    hub = case.hub.app.hub
    with _somebody_at(hub.ip, hub.port) as who:
        result = _ask(case, url.hostname or "", port, url.path, url.scheme)
    said = one_line(result.output[-500:])
    if result.exit_code == 0:
        return ok(f"{who} answers at {place} inside a container")
    if result.exit_code == _NO_TOOL:
        return warning(
            f"a container starts; whether it reaches {place} cannot be told, since the image has "
            "neither python3 nor nc",
            f"podmanspawner doctor --try {case.username}",
        )
    return failure(
        f"a container gets no answer from {who} at {place} ({said.split(': ')[-1]})",
        "if c.JupyterHub.hub_connect_ip or hub_connect_url is set, set it to an address that "
        "containers reach, or leave it out with network = 'private'; let the host's firewall "
        f"pass port {port}",
    )


def _ask(case: Case, *words: object) -> RunResult:
    """Run a container of the server's image, user and network, without what is the user's own."""
    assert case.image is not None  # noqa: S101, whoever calls it has looked
    command = ("sh", "-c", _ASK, "sh")
    settings = replace(case.settings, entrypoint=command, cmd=tuple(map(str, words)), args=())
    return case.podman.run(case.bare(case.image, settings), seconds=_SECONDS)


def whole_server(case: Case) -> Seen:
    """Start and stop a server as the Hub does."""
    if case.hub.app.internal_ssl:
        return Seen("skipped", "with internal_ssl only the Hub can: it makes the certificates")
    spawner = case.hub.spawner(case.username, case.offer, name=SERVER, delete_volumes=True, port=0)
    hub = case.hub.app.hub
    began = time.monotonic()
    try:
        with _somebody_at(hub.ip, hub.port):
            url = asyncio.run(_start_and_stop(spawner))
    except web.HTTPError as error:
        said = getattr(error, "jupyterhub_message", "") or str(error.log_message)
        return refused(PodmanSpawnerError(said))
    except asyncio.TimeoutError:
        return failure(
            f"it did not start within {spawner.start_timeout} s",
            "c.Spawner.start_timeout = 900 leaves time for a pull",
        )
    seconds = time.monotonic() - began
    return ok(f"started, answered at {url} and stopped, in {seconds:.1f} s")


async def _start_and_stop(spawner: Lone) -> str:
    try:
        return await asyncio.wait_for(spawner.start(), spawner.start_timeout)
    finally:
        await spawner.stop(now=True)
        await spawner.delete_forever()


CHECKS: tuple[Check[Case], ...] = (
    Check(
        "hub reachable",
        "a server that does not reach the Hub ends at once",
        hub_reachable,
        ["user mapping", "image", "runtime", "limits"],
    ),
)
TRY: tuple[Check[Case], ...] = (
    Check(
        "a server", "what is in its log is what a user would see", whole_server, ["hub reachable"]
    ),
)
