"""Do one thing as an account: run a program, or listen and start a service on that socket.

Everything goes through one small process, ``_become.py``, that drops root before it does
anything else. Its environment is built from nothing: what the Hub knows stays with the Hub.
What the host is to do, and no account, goes through :func:`run_unchanged` or :func:`run_shown`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .answers import one_line
from .errors import AccountError, ServiceError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from .account import Account

_BECOME = str(Path(__file__).with_name("_become.py"))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs that run as an account are looked for."""
_STATUS_SECONDS = 10.0
_STATUS_BYTES = 4096
_LOOK_SECONDS = 0.1
_EXIT_SECONDS = 5.0
_PIECE_BYTES = 4096
_OUTPUT_BYTES = 1 << 20


@dataclass(frozen=True)
class Done:
    """How a program of an account's ended."""

    exit_code: int
    output: str
    """The last that it printed, errors included."""


def may_become(account: Account) -> bool:
    """Whether this process can act as the account: it is root, or it is the account."""
    return os.geteuid() in (0, account.uid)


def demand_may_become(account: Account) -> None:
    """Raise AccountError unless this process can act as the account."""
    if not may_become(account):
        raise AccountError(
            account.name,
            f"A Hub that runs as uid {os.geteuid()} cannot start servers as {account.name}. Run "
            "the Hub as root, or serve all its users in its own account with account_template.",
        )


def environment(account: Account, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program that runs as the account, made from nothing.

    Args:
        account: whom it is for.
        extra: what the administrator configured on top, such as proxies.
    """
    base = {
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "PATH": PATH,
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(account.runtime_dir),
    }
    if has_bus(account):
        base["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={account.runtime_dir}/bus"
    if not _has(account, "systemd"):
        # else no container of an image with a health check starts on a host with systemd
        # ref: Podman's libpod/healthcheck_linux.go
        base["DISABLE_HC_SYSTEMD"] = "true"
    return {**base, **(extra or {})}


def run(
    account: Account, program: Sequence[str], *, seconds: float = 10.0, max_bytes: int = 65536
) -> str:
    """Run a program as the account to its end and return what it printed.

    Args:
        account: who runs it.
        program: its name or path, and its arguments.
        seconds: how long it may take; then it is killed.
        max_bytes: how much of its output is read.

    Raises:
        ServiceError: it could not be started, or took too long.
    """
    process = _start(account, program, environment(account), stdin=None, stdout=subprocess.PIPE)
    output = process.stdout
    assert output is not None  # noqa: S101, asked for above
    with output:
        try:
            text = _read(output, seconds=seconds, max_bytes=max_bytes)
        finally:
            _kill_group(process)
    return text.decode(errors="replace")


def run_to_end(
    account: Account,
    program: Sequence[str],
    *,
    seconds: float,
    max_bytes: int = 65536,
    tell: Callable[[str], None] = lambda _line: None,
    given_up: Callable[[], bool] = lambda: False,
) -> Done:
    """Run a program as the account, however much it prints, and return how it ended.

    Args:
        account: who runs it.
        program: its name or path, and its arguments.
        seconds: how long it may take; then it is killed.
        max_bytes: how much of the end of its output is kept.
        tell: called with each line that it prints.
        given_up: asked now and then; once it says yes, the program is killed.

    Raises:
        TimeoutError: it took too long.
        ServiceError: it could not be started, was given up, or prints without end.
    """
    process = _start(account, program, environment(account), stdin=None, stdout=subprocess.PIPE)
    output = process.stdout
    assert output is not None  # noqa: S101, asked for above
    with output:
        try:
            text = _follow(output, time.monotonic() + seconds, max_bytes, tell, given_up)
            code = process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            _kill_group(process)
    return Done(code, text.decode(errors="replace"))


def _follow(
    stream: IO[bytes],
    end: float,
    max_bytes: int,
    tell: Callable[[str], None],
    given_up: Callable[[], bool],
) -> bytes:
    """Read to the end of a pipe, tell its lines, and return the last bytes.

    Not for ever: whoever prints without end would keep the Hub from all other users.
    """
    kept = line = b""
    left = _OUTPUT_BYTES
    while left > 0:
        if given_up():
            raise ServiceError("A program started for a user was given up.")
        if time.monotonic() > end:
            raise TimeoutError
        if not select.select([stream], [], [], _LOOK_SECONDS)[0]:
            continue
        piece = os.read(stream.fileno(), _PIECE_BYTES)
        if not piece:
            return kept
        left -= len(piece)
        kept = (kept + piece)[-max_bytes:]
        *lines, line = (line + piece).split(b"\n")
        line = line[-_PIECE_BYTES:]
        for whole in lines:
            tell(one_line(whole.decode(errors="replace")))
    raise ServiceError(
        f"A program started for a user printed more than {_OUTPUT_BYTES} bytes and was ended."
    )


def run_unchanged(program: Sequence[str], *, seconds: float) -> tuple[int, str]:
    """Run a program of the host's without becoming anybody; return its status and what it printed.

    Args:
        program: its name, and its arguments.
        seconds: how long it may take; then it is killed.

    Raises:
        ServiceError: it is not there, or took too long.
    """
    try:
        ran = subprocess.run(
            program,
            cwd="/",
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise ServiceError(f"There is no {program[0]} in {PATH}.") from None
    except subprocess.TimeoutExpired:
        raise ServiceError(f"'{' '.join(program)}' took longer than {seconds:g} s.") from None
    return ran.returncode, ran.stdout.decode(errors="replace")


def run_shown(program: Sequence[str]) -> tuple[int, str]:
    """Run a program of root's; a terminal is shown what it says, and its Ctrl-C is heard by it.

    Returns:
        its status, and what it said where there is no terminal.
    """
    shown = sys.stderr.isatty()
    with subprocess.Popen(
        program,
        cwd="/",
        env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate()
        except KeyboardInterrupt:
            process.wait()  # it takes away what it has begun
            raise
    return process.returncode, "" if shown else said


def serve(  # noqa: D417, the rest is told in the text
    account: Account,
    program: Sequence[str],
    listener: socket.socket,
    *,
    bind_to: str = "",
    log_path: str,
    extra_environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a socket-activated service as the account and return its process.

    Args:
        listener: the Unix socket it serves; unbound at the first time, then ``bind_to`` is where
            the account's own process binds it and listens.
        log_path: file of the account that gets its output.

    Raises:
        ServiceError: the socket could not be bound, or the program not be started.
    """
    env = environment(account, extra_environment)
    return _start(
        account, program, env, stdin=listener.fileno(), bind_to=bind_to, log_path=log_path
    )


def _start(
    account: Account,
    program: Sequence[str],
    env: dict[str, str],
    *,
    stdin: int | None,
    stdout: int = subprocess.DEVNULL,
    bind_to: str = "",
    log_path: str = "",
) -> subprocess.Popen[bytes]:
    demand_may_become(account)
    status_reader, status_writer = os.pipe()
    groups = ",".join(map(str, account.groups or (account.gid,)))
    identity = (str(status_writer), str(account.uid), str(account.gid), groups)
    with os.fdopen(status_reader, "rb", buffering=0) as status:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", _BECOME, *identity, bind_to, log_path, *program],
                cwd="/",
                env=env,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                pass_fds=(status_writer,),
                start_new_session=True,  # a Ctrl-C for the Hub is not one for the service
            )
        finally:
            os.close(status_writer)
        try:
            complaint = _read(status, seconds=_STATUS_SECONDS, max_bytes=_STATUS_BYTES)
        except ServiceError:
            _kill_group(process)
            if process.stdout:
                process.stdout.close()
            raise
    if complaint:
        _kill_group(process)  # who was stopped by the account would not end by itself
        if process.stdout:
            process.stdout.close()
        raise _not_started(account, program, one_line(complaint.decode(errors="replace")))
    return process


def _not_started(account: Account, program: Sequence[str], complaint: str) -> ServiceError:
    remedy = "See docs/how-to/troubleshooting.md."
    if complaint.startswith(f"starting {program[0]}: FileNotFoundError"):
        remedy = f"Install it ('apt-get install {program[0]}'); it is looked for in {PATH}."
    elif "Permission" in complaint:
        remedy = f"Check who owns {account.runtime_dir} and what is below it."
    what = f"{program[0]} could not be started as {account.name}: {complaint}. {remedy}"
    return ServiceError(what, socket=str(account.socket_path), stderr=complaint)


def _read(stream: IO[bytes], *, seconds: float, max_bytes: int) -> bytes:
    """Read to the end of a pipe, within a time and a size; more is left unread."""
    end = time.monotonic() + seconds
    got = b""
    while len(got) < max_bytes:
        ready, _, _ = select.select([stream], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise ServiceError(f"A program started for a user took longer than {seconds:g} s.")
        part = os.read(stream.fileno(), max_bytes - len(got))
        if not part:
            break
        got += part
    return got


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started; it leads its own group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def has_bus(account: Account) -> bool:
    """Whether the account has a D-Bus session, through which Podman asks systemd for cgroups."""
    return _has(account, "bus")


def _has(account: Account, name: str) -> bool:
    """Whether the account's runtime directory has this."""
    try:
        folder = account.open_runtime_dir()
    except (OSError, AccountError):
        return False
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(folder)
