"""Which limits the host can enforce on an account's containers, by the kernel's own files.

Only ``/sys/fs/cgroup`` is read, whose names and files are the kernel's: an account that has a
folder there can make no link in it. ref: cgroups(7), systemd's CGROUP_DELEGATION
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .account import Account

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = {
    "mem_limit": "memory",
    "memswap_limit": "memory",
    "mem_guarantee": "memory",
    "cpu_limit": "cpu",
    "cpu_guarantee": "cpu",
    "pids_limit": "pids",
}
"""Options that rest on a controller of the kernel's."""


def obstacles(account: Account, *, root: Path = ROOT, own: str | None = None) -> dict[str, str]:
    """Return for each option that cannot be enforced why not, and what to do about it.

    Args:
        account: whose containers are to be limited.
        root: where the cgroups are mounted.
        own: cgroup of this process, in which a service that it starts would be; None to look.
    """
    if not (root / "cgroup.controllers").exists():
        reason = (
            "the host has cgroups v1, on which Podman without root limits nothing; boot it with "
            "cgroups v2 alone (systemd.unified_cgroup_hierarchy=1)"
        )
        return dict.fromkeys(CONTROLLERS, reason)
    folder = root / f"user.slice/user-{account.uid}.slice/user@{account.uid}.service"
    if not folder.is_dir():
        folder = root / (_own() if own is None else own).lstrip("/")
        if not folder.is_dir() or folder.stat().st_uid != account.uid:
            reason = (
                f"{account.name} has no cgroup of its own; give it a systemd user manager "
                f"('loginctl enable-linger {account.name}')"
            )
            return dict.fromkeys(CONTROLLERS, reason)
    there = (folder / "cgroup.controllers").read_text().split()
    return {
        option: f"the cgroup of {account.name} lacks the controller {controller!r}; delegate it: "
        "'systemctl edit user@.service', [Service] Delegate=cpu memory pids, then log the "
        "account out and in"
        for option, controller in CONTROLLERS.items()
        if controller not in there
    }


def _own() -> str:
    """Return the cgroup of this process; ref: cgroups(7), /proc/self/cgroup of v2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::")
    return ""
