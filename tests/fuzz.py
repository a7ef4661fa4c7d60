#!/usr/bin/env python
"""Fuzz what reads a service's answers, led by the code that an input reaches.

``python tests/fuzz.py answer|archive [option of libFuzzer ...]``, such as
``-max_total_time=600``; needs ``pip install atheris``.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "unit")]
with atheris.instrument_imports(include=["podmanspawner", "tarfile", "http", "urllib3"]):
    import test_fuzz


def answer(data: bytes) -> None:
    """Let the first byte choose the call, and the rest be its answer."""
    calls = [*test_fuzz.CALLS.values()]
    podman = test_fuzz.UserPodman(test_fuzz.Wire(data[1:]))
    with test_fuzz.REFUSED, contextlib.closing(podman):
        calls[data[0] % len(calls) if data else 0](podman)


def archive(data: bytes) -> None:
    with test_fuzz.REFUSED:
        test_fuzz._first_file(data, "read")


if __name__ == "__main__":
    fuzz = {"answer": answer, "archive": archive}[sys.argv.pop(1)]
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
