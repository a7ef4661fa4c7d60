"""The account's own ``podman.socket``, started in its systemd user manager.

What an administrator would do by hand: let the account linger, have its user manager started, and
start the socket in it. From then on the manager listens, and starts Podman's service when there
is work. All that concerns the account alone is done as the account.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from . import privileges
from .answers import plain
from .errors import ServiceError
from .remedies import remedy, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .account import Account

SOCKET = "podman.socket"
SERVICE = "podman.service"
BOOTED = Path("/run/systemd/system")
_LINGER = Path("/var/lib/systemd/linger")
_SECONDS = 20.0
"""For each command; a user manager that starts well takes one."""
_WITHOUT_ROOT_SECONDS = 5.0
"""For a user manager that logind starts, or not."""
_LOOP_SECONDS = 3.0

log = logging.getLogger(__name__)


def booted() -> bool:
    """Whether this host runs systemd.

    ref: sd_booted(3)
    """
    return BOOTED.is_dir()


def lingers(account: Account) -> bool:
    """Whether the account's user manager runs without a login, and after each boot."""
    return (_LINGER / account.name).exists()


def enable_linger(account: Account) -> None:
    """Let the account's user manager run without a login, from now on and after each boot.

    A change of the host that stays; nothing happens if it has been made.

    Raises:
        ServiceError: logind refuses.
    """
    if lingers(account):
        return
    said = _host(account, "loginctl", "--no-ask-password", "enable-linger", "--", account.name)
    if said is None:
        log.info(
            "%s lingers from now on: its user manager, and with it its servers, need no login. "
            "'loginctl disable-linger %s' undoes it",
            *(account.name, account.name),
        )
        return
    raise ServiceError(
        f"{account.name} may not linger: {said}. Without it, servers end at the account's last "
        f"logout. Run 'loginctl enable-linger {account.name}' as root, or set enable_linger to "
        "False.",
        unit=_manager(account),
        stderr=said,
    )


def start_manager(account: Account) -> None:
    """Have the account's user manager run, and its bus with it.

    Raises:
        ServiceError: it does not start, or there is no bus.
    """
    unit = _manager(account)
    # without root there is only the wait: it starts as soon as the account lingers
    said = _wait_for(account) if os.geteuid() else _host(account, "systemctl", "start", unit)
    if said is not None:
        raise ServiceError(
            f"The user manager of {account.name}, {unit}, does not run: {said}. Look at it as "
            f"root, 'systemctl status {unit}', and start it ('systemctl unmask', 'systemctl "
            "start').",
            unit=unit,
            stderr=said,
        )
    if not privileges.has_bus(account):
        raise ServiceError(
            f"{account.name} has no D-Bus session, without which Podman cannot ask systemd for "
            "cgroups. Install it, as root: 'apt-get install dbus-user-session'; then, as "
            f"{account.name}: 'systemctl --user daemon-reload' and 'systemctl --user start "
            "dbus.socket'.",
            unit="dbus.socket",
        )


def bring_up(account: Account, how: Literal["start", "restart"]) -> None:
    """Start the account's ``podman.socket`` in its user manager, which runs.

    Args:
        account: whose it is.
        how: ``restart`` is for one that systemd believes to listen, and nothing does.

    Raises:
        ServiceError: it does not start.
    """
    said, states = _try(account, how)
    if states[SOCKET].get("ActiveState") != "active" and _runs(states[SERVICE]):
        # systemd starts no socket whose service runs without it; servers are none of its children
        _user(account, "stop", SERVICE)
        said, states = _try(account, how)
    state = states[SOCKET]
    if state.get("ActiveState") == "active":
        return
    load = state.get("LoadState")
    failure = _failure(account, states[SERVICE].get("Result", "success"))
    if load == "loaded" and failure:
        raise failure
    if load == "not-found":
        remedy = "Install the unit ('apt-get install podman'), or set activation to 'direct'"
    elif load == "masked":
        remedy = f"'systemctl --user unmask {SOCKET}' as {account.name} lets it start"
    else:
        remedy = f"Look at it as {account.name}, 'systemctl --user status {SOCKET}', and mend it"
    raise ServiceError(
        f"{SOCKET} of {account.name} does not start: {said or state.get('Result', 'no word')}. "
        f"{remedy}.",
        socket=str(account.socket_path),
        unit=SOCKET,
        stderr=said,
    )


def _try(account: Account, how: str) -> tuple[str, dict[str, dict[str, str]]]:
    said = _user(account, how, SOCKET)
    return said, _states(account)


def _runs(state: Mapping[str, str]) -> bool:
    return state.get("ActiveState") not in ("inactive", "failed", None)


def service_failure(account: Account) -> ServiceError | None:
    """Return why the account's ``podman.service`` ended, if it ended with an error."""
    if not booted() or not privileges.has_bus(account):
        return None
    return _failure(account, _states(account)[SERVICE].get("Result", "success"))


def crash_loop(account: Account) -> ServiceError | None:
    """Return why nothing answers, if ``podman.service`` is started over and over; end that.

    systemd does so as long as a connection waits, if each attempt takes a while. It is to be asked
    only of a service from which an answer is long overdue.
    """
    if not booted() or not privileges.has_bus(account):
        return None
    first = _states(account)[SERVICE].get("InvocationID")
    end = time.monotonic() + _LOOP_SECONDS
    while time.monotonic() < end:
        time.sleep(0.2)
        if first and _states(account)[SERVICE].get("InvocationID") != first:
            _user(account, "stop", SOCKET)
            return _failure(account, "crashes again and again")
    return None


def manager_state(account: Account) -> str:
    """Return systemd's word for how the account's user manager is, as ``active`` or ``masked``.

    Raises:
        ServiceError: it could not be asked.
    """
    words = ["systemctl", "show", "--property=LoadState,ActiveState", _manager(account)]
    _, said = privileges.run_unchanged(words, seconds=_SECONDS)
    state = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    masked = state.get("LoadState") == "masked"
    return "masked" if masked else state.get("ActiveState", _one_line(said))


def _failure(account: Account, result: str) -> ServiceError | None:
    if result == "success":
        return None
    output = _podman_says(account)
    said = words(output)
    what_to_do = remedy(output, account) or (
        f"Run 'podman info' as {account.name} to see why and mend it; where all of the account's "
        "processes have been killed, 'podman system migrate' does"
    )
    return ServiceError(
        f"{SERVICE} of {account.name} ended with the result '{result}'. "
        + (f"'podman info' says: {said}. " if said else "")
        + f"{what_to_do}. Its words, as root: 'journalctl "
        f"_SYSTEMD_USER_UNIT={SERVICE} _UID={account.uid} -n 20'.",
        socket=str(account.socket_path),
        unit=SERVICE,
    )


def _podman_says(account: Account) -> str:
    """Return what is wrong with the account's Podman, in its own words; empty if nothing is."""
    try:
        said = privileges.run(account, ["podman", "info", "--format", "sound"])
    except ServiceError as problem:
        said = str(problem)
    return "" if said.strip().endswith("sound") else said


def _manager(account: Account) -> str:
    return f"user@{account.uid}.service"


def _host(account: Account, *command: str) -> str | None:
    """Run a command of the host's; return None if it worked, else what it said."""
    try:
        status, said = privileges.run_unchanged(command, seconds=_SECONDS)
    except ServiceError as problem:
        problem.unit = _manager(account)
        raise
    return None if status == 0 else _one_line(said) or f"status {status}"


def _user(account: Account, *words: str) -> str:
    """Run ``systemctl --user`` as the account and return what it said."""
    try:
        said = privileges.run(account, ["systemctl", "--user", *words], seconds=_SECONDS)
    except ServiceError as problem:
        problem.unit = SOCKET
        raise
    return said if words[0] == "show" else _one_line(said)


def _states(account: Account) -> dict[str, dict[str, str]]:
    """Return what the user manager says of the two units."""
    shown = _user(
        account,
        "show",
        "--property=Id,LoadState,ActiveState,Result,InvocationID",
        SOCKET,
        SERVICE,
    )
    states: dict[str, dict[str, str]] = {SOCKET: {}, SERVICE: {}}
    for block in shown.split("\n\n"):
        lines = (line.partition("=") for line in plain(block).splitlines())
        state = {key: value for key, _, value in lines}
        states[state.get("Id", "")] = state
    return states


def _wait_for(account: Account) -> str | None:
    """Return None once a manager runs, else what it is instead."""
    end = time.monotonic() + _WITHOUT_ROOT_SECONDS
    while True:
        state = manager_state(account)
        if state == "active":
            return None
        if time.monotonic() > end:
            return f"it is {state}"
        time.sleep(0.1)


def _one_line(text: str) -> str:
    return " ".join(plain(text).split()).rstrip(".")
