"""Certificates of the Hub's, made as JupyterHub makes them, and the tar of them."""

from __future__ import annotations

import io
import tarfile

import pytest
from certipy import Certipy

from podmanspawner import SpecError
from podmanspawner.certs import ENVIRONMENT, PARENT, Certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The paths of a server's files, and that of the Hub's own certificate."""
    folder = tmp_path_factory.mktemp("certs")
    store = Certipy(store_dir=str(folder))
    store.create_ca("hub-ca")
    pair = store.create_signed_pair(
        "hub-internal", "hub-ca", alt_names=["IP:127.0.0.1", "DNS:localhost", "DNS:hub.internal"]
    )["files"]
    paths = {"keyfile": pair["key"], "certfile": pair["cert"], "cafile": pair["ca"]}
    return paths, pair["cert"]


def test_the_files_are_read(made):
    read = Certificates.read(*made)
    assert read.key.startswith(b"-----BEGIN")
    assert set(read.hub_names) == {"IP:127.0.0.1", "DNS:localhost", "DNS:hub.internal"}


def test_the_archive(made):
    """Where the environment says, for the owner alone, and no byte after the end of the tar."""
    content = Certificates.read(*made)
    archive = content.archive()
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        members = tar.getmembers()
        found = {f"{PARENT}/{m.name}": tar.extractfile(m).read() for m in members if m.isfile()}
    assert [oct(member.mode) for member in members] == ["0o500", "0o400", "0o400", "0o400"]
    assert list(found) == list(ENVIRONMENT.values())
    assert list(found.values()) == [content.key, content.certificate, content.authorities]
    assert archive[-2 * tarfile.BLOCKSIZE :] == bytes(2 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize("lost", ["keyfile", "certfile", "cafile", "hub"])
def test_files_that_cannot_be_read(made, tmp_path, lost):
    paths, own = made
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(SpecError, match="internal_ssl: .*recreate_internal_certs"):
        Certificates.read(
            {**paths, lost: nowhere} if lost != "hub" else paths, nowhere if lost == "hub" else own
        )


def test_what_is_no_certificate(made, tmp_path):
    bad = tmp_path / "bad.crt"
    bad.write_text("no certificate")
    with pytest.raises(SpecError, match="internal_ssl"):
        Certificates.read(made[0], str(bad))
