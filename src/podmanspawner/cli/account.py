"""Checks of a user's account, up to the moment when its Podman answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from podmanspawner import privileges, systemd

from .findings import Check, failure, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podmanspawner.account import Account

    from .case import Case
    from .findings import Seen

_USUAL_IDS = 65536
_FIRST_ID = 100_000
"""Where ``useradd`` begins. ref: login.defs(5), SUB_UID_MIN"""
_ID_FILES = {"subuids": Path("/etc/subuid"), "subgids": Path("/etc/subgid")}
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
    kinds = {"subuids": found.subuids, "subgids": found.subgids}
    for kind, own in kinds.items():
        file = _ID_FILES[kind]
        if not own:
            return failure(f"{found.name} has none in {file}", _give_ids(found))
        for line, start, count in _ranges(file):
            owner = line.partition(":")[0]
            for ids in own:
                ours = owner in (found.name, str(found.uid))
                if not ours and ids.start < start + count and start < ids.start + ids.count:
                    return failure(
                        f"{file} gives {found.name} ids that {owner} has too ({line})",
                        # usermod takes none away while anything of the account's runs
                        f"sed -i -E 's/^({found.name}|{found.uid}):{ids.start}:.*/"
                        f"{found.name}:{_free_id()}:{_USUAL_IDS}/' {file}{_migrate(found)}",
                    )
    least = min(sum(ids.count for ids in own) for own in kinds.values())
    if least < _USUAL_IDS:
        return warning(
            f"{least}, and images may have files of users up to {_USUAL_IDS - 1}",
            _give_ids(found),
        )
    return ok(f"{found.subuids[0].start} and {least - 1} more")


def _give_ids(account: Account) -> str:
    """Return the command that gives an account ids that nobody has."""
    first, names = _free_id(), Path("/etc/passwd").read_text().splitlines()
    if any(line.startswith(f"{account.name}:") for line in names):
        ids = f"{first}-{first + _USUAL_IDS - 1}"
        return f"usermod --add-subuids {ids} --add-subgids {ids} {account.name}{_migrate(account)}"
    line = f"{account.name}:{first}:{_USUAL_IDS}"  # usermod would not know it
    return f"echo {line} | tee -a {' '.join(map(str, _ID_FILES.values()))}{_migrate(account)}"


def _migrate(account: Account) -> str:
    name = account.name
    return f"; then, if {name} has used Podman before, as {name}: podman system migrate"


def _free_id() -> int:
    """Return the first id behind all that anybody has."""
    ranges = [entry for file in _ID_FILES.values() for entry in _ranges(file)]
    return max([_FIRST_ID, *(start + count for _, start, count in ranges)])


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
