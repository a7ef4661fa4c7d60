"""What an administrator does about a fault that Podman itself tells of; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .answers import one_line

if TYPE_CHECKING:
    from .account import Account

_REMEDIES = (
    (
        r"no space left|quota exceeded|disk is full",
        (
            "Free some space for {name}, or raise its quota: 'podman system df', as {name}, shows "
            "what its images and containers take"
        ),
    ),
    (
        r"cannot set (user|mnt) namespace|cannot join (user|mount) namespace",
        (
            "{pause} names a process that is not Podman's: remove this file as {name}. Servers "
            "that run are not touched by that"
        ),
    ),
    (
        r"bbolt|invalid database|is not a database|disk image is malformed",
        (
            "The database of its containers is damaged: rename it as {name}, be it {store}/db.sql "
            "or {store}/libpod/bolt_state.db; then end a service that still has it: pkill -KILL "
            "-u {name} -f 'podman .*system service'. Images and volumes stay; containers are "
            "forgotten, and what runs of a server is ended when it stops or starts again"
        ),
    ),
    (
        r"exceeded num_locks",
        (
            "All of Podman's locks are taken, one for each container and volume of {name}. If "
            "there are not that many, a service that was killed has kept some: run 'podman "
            "system renumber' as {name} while none of its servers runs"
        ),
    ),
    (
        r"unexpected end of JSON input",
        (
            "One of its files was left empty, by a crash or a full disk. If it is {store}/secrets/"
            "secrets.json or {store}/secrets/filedriver/secretsdata.json, remove both as {name}, "
            "and try again when its service has been idle for some seconds: only secrets are "
            "lost, and those of servers are made anew"
        ),
    ),
    (
        r"no secret data with ID|^deleting secret .*no such secret",
        (
            "A secret has lost its data, by a crash, and cannot be removed any more. Remove "
            "{store}/secrets/secrets.json and {store}/secrets/filedriver/secretsdata.json as "
            "{name}, and try again when its service has been idle for some seconds: all its "
            "secrets are lost, and those of servers are made anew"
        ),
    ),
)


def words(output: str) -> str:
    """Return what Podman printed as one line; of a crash its first, without where it happened."""
    first, _, rest = output.partition("\n")
    return one_line(first if re.search(r"^goroutine \d", rest, re.MULTILINE) else output)


def remedy(said: str, account: Account) -> str:
    """Return what to do about what an account's Podman said; empty if that is not known."""
    for pattern, text in _REMEDIES:
        if re.search(pattern, said):
            return text.format(
                name=account.name,
                pause=account.runtime_dir / "libpod/tmp/pause.pid",
                store=f"{account.home}/.local/share/containers/storage",
            )
    return ""
