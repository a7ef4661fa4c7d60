"""This terminal, lent to a command in a server until it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import tty
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from podmanspawner.errors import PodmanError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podmanspawner.commands import Terminal

_TYPED_BYTES = 4096
_LET_GO = b"\x1d"
"""Ctrl-], which lets go of it when it is typed three times in a row, as machinectl has it."""
_TIMES = 3
_ENDED = b"\0"


def lend(terminal: Terminal) -> bool:
    """Pass on what is typed and show what is printed; return whether the command has ended."""
    bell, rope = socket.socketpair()
    rope.setblocking(False)
    with bell, rope, _raw(), _rung_by_window(rope), ThreadPoolExecutor(1) as pool:
        showing = pool.submit(_show, terminal, rope)
        try:
            ended = _pass_on(terminal, bell)
        finally:
            terminal.hang_up()
        if ended:
            showing.result()
        return ended


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Have every key come as it is; what the terminal itself has answered is nobody's command."""
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)


@contextlib.contextmanager
def _rung_by_window(rope: socket.socket) -> Iterator[None]:
    """Have a change of the window's size, too, end a wait for what is typed."""
    handler = signal.signal(signal.SIGWINCH, lambda *_: None)
    wakeup = signal.set_wakeup_fd(rope.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGWINCH, handler)


def _show(terminal: Terminal, rope: socket.socket) -> None:
    try:
        while printed := terminal.read():
            sys.stdout.buffer.write(printed)
            sys.stdout.buffer.flush()
    finally:
        rope.send(_ENDED)


def _pass_on(terminal: Terminal, bell: socket.socket) -> bool:
    in_a_row = 0
    _resize(terminal)
    while True:
        ready, _, _ = select.select([sys.stdin, bell], [], [])
        if bell in ready:
            if _ENDED in bell.recv(_TYPED_BYTES):
                return True
            _resize(terminal)
            continue
        typed = os.read(sys.stdin.fileno(), _TYPED_BYTES)
        others = len(typed.rstrip(_LET_GO))
        in_a_row = len(typed) - others + (0 if others else in_a_row)
        if in_a_row >= _TIMES or not typed:
            return False
        with contextlib.suppress(OSError):  # it has just ended
            terminal.write(typed)


def _resize(terminal: Terminal) -> None:
    columns, lines = os.get_terminal_size(sys.stdin.fileno())
    with contextlib.suppress(PodmanError):  # it has just ended
        terminal.resize(lines, columns)
