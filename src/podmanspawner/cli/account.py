"""Checks of a user's account, up to the moment when its Podman answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from podmanspawner import privileges, systemd

from .findings import Check, failure, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .case import Case
    from .findings import Seen

_USUAL_IDS = 65536
_ID_FILES = ("/etc/subuid", "/etc/subgid")
_HOME = '[ -d "$HOME" ] && [ -w "$HOME" ] && echo yes'


def account(case: Case) -> Seen:
    """Look for the account."""
    found = case.account
    return ok(f"{found.name}, uid {found.uid}, home {found.home}")


def rights(case: Case) -> Seen:
    """Look whether who runs this, as whom the Hub should run, may act as the account."""
    privileges.demand_may_become(case.account)
    return ok("root" if os.geteuid() == 0 else "the account itself")


def subordinate_ids(case: Case) -> Seen:
    """Look for subordinate ids, enough of them and nobody else's."""
    found = case.account
    found.demand_subordinate_ids()
    for file in _ID_FILES:
        for line, start, count in _ranges(Path(file)):
            owner = line.partition(":")[0]
            for ids in found.subuids if file == _ID_FILES[0] else found.subgids:
                ours = owner in (found.name, str(found.uid))
                if not ours and start < ids.start + ids.count and ids.start < start + count:
                    return failure(
                        f"{file} gives {found.name} ids that {owner} has too ({line})",
                        f"give {found.name} others: usermod --del-subuids "
                        f"{ids.start}-{ids.start + ids.count - 1} --add-subuids FIRST-LAST "
                        f"{found.name} (and the same for subgids), then as {found.name}: podman "
                        "system migrate",
                    )
    least = min(sum(ids.count for ids in of) for of in (found.subuids, found.subgids))
    if least < _USUAL_IDS:
        return warning(
            f"{least}, and images may have files of users up to {_USUAL_IDS - 1}",
            f"usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST {found.name}, then as "
            f"{found.name}: podman system migrate",
        )
    return ok(f"{found.subuids[0].start} and {least - 1} more")


def _ranges(file: Path) -> Iterator[tuple[str, int, int]]:
    """Yield each line of ``/etc/subuid`` or ``/etc/subgid``, its first id, and how many."""
    for line in file.read_text().splitlines():
        _, *numbers = line.split(":")
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):  # noqa: PLR2004
            yield line, int(numbers[0]), int(numbers[1])


def home(case: Case) -> Seen:
    """Look, as the account, whether it can write in its home."""
    found = case.account
    if privileges.run(found, ["sh", "-c", _HOME]).strip() == "yes":
        return ok(found.home)
    return failure(
        f"{found.name} has no home {found.home} where it may write",
        f"install -d -m 700 -o {found.uid} -g {found.gid} {found.home}",
    )


def runtime_dir(case: Case) -> Seen:
    """Look for the runtime directory, or for who will make it."""
    found = case.account
    try:
        os.close(found.open_runtime_dir())
    except FileNotFoundError:
        return _no_runtime_dir(case)
    return ok(f"{found.runtime_dir}, mode 0700")


def _no_runtime_dir(case: Case) -> Seen:
    found, way = case.account, case.spawner.activation
    if systemd.booted():
        made = way in ("auto", "systemd") and (os.geteuid() == 0 or systemd.lingers(found))
        remedy = f"loginctl enable-linger {found.name}"
    else:
        made = way in ("auto", "direct") and os.geteuid() == 0
        remedy = f"install -d -m 700 -o {found.uid} -g {found.gid} {found.runtime_dir}"
    if made:
        return ok(f"no {found.runtime_dir} yet; a start makes it")
    return failure(f"there is no {found.runtime_dir}, and a start does not make it", remedy)


def linger(case: Case) -> Seen | None:
    """Look whether the account's servers outlive its logins."""
    found = case.account
    if not systemd.booted():
        return None
    if systemd.lingers(found):
        return ok("yes")
    if case.configured.enable_linger and case.spawner.activation in ("auto", "systemd"):
        if os.geteuid() == 0:
            return ok("not yet; the first start makes it linger")
        return warning("not yet, and not everybody may", f"loginctl enable-linger {found.name}")
    return warning(
        "no, and enable_linger or activation leave it so", f"loginctl enable-linger {found.name}"
    )


def manager(case: Case) -> Seen | None:
    """Look whether the account's systemd user manager runs, and its socket."""
    found = case.account
    if not systemd.booted():
        return None
    state = systemd.manager_state(found)
    if state != "active":
        unit = f"user@{found.uid}.service"
        if case.spawner.activation == "direct" or (os.geteuid() == 0 and state == "inactive"):
            return ok(f"{unit} is {state}; a start starts it where it is needed")
        return failure(f"{unit} is {state}", f"systemctl unmask {unit}; systemctl start {unit}")
    if not privileges.has_bus(found):
        return failure(
            "it runs, but has no D-Bus session",
            f"apt-get install dbus-user-session; then as {found.name}: systemctl --user "
            "daemon-reload; systemctl --user start dbus.socket",
        )
    return ok("active")


def stores(case: Case) -> Seen | None:
    """Look whether the account can use the shared image stores, and not change them."""
    if not case.spawner.image_stores:
        return None
    case.spawner.demand_stores()
    return ok(", ".join(case.spawner.image_stores))


def service(case: Case) -> Seen:
    """Wake the account's Podman."""
    version = ".".join(map(str, case.podman.engine_version))
    return ok(f"Podman {version} answers at {case.account.socket_path}")


CHECKS: tuple[Check[Case], ...] = (
    Check("account", "each user's server runs in a Unix account, never in root's", account),
    Check("rights", "the Hub acts as the account", rights, ["account"]),
    Check(
        "subordinate ids", "the users of an image are mapped to them", subordinate_ids, ["rights"]
    ),
    Check("home", "Podman keeps images there, and it is mounted in the server", home, ["rights"]),
    Check(
        "runtime dir",
        "Podman keeps its sockets and locks there",
        runtime_dir,
        ["subordinate ids", "home"],
    ),
    Check("linger", "without it the last logout ends the account's servers", linger, ["rights"]),
    Check(
        "user manager",
        "it starts podman.socket and delegates cgroups",
        manager,
        ["rights", "runtime dir"],
    ),
    Check("shared stores", "images come from them without a copy", stores, ["runtime dir"]),
    Check(
        "service",
        "the Hub speaks with the account's Podman through its socket",
        service,
        ["runtime dir", "user manager", "shared stores"],
    ),
)
"""In the order in which a start would fail."""
