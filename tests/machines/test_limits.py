"""Limits and auditing, on the machine whose kernel has what they need."""

from __future__ import annotations

import re

import pytest


@pytest.mark.timeout(1200)  # with the boot, in software emulation
def test_limits(virtual_machine, tell):
    command = ["pytest", "tests/limits"]
    ran = virtual_machine.run(*command, check=False, capture_output=True, timeout=700)
    *_, closing_line = ran.stdout.splitlines() or [""]
    tell(f"{virtual_machine.name}, tests/limits: {closing_line}")
    figures = re.search(r"^=+ measured =+\n(.*?)^=", ran.stdout, re.MULTILINE | re.DOTALL)
    for line in figures[1].splitlines() if figures else ():
        tell(f"    {line}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
