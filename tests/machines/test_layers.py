"""Other layers of the tests, run in each machine; what fails there fails here."""

from __future__ import annotations

import pytest

LAYERS = (
    "tests/unit",
    "tests/podman/test_specs.py",
    "tests/podman/test_options.py",
    "tests/systemd",
)
"""What depends on the machine most; ``matrix.py`` runs all of the layers."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer(machine, layer, tell):
    ran = machine.run("pytest", layer, check=False, capture_output=True, timeout=1180)
    *_, closing_line = ran.stdout.splitlines() or [""]
    tell(f"{machine.name}, {layer}: {closing_line}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
