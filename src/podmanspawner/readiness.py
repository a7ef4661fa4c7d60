"""Whether a server answers at its port, in HTTP or, with ``internal_ssl``, in HTTPS."""

from __future__ import annotations

import asyncio
import ssl

from .errors import SpecError

_ANSWER_SECONDS = 1.0


async def speaks_http(host: str, port: int, base_url: str, context: ssl.SSLContext | None) -> bool:
    """Whether anything at all answers in HTTP; no more than five bytes of it are read.

    Raises:
        SpecError: its certificate is not one that the Hub accepts.
    """
    try:
        start = await asyncio.wait_for(
            _first_bytes(host, port, base_url, context), _ANSWER_SECONDS
        )
    except ssl.SSLCertVerificationError as error:
        raise SpecError(
            "ssl_alt_names",
            f"the server's certificate is not accepted at {host}: {error.verify_message} If "
            f"ssl_alt_names is set, add 'IP:{host}' to it",
        ) from error
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
        return False
    return start == b"HTTP/"


async def _first_bytes(
    host: str, port: int, base_url: str, context: ssl.SSLContext | None
) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(f"GET {base_url}api HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return await reader.readexactly(5)
    finally:
        writer.close()
