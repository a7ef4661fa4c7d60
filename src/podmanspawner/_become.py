"""Become an account, listen for it if asked to, and become a program of its.

Run by path as ``python -I -S _become.py STATUS_FD UID GID GROUPS LISTEN_PATH LOG_PATH PROGRAM
[ARG …]``, as root or as the account itself, never imported. STATUS_FD is where a failure is told:
end of file without a word is success. With LOG_PATH, standard input is a Unix socket that the
program is to serve, and which is bound to LISTEN_PATH first where that is given. A process of its
own, because dropping root must not touch the Hub, and started as root,
because the account need not be able to read the Hub's Python.

It starts on every wake-up, so it imports the least: ``_socket`` instead of ``socket`` and ``json``
halves its 25 ms.
"""

import _socket
import fcntl
import os
import sys

LISTEN_FD = 3  # ref: sd_listen_fds(3), SD_LISTEN_FDS_START
BACKLOG = 128
LOGIN_UID = "/proc/self/loginuid"
NOBODY_YET = b"4294967295"
TRIES = 10


def drop(uid: int, gid: int, groups: list[int]) -> None:
    """Become the account for good: no group, no id and no capability of root's is left."""
    if os.geteuid() == 0:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid):
        raise PermissionError(f"cannot become uid {uid}, being {os.getresuid()}")


def log_in(uid: int) -> None:
    """Let the kernel's audit name the account for all that the program does.

    Unless it names whoever started the Hub in a shell: that word is not taken back. What nobody
    has set may be set by anyone, so it needs no capability. ref: pam_loginuid(8), kernel/audit.c
    """
    try:
        file = os.open(LOGIN_UID, os.O_RDWR)
        if os.pread(file, len(NOBODY_YET), 0) == NOBODY_YET:
            os.pwrite(file, str(uid).encode(), 0)
        os.close(file)
    except OSError:  # a kernel that does not audit, or a sandbox that leaves it alone
        pass


def listen(path: str) -> None:
    """Bind standard input to the path, in place of whatever the account left there.

    Whoever looks for the path meanwhile, such as another process that listens for the account,
    finds either: it is never missing.
    """
    folder = os.path.dirname(path)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, 0)
    new = f"{path}.{os.getpid()}"
    unlink(new)
    listener.bind(new)
    # SO_PEERCRED will name whoever calls listen: it must be the account
    listener.listen(BACKLOG)
    try:
        os.rename(new, path)
    except OSError:  # a folder is there
        os.unlink(new)
        raise
    listener.detach()


def unlink(path: str) -> None:
    """Remove a path, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def open_anew(path: str) -> int:
    """Open a file in the place of what is there; another process may do so at this moment."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for _ in range(TRIES - 1):
        unlink(path)
        try:
            return os.open(path, flags, 0o600)
        except FileExistsError:
            pass
    unlink(path)
    return os.open(path, flags, 0o600)


def hand_over(log_path: str) -> None:
    """Put the listening socket where a socket-activated service looks for it, output in a log."""
    log = open_anew(log_path)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(0, LISTEN_FD)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ["LISTEN_FDS"] = "1"
    os.environ["LISTEN_PID"] = str(os.getpid())


def execute(program: list[str]) -> None:
    """Become the program, found in PATH; ``os.execvp`` imports what may be unreadable by now."""
    for folder in os.environ["PATH"].split(":"):
        try:
            os.execv(f"{folder}/{program[0]}", program)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(f"no {program[0]} in {os.environ['PATH']}")


def main() -> None:
    """Do what the module says; never returns."""
    status, uid, gid, groups, listen_path, log_path, *program = sys.argv[1:]
    answer = fcntl.fcntl(int(status), fcntl.F_DUPFD_CLOEXEC, LISTEN_FD + 1)
    os.close(int(status))
    doing = f"becoming uid {uid}"
    try:
        if log_path:  # other programs end at once; a record of each would be noise
            log_in(int(uid))
        drop(int(uid), int(gid), [int(group) for group in groups.split(",")])
        os.umask(0o077)
        if listen_path:
            doing = f"listening on {listen_path}"
            listen(listen_path)
        if log_path:
            doing = f"writing {log_path}"
            hand_over(log_path)
        os.umask(0o022)
        doing = f"starting {program[0]}"
        execute(program)
    except Exception as error:
        os.write(answer, f"{doing}: {type(error).__name__}: {error}".encode())
        os._exit(1)


main()
