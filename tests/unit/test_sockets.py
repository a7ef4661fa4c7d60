"""Reaching a service that is there already: whose it must be, and by which path."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import replace

import pytest

from fake_service import ME, PING, FakeService
from podmanspawner import (
    AccountError,
    PodmanService,
    ServiceError,
    UntrustedServiceError,
    UserPodman,
    sockets,
)
from podmanspawner.activation import service_for


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Return the folder of the account's socket, in a runtime directory as it should be."""
    monkeypatch.setattr("podmanspawner.account.RUNTIME_ROOT", tmp_path)
    monkeypatch.setattr("podmanspawner.systemd.BOOTED", tmp_path / "none")  # let nobody linger
    ME.runtime_dir.mkdir(mode=0o700)
    folder = ME.socket_path.parent
    folder.mkdir()
    return folder


@pytest.fixture
def service(folder):
    service = FakeService(folder, PING, name="podman.sock")
    yield service
    service.close()


@pytest.fixture
def victim(tmp_path):
    """Somebody else's service, which must not get a byte, nor lose its socket."""
    service = FakeService(tmp_path, {}, name="victim.sock")
    yield service
    assert service.path.is_socket()
    service.close()
    assert not service.connections


@pytest.fixture(autouse=True)
def no_descriptor_is_left():
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def connect(way="existing"):
    return PodmanService(ME, activation=way).connect()


@pytest.mark.parametrize("way", ["existing", "auto"])
def test_a_service_that_is_there(service, way):
    podman = UserPodman(PodmanService(ME, activation=way))
    assert podman.ping() == (4, 3, 1)
    podman.close()
    assert len(service.requests) == 1


def test_an_unknown_way():
    with pytest.raises(ServiceError, match=r"choose from auto, .*existing"):
        PodmanService(ME, activation="ssh")


def test_a_host_without_systemd(folder):
    with pytest.raises(ServiceError, match="does not run systemd.*'auto' or 'direct'"):
        connect("systemd")


@pytest.mark.parametrize("there", ["runtime directory", "folder", "stale socket"])
def test_nothing_answers(folder, there):
    if there == "stale socket":
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(ME.socket_path))
    elif there == "runtime directory":
        folder.rmdir()
    with pytest.raises(ServiceError, match="Start one as me") as caught:
        connect()
    assert caught.value.socket == str(ME.socket_path)


def test_no_runtime_directory(monkeypatch, tmp_path):
    monkeypatch.setattr("podmanspawner.account.RUNTIME_ROOT", tmp_path)
    monkeypatch.setattr("podmanspawner.systemd.BOOTED", tmp_path / "none")  # let nobody linger
    with pytest.raises(ServiceError, match="Start one as me"):
        connect()


def link_socket(victim):
    ME.socket_path.symlink_to(victim.path)


def link_folder(victim):
    other = victim.path.with_name("other")
    other.mkdir()
    victim.path.with_name("podman.sock").symlink_to(victim.path)
    ME.socket_path.parent.rmdir()
    ME.socket_path.parent.symlink_to(other)


def plain_file(_victim):
    ME.socket_path.write_text("no socket")


def file_for_folder(_victim):
    ME.socket_path.parent.rmdir()
    ME.socket_path.parent.write_text("no folder")


def folder_for_socket(_victim):
    ME.socket_path.mkdir()


@pytest.mark.parametrize(
    "place", [link_socket, link_folder, plain_file, file_for_folder, folder_for_socket]
)
def test_what_is_no_socket_of_the_account(folder, victim, place):
    assert folder.is_dir()
    place(victim)
    with pytest.raises(UntrustedServiceError, match="Remove it as me") as caught:
        connect()
    assert caught.value.reason == "peer"


def test_a_runtime_directory_open_to_others(folder, service):
    folder.parent.chmod(0o755)
    with pytest.raises(AccountError, match="mode 0755"):
        connect()
    assert not service.connections


def test_a_peer_that_is_somebody_else(service):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(service.path))
        sockets.demand_peer(connection, ME)
        with pytest.raises(UntrustedServiceError, match=f"uid {ME.uid} listens") as caught:
            sockets.demand_peer(connection, replace(ME, uid=ME.uid + 1))
    assert caught.value.reason == "peer"


def test_a_path_swapped_after_it_was_checked(service, victim):
    pinned = sockets.open_socket_path(ME)
    try:
        service.path.rename(service.path.with_name("moved"))
        link_socket(victim)
        sockets.connect_pinned(ME, pinned).close()
    finally:
        os.close(pinned)
    service.wait_for_end()


def test_a_service_that_accepts_nobody(folder):
    with ExitStack() as opened:
        listener = opened.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "podman.sock"))
        listener.listen(0)
        for _ in range(3):
            waiting = opened.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(folder / "podman.sock"))
        with pytest.raises(ServiceError, match="takes no more connections"):
            connect()


def test_one_service_for_an_account():
    other = replace(ME, uid=ME.uid + 1)
    first = service_for(ME)
    assert service_for(ME) is first
    assert service_for(ME, environment={}) is first
    differing = [
        service_for(other),
        service_for(ME, idle_seconds=9),
        service_for(ME, enable_linger=False),
        service_for(ME, activation="existing"),
        service_for(ME, environment={"https_proxy": "http://proxy"}),
        service_for(ME, flags=["--hooks-dir=/hooks"]),
        service_for(replace(ME, home="/elsewhere")),
    ]
    assert len({id(service) for service in [first, *differing]}) == 8


@pytest.mark.parametrize(
    "own", [{"flags": ["--hooks-dir=/hooks"]}, {"environment": {"https_proxy": "http://proxy"}}]
)
@pytest.mark.parametrize("way", ["existing", "systemd"])
def test_a_service_of_others_is_told_nothing(own, way):
    with pytest.raises(ServiceError, match="choose 'auto' or 'direct'"):
        PodmanService(ME, activation=way, **own)
