"""Connect to the socket of an account: no path of the user's followed, and the peer proved.

Whoever connects does it through a descriptor of the very socket file that was checked, so that a
path swapped later changes nothing.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING

from .errors import ServiceError, UntrustedServiceError

if TYPE_CHECKING:
    from pathlib import Path

    from .account import Account

_CONNECT_SECONDS = 5.0


def open_socket_path(account: Account, path: Path | None = None) -> int:
    """Return an O_PATH descriptor of the account's socket file, no symlink followed on the way.

    Args:
        account: whose it must be.
        path: another socket beside the usual one.

    ref: open(2), O_PATH and O_NOFOLLOW; each part below the runtime directory is the account's to
    change at any time, so each is opened and then looked at, never looked at and then opened.
    """
    path = path or account.socket_path
    runtime = account.open_runtime_dir()
    try:
        folder = os.open("podman", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=runtime)
    except NotADirectoryError:
        raise _foreign(account, path, "its folder is a symlink or no folder") from None
    finally:
        os.close(runtime)
    try:
        found = os.open(path.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)
    status = os.fstat(found)
    if stat.S_ISSOCK(status.st_mode) and status.st_uid == account.uid:
        return found
    os.close(found)
    if stat.S_ISLNK(status.st_mode):
        raise _foreign(account, path, "it is a symlink")
    raise _foreign(account, path, f"it is no socket of the account (owner uid {status.st_uid})")


def connect_pinned(account: Account, path_descriptor: int) -> socket.socket:
    """Return a connection to the socket file that the O_PATH descriptor holds.

    Raises:
        ConnectionRefusedError: nobody listens any more.
        ServiceError: somebody does, but takes no more connections.
        UntrustedServiceError: the account is not who listens.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_CONNECT_SECONDS)
    try:
        connection.connect(f"/proc/self/fd/{path_descriptor}")
        demand_peer(connection, account)
    except BlockingIOError as error:  # the backlog is full
        connection.close()
        raise ServiceError(
            f"The Podman service of {account.name} takes no more connections.",
            socket=str(account.socket_path),
        ) from error
    except OSError as error:
        connection.close()
        if error.errno == errno.EPROTOTYPE:  # which urllib3 would take for a Mac's
            raise _foreign(account, account.socket_path, "it is no stream socket") from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def demand_peer(connection: socket.socket, account: Account) -> None:
    """Raise UntrustedServiceError unless the account's own process listens at the other end.

    ref: unix(7), SO_PEERCRED: the credentials of whoever called listen(2).
    """
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", raw)
    if uid != account.uid:
        raise _foreign(account, account.socket_path, f"uid {uid} listens on it")


def _foreign(account: Account, path: Path, why: str) -> UntrustedServiceError:
    return UntrustedServiceError(
        f"The socket {path} is not {account.name}'s own: {why}. Remove it as "
        f"{account.name}, then start the server again.",
        reason="peer",
    )
