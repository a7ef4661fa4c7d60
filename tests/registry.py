"""A real registry for the tests that pull, and a relay in front of it that is slow or stalls."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from free_ports import free_port

USERNAME, PASSWORD = "reader", "registry-password"
HTPASSWD = r"$2b$05$abcdefghijklmnopqrstuux7DVfxfgfXTmp/9Tsk6HzX2QQGjxePG"
_PIECE = 32 * 1024


@contextmanager
def registry(folder, *, authenticated=False, encrypted=False):
    """Run a registry on a free port of 127.0.0.1, and yield that port."""
    if not shutil.which("docker-registry"):
        pytest.fail("docker-registry is missing; run '.ci/setup test'")
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(_configuration(folder, port, authenticated, encrypted))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _configuration(folder, port, authenticated, encrypted):
    lines = [
        "version: 0.1",
        "log: {level: error}",
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}",
        "http:",
        f"  addr: 127.0.0.1:{port}",
    ]
    if encrypted:
        certificate, key = folder / "registry.crt", folder / "registry.key"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command, *names, *files], check=True, capture_output=True)
        lines += [f"  tls: {{certificate: {certificate}, key: {key}}}"]
    if authenticated:
        (folder / "htpasswd").write_text(f"{USERNAME}:{HTPASSWD}\n")
        lines += [f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}"]
    return "\n".join(lines)


@contextmanager
def relay(target, *, bytes_a_second=None, stall_after=None):
    """Relay a free port to another one, all connections together slowly or not to the end."""
    loop = asyncio.new_event_loop()
    port = free_port()
    left = stall_after

    async def pump(reader, writer, *, limited):
        nonlocal left
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while piece := await reader.read(_PIECE):
                if limited and left is not None:
                    left -= len(piece)
                    if left < 0:
                        await asyncio.sleep(3600)
                writer.write(piece)
                await writer.drain()
                if limited and bytes_a_second:
                    await asyncio.sleep(len(piece) / bytes_a_second)
        writer.close()

    async def serve(reader, writer):
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(
            pump(reader, to_writer, limited=False), pump(to_reader, writer, limited=True)
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(serve, "127.0.0.1", port)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(5)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(_end, loop, server)
        thread.join(5)
        loop.close()


def _end(loop, server):
    server.close()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(0.1, loop.stop)


def trust_plain_http(user):
    """Let an account's engine ask registries of 127.0.0.1 without TLS, whatever their port."""
    folder = f"{user.account.home}/.config/containers"
    text = '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
    user.run("sh", "-c", f"mkdir -p {folder} && cat >{folder}/registries.conf", input=text)


def build_layers(user, name, base, sizes):
    """Build an image with a layer of random data for each size in bytes."""
    folder = user.run("mktemp", "-d").stdout.strip()
    steps = "".join(f"COPY layer{n} /layer{n}\n" for n in range(len(sizes)))
    for number, size in enumerate(sizes):
        user.run("sh", "-c", f"head -c {size} /dev/urandom >{folder}/layer{number}")
    user.run("sh", "-c", f"cat >{folder}/Containerfile", input=f"FROM {base}\n{steps}")
    user.podman("build", "-q", "--layers", "-t", name, folder)
    user.run("rm", "-r", folder)


def _wait_for(port):
    for _ in range(100):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    pytest.fail("the registry did not come up")
