"""Devices of the Container Device Interface, for tests."""

from __future__ import annotations

import contextlib
import json
import secrets
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def cdi_device(kind: str, name: str):
    """Have a CDI device that is /dev/fuse, with a variable to tell; give its full name."""
    folder = Path("/etc/cdi")
    had_one = folder.exists()
    folder.mkdir(exist_ok=True)
    edits = {"env": ["CDI=seen"], "deviceNodes": [{"path": "/dev/fuse"}]}
    file = folder / f"podmanspawner-{secrets.token_hex(4)}.json"
    device = {"name": name, "containerEdits": edits}
    file.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": kind, "devices": [device]}))
    try:
        yield f"{kind}={name}"
    finally:
        file.unlink()
        if not had_one:
            with contextlib.suppress(OSError):  # another test run's device is there
                folder.rmdir()
