"""``podmanspawner doctor``: what a start needs, in the order in which it fails."""

from __future__ import annotations

import difflib
import json
import os
import pwd
from typing import TYPE_CHECKING

import click

from . import account, engine, findings, host, trial
from .case import Case
from .findings import Finding
from .hub import ConfigurationError, defaults, read
from .text import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .hub import HubConfiguration

_WHY_CONFIGURATION = "the Hub does not start without it"
_FEW = 5
"""So many users of the configuration are looked at when none is named."""


def doctor(path: Path | None, usernames: Sequence[str], *, try_it: bool, as_json: bool) -> bool:
    """Look at everything a start needs, print it, and return whether a start can work."""
    found: list[Finding] = []
    subject = ""
    for finding in _findings(path, usernames, try_it=try_it):
        found.append(finding)
        if as_json:
            continue
        if finding.subject != subject:
            subject = finding.subject
            click.secho(subject, bold=True)
        show(finding)
    fine = not any(finding.status == "failure" for finding in found)
    if as_json:
        rows = [finding.to_json() for finding in found]
        click.echo(json.dumps({"ok": fine, "findings": rows}, indent=2))
    else:
        _sum_up(found)
    return fine


def _findings(path: Path | None, usernames: Sequence[str], *, try_it: bool) -> Iterator[Finding]:
    hub, finding = _configuration(path)
    yield finding
    yield from findings.look("host", host.CHECKS, hub)
    if finding.status == "failure":
        return
    for username in usernames or _usual_users(hub):
        yield from _of_user(hub, username, try_it=try_it)


def _configuration(path: Path | None) -> tuple[HubConfiguration, Finding]:
    try:
        hub = read(path)
        for offer in hub.offers:
            hub.spawner("", offer)
    except ConfigurationError as error:
        return defaults(), _finding(findings.refused(error))
    if hub.path is None:
        return hub, _finding(
            findings.warning(
                "no jupyterhub_config.py here or in /etc/jupyterhub: the options' defaults",
                "podmanspawner doctor -f FILE",
            )
        )
    if unknown := next(_unknown(hub), None):
        return hub, _finding(unknown)
    names = ", ".join(offer.name for offer in hub.offers)
    kinds = f"profiles {names}" if names else hub.offers[0].spawner_class.__name__
    return hub, _finding(findings.ok(f"{hub.path}: {kinds}"))


def _unknown(hub: HubConfiguration) -> Iterator[findings.Seen]:
    """Yield each option that the configuration sets and that is none; the Hub only logs it."""
    for cls in (type(hub.app), *(offer.spawner_class for offer in hub.offers)):
        known = cls.class_trait_names(config=True)
        for section in (base.__name__ for base in cls.mro()):
            for name in hub.config.get(section, ()):
                if name[:1].islower() and name not in known:
                    near = " or ".join(difflib.get_close_matches(name, known, 3))
                    meant = f"did you mean {near}? " if near else ""
                    yield findings.warning(
                        f"{hub.path} sets c.{section}.{name}, which is no option",
                        f"{meant}jupyterhub --generate-config writes all that there are",
                    )


def _finding(seen: findings.Seen) -> Finding:
    return Finding(
        "host", "configuration", seen.status, seen.text, _WHY_CONFIGURATION, seen.remedy
    )


def _usual_users(hub: HubConfiguration) -> list[str]:
    """Return whom to look at when nobody is named: oneself, or the first of those let in."""
    if os.geteuid() != 0:
        return [pwd.getpwuid(os.geteuid()).pw_name]
    return hub.users[:_FEW]


def _of_user(hub: HubConfiguration, username: str, *, try_it: bool) -> Iterator[Finding]:
    """Yield what is found for a user with each way to a server; the account is looked at once."""
    checks = engine.CHECKS + trial.CHECKS + (trial.TRY if try_it else ())
    for number, offer in enumerate(hub.offers):
        subject = f"{username}, profile {offer.name}" if offer.name else username
        case = Case(hub, username, offer)
        try:
            before = list(findings.look(username, account.CHECKS, case))
            if number == 0:
                yield from before
            if all(finding.status in ("ok", "warning") for finding in before):
                yield from findings.look(subject, checks, case)
        finally:
            case.close()


def _sum_up(found: Sequence[Finding]) -> None:
    failures = sum(finding.status == "failure" for finding in found)
    warnings = sum(finding.status == "warning" for finding in found)
    click.echo()
    if all(finding.subject == "host" for finding in found):
        click.echo("No account was looked at. Name users: podmanspawner doctor ada bob")
    warned = f"{warnings} warning{'' if warnings == 1 else 's'}"
    if failures:
        click.secho(f"{failures} failed, {warned}: servers will not start", fg="red")
    else:
        click.secho(f"all is well, {warned}", fg="green")
