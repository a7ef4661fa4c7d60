"""Each target of ``targets.py`` for a minute, or as long as is said; ``make fuzz`` does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = [sys.executable, str(Path(__file__).with_name("targets.py"))]
SECONDS = os.environ.get("PODMANSPAWNER_FUZZ_SECONDS", "60")
TARGETS = subprocess.check_output(FUZZ, text=True).split()


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_that_reach_new_code(target, tmp_path, request):
    """In a process of its own, which libFuzzer ends."""
    options = [f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [*FUZZ, target, str(tmp_path), *options], stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, done.stderr[-6000:]
    tried = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    request.node.user_properties.append(("inputs", int(tried[1])))
