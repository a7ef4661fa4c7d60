"""Checks of the host, in the order in which a start would fail."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from podmanspawner import privileges, systemd

from .findings import Check, failure, ok, warning

if TYPE_CHECKING:
    from .findings import Seen
    from .hub import HubConfiguration

OLDEST = (4, 3)
_MAPPERS = ("newuidmap", "newgidmap")
_NETWORKS = {"pasta": "passt", "slirp4netns": "slirp4netns"}
"""Programs, and the packages that have them."""
_DEVICES = {"/dev/net/tun": ("c 10 200", failure), "/dev/fuse": ("c 10 229", warning)}
"""Their numbers, and how bad it is without them."""
_STORAGE = (
    'write runroot = "/run/containers/storage" and graphroot = "/var/lib/containers/storage" into '
    "[storage] of /etc/containers/storage.conf"
)
_USABLE = 0o006
_SECONDS = 10.0


def which(program: str) -> str | None:
    """Return where a program is that an account would run."""
    return shutil.which(program, path=privileges.PATH)


def podman(_hub: HubConfiguration) -> Seen:
    """Look for podman and its version."""
    install = "apt-get install podman uidmap slirp4netns passt fuse-overlayfs dbus-user-session"
    path = which("podman")
    if path is None:
        return failure(f"there is no podman in {privileges.PATH}", install)
    _, said = privileges.run_unchanged(["podman", "--version"], seconds=_SECONDS)
    found = re.search(r"(\d+)\.(\d+)(\.\d+)*", said)
    if not found:
        remedy = _STORAGE if re.search("(run|graph)root", said) else f"{install} --reinstall"
        return failure(f"{path} does not tell its version: {said[:200]}", remedy)
    if (int(found[1]), int(found[2])) < OLDEST:
        return failure(f"{path} is {found[0]}", "upgrade to Debian 12 or later")
    return ok(f"{path}, {found[0]}")


def mappers(_hub: HubConfiguration) -> Seen:
    """Look for the programs that map subordinate ids."""
    missing = [name for name in _MAPPERS if which(name) is None]
    if missing:
        return failure(f"there is no {' and no '.join(missing)}", "apt-get install uidmap")
    powerless = [path for name in _MAPPERS if (path := which(name)) and not _has_power(path)]
    if powerless:
        return failure(
            f"{powerless[0]} has neither the setuid bit nor a file capability",
            "apt-get install --reinstall uidmap",
        )
    return ok(" and ".join(_MAPPERS))


def _has_power(path: str) -> bool:
    if Path(path).stat().st_mode & stat.S_ISUID:
        return True
    try:
        return "security.capability" in os.listxattr(path)
    except OSError:  # a file system without them
        return False


def namespaces(_hub: HubConfiguration) -> Seen:
    """Look whether accounts may make user namespaces."""
    for path, bad in (
        ("user/max_user_namespaces", "0"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        if _sysctl(path) != bad:
            continue
        name = path.replace("/", ".")
        wanted = {"0": "1", "1": "0"}[bad] if "max" not in path else "15000"
        setting = f"{name}={wanted}"
        remedy = f"sysctl -w {setting}; echo {setting} >/etc/sysctl.d/podman.conf"
        if bad == "1":  # the distribution's own podman has a profile that lets it
            return warning(f"{name} is 1, which lets only programs with a profile", remedy)
        return failure(f"{name} is 0", remedy)
    return ok("accounts may make them")


def _sysctl(path: str) -> str:
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError:
        return ""


def devices(_hub: HubConfiguration) -> Seen:
    """Look whether accounts can use the devices for networks and storage."""
    for path, (numbers, bad) in _DEVICES.items():
        try:
            status = Path(path).stat()
        except FileNotFoundError:
            make = f"mkdir -p {Path(path).parent}; mknod {path} {numbers}; chmod 666 {path}"
            return bad(f"there is no {path}", make)
        if status.st_mode & _USABLE != _USABLE:
            mode = stat.S_IMODE(status.st_mode)
            return bad(f"{path} has mode {mode:04o}", f"chmod 666 {path}")
    return ok(" and ".join(_DEVICES))


def networks(_hub: HubConfiguration) -> Seen:
    """Look for the programs that make networks without root."""
    there = [name for name in _NETWORKS if which(name)]
    if not there:
        return failure(
            "there is neither pasta nor slirp4netns", "apt-get install passt slirp4netns"
        )
    return ok(" and ".join(there))


def cgroup(_hub: HubConfiguration) -> Seen:
    """Look which version of cgroups the host has."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return ok("v2")
    kind = "v1 and v2 together" if (root / "unified").is_dir() else "v1"
    return warning(
        f"{kind}",
        "boot with systemd.unified_cgroup_hierarchy=1 (GRUB_CMDLINE_LINUX in /etc/default/grub, "
        "then update-grub)",
    )


def clock(_hub: HubConfiguration) -> Seen:
    """Look whether the clock can be right."""
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    installed = Path(__file__).stat().st_mtime
    if time.time() < installed:
        return failure(
            f"it is {now}, before this package was installed", "timedatectl set-ntp true"
        )
    if not systemd.booted():
        return ok(f"{now}; nobody says whether it is synchronised")
    _, said = privileges.run_unchanged(
        ["timedatectl", "show", "--property=NTPSynchronized", "--value"], seconds=_SECONDS
    )
    if said.strip() == "no":
        return warning(f"{now}, not synchronised", "timedatectl set-ntp true")
    return ok(now)


CHECKS: tuple[Check[HubConfiguration], ...] = (
    Check("podman", f"no server runs without it, {'.'.join(map(str, OLDEST))} or later", podman),
    Check("id tools", "without them Podman maps only one user of an image", mappers),
    Check("user namespaces", "rootless containers are made of them", namespaces),
    Check("devices", "pasta and slirp4netns need the one, fuse-overlayfs the other", devices),
    Check("network tools", "a server's own network is made by one of them", networks),
    Check("cgroups", "without v2 alone no limit of memory, CPU or processes is enforced", cgroup),
    Check("clock", "certificates, cookies and tokens are refused with a wrong one", clock),
)
"""In the order in which a start would fail."""
