"""Certificates of ``internal_ssl``: the Hub's files, and what of them goes into a container.

They go in through the engine, into the container itself: nothing is written into a folder of the
account's from outside.
"""

from __future__ import annotations

import io
import ssl
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PARENT = "/etc"
"""Folder inside, which the engine makes in every container; nothing is mounted over it."""
_FOLDER = "podmanspawner"
_KEY, _CERTIFICATE, _AUTHORITIES = "internal-ssl.key", "internal-ssl.crt", "internal-ssl-ca.crt"

ENVIRONMENT = {
    "JUPYTERHUB_SSL_KEYFILE": f"{PARENT}/{_FOLDER}/{_KEY}",
    "JUPYTERHUB_SSL_CERTFILE": f"{PARENT}/{_FOLDER}/{_CERTIFICATE}",
    "JUPYTERHUB_SSL_CLIENT_CA": f"{PARENT}/{_FOLDER}/{_AUTHORITIES}",
}
"""What tells a server where its certificates are."""


@dataclass(frozen=True)
class Certificates:
    """What a server proves itself with, and whom it trusts."""

    key: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    authorities: bytes = field(repr=False)
    hub_names: Sequence[str] = ()
    """Whom the Hub's own certificate names: ``"DNS:localhost"``, ``"IP:127.0.0.1"``, …"""

    @classmethod
    def read(cls, paths: Mapping[str, str], hub_certificate: str) -> Certificates:
        """Read the files that the Hub made.

        Call it where nothing comes between the making and this: the Hub makes the key of a user's
        next server in the same file.

        Args:
            paths: ``keyfile``, ``certfile`` and ``cafile`` of the server, on the Hub.
            hub_certificate: path of the Hub's own.

        Raises:
            SpecError: one of them cannot be read.
        """
        try:
            return cls(
                key=Path(paths["keyfile"]).read_bytes(),
                certificate=Path(paths["certfile"]).read_bytes(),
                authorities=Path(paths["cafile"]).read_bytes(),
                hub_names=_names(Path(hub_certificate).read_bytes()),
            )
        except (OSError, ValueError, KeyError) as error:
            raise SpecError(
                "internal_ssl",
                f"the Hub's certificates cannot be read ({error}); look at "
                "c.JupyterHub.internal_certs_location, or have them made anew with "
                "c.JupyterHub.recreate_internal_certs = True",
            ) from error

    def archive(self) -> bytes:
        """Return a tar of the files, to be unpacked in ``PARENT`` as the server's user.

        It ends where a tar ends, without the padding that usually follows: the engine stops
        reading there, and may then fail because not all was read.
        """
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            folder = tarfile.TarInfo(_FOLDER)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o500
            tar.addfile(folder)
            for name, content in (
                (_KEY, self.key),
                (_CERTIFICATE, self.certificate),
                (_AUTHORITIES, self.authorities),
            ):
                file = tarfile.TarInfo(f"{_FOLDER}/{name}")
                file.mode, file.size = 0o400, len(content)
                tar.addfile(file, io.BytesIO(content))
            end = tar.offset + 2 * tarfile.BLOCKSIZE
        return buffer.getvalue()[:end]


def hub_context(key: str, certificate: str, authorities: str) -> ssl.SSLContext:
    """Return what the Hub talks to a server with: its own certificate, and whom it trusts.

    Args:
        key: path of the Hub's key.
        certificate: path of its certificate.
        authorities: path of those whose certificates it accepts, and no others.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authorities)
    context.load_cert_chain(certificate, key)
    return context


def _names(certificate: bytes) -> tuple[str, ...]:
    # what the Hub makes certificates with; who has no internal_ssl need not have it
    from cryptography import x509  # noqa: PLC0415

    read = x509.load_pem_x509_certificate(certificate)
    try:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *(f"DNS:{name}" for name in names.get_values_for_type(x509.DNSName)),
        *(f"IP:{address}" for address in names.get_values_for_type(x509.IPAddress)),
    )
