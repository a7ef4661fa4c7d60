"""Somebody at a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time

SCREEN_BYTES = 65536


class Typist:
    """Somebody at a terminal of their own, at which a command runs."""

    def __init__(self, *words):
        self.screen, other = os.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self.screen)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *map(str, words)],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(other)
        self.seen = b""

    def resize(self, lines, columns):
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text):
        os.write(self.screen, text.encode())

    def see(self, text):
        """Wait until a text is on the screen, and return what stands before it."""
        end = time.monotonic() + 20
        while text.encode() not in self.seen:
            left = end - time.monotonic()
            assert left > 0, self.seen[-1000:]
            if select.select([self.screen], [], [], left)[0]:
                self.seen = self.seen[-SCREEN_BYTES:] + os.read(self.screen, SCREEN_BYTES)
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode(errors="replace")

    def leave(self):
        """Look on until the command has ended; its terminal is then as it was before."""
        end = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):  # nobody is at the other side any more
                if select.select([self.screen], [], [], 0.1)[0]:
                    os.read(self.screen, 65536)
        status = self.process.wait(1)
        assert termios.tcgetattr(self.screen) == self.before
        os.close(self.screen)
        return status
