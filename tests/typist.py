"""Somebody at a terminal."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time


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
        """Wait until a text is on the screen, and return what came before it."""
        end = time.monotonic() + 20
        while text.encode() not in self.seen:
            assert select.select([self.screen], [], [], max(0, end - time.monotonic()))[0], (
                self.seen
            )
            self.seen += os.read(self.screen, 65536)
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode(errors="replace")

    def leave(self):
        """Wait until the command has ended; its terminal is then as it was before."""
        status = self.process.wait(20)
        assert termios.tcgetattr(self.screen) == self.before
        os.close(self.screen)
        return status
