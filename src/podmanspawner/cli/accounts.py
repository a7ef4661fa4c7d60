"""Which accounts a command is about, and work done in several of them."""

from __future__ import annotations

import os
import pwd
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from podmanspawner import privileges
from podmanspawner.account import Account, uid_min
from podmanspawner.answers import one_line
from podmanspawner.errors import AccountError, PodmanSpawnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .hub import HubConfiguration, Lone

T = TypeVar("T")

_AT_A_TIME = 8
_USED = '[ -e "$HOME/.local/share/containers" ] || [ -e "$XDG_RUNTIME_DIR/containers" ] && echo y'


@dataclass(frozen=True)
class Place:
    """An account, and the spawner that tells how its Podman is reached."""

    account: Account
    spawner: Lone
    username: str = ""
    """The one user whom the command is about; empty for all of the account's."""


def places(hub: HubConfiguration, usernames: Sequence[str]) -> list[Place]:
    """Return the accounts of these users; without any, all that this process may look into.

    Raises:
        AccountError: a user has no account that can be served, or not by this process.
    """
    if usernames:
        return [_of_user(hub, username) for username in usernames]
    if os.geteuid() != 0:
        account = Account.lookup(pwd.getpwuid(os.geteuid()).pw_name)
        return [Place(account, hub.spawner(account.name, hub.offers[0]))]
    return list(_all(hub))


def _of_user(hub: HubConfiguration, username: str) -> Place:
    spawner = hub.spawner(username, hub.offers[0])
    account = Account.lookup(spawner.account_name)
    privileges.demand_may_become(account)
    return Place(account, spawner, username)


def _all(hub: HubConfiguration) -> Iterator[Place]:
    """Yield the accounts that have used Podman: to ask the others would make them stores."""
    lowest = uid_min()
    for entry in pwd.getpwall():
        if entry.pw_uid < lowest:
            continue
        try:
            account = Account.lookup(entry.pw_name)
            if privileges.run(account, ["sh", "-c", _USED]).strip() == "y":
                yield Place(account, hub.spawner(account.name, hub.offers[0]))
        except AccountError:
            continue
        except PodmanSpawnerError as error:
            complain(entry.pw_name, error)


def in_each(places: Sequence[Place], work: Callable[[Place], T]) -> tuple[list[T], bool]:
    """Do work in each account, a few at a time; one that fails is told of and left out.

    Returns:
        what came of it, in the accounts' order, and whether none failed.
    """
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        pending = [(place, pool.submit(work, place)) for place in places]
    results = []
    for place, future in pending:
        try:
            results.append(future.result())
        except (PodmanSpawnerError, OSError) as error:
            complain(place.account.name, error)
    return results, len(results) == len(places)


def complain(name: str, error: Exception) -> None:
    """Print on standard error what went wrong in an account."""
    click.echo(f"{name}: {one_line(str(error))}", err=True)
