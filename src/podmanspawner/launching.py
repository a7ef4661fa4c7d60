"""Makes a server's container and starts it, or starts the one that was kept."""

from __future__ import annotations

import contextlib
import logging
import posixpath
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from . import certs, complaints, ports, sources, vault
from .builder import build
from .errors import PodmanError, PortTaken, SpecError
from .fitting import IMAGES_KNOWN, demand_network, enforceable, for_engine, image_facts
from .server import LOOK_AGAIN, PORT_LABEL, Started, end_forgotten, find, kept_port, remove
from .spec import FINGERPRINT_LABEL
from .transports import name_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .account import Account
    from .answers import Container
    from .client import UserPodman
    from .credentials import Keyring
    from .identity import UserMapping
    from .images import PullPolicy
    from .names import ServerName
    from .pulls import Progress
    from .settings import ImageFacts, ServerSettings
    from .spec import ContainerSpec

log = logging.getLogger(__name__)

PORT_TRIES = 3
_PORT_AGAIN = (0.0, 0.1, 0.4)
"""Seconds."""
PROGRESS_SECONDS = 0.5
PULL_BEGINS, PULL_ENDS = 20, 49
"""Percentages of a start."""


def launch(
    podman: UserPodman,
    settings: ServerSettings,
    *,
    pull_policy: PullPolicy = "missing",
    pull_seconds: float = 900.0,
    keyring: Keyring | None = None,
    report: Callable[[int, str], None] = lambda _percent, _message: None,
    pick_port: Callable[[str], int] | None = None,
) -> Started:
    """Get the image, then start the server's container: a new one, or the one that was kept.

    One that was kept is started again if it is still the one that would be made.

    Whoever calls it removes the container if it raises.

    Args:
        podman: the account's Podman, awake.
        settings: what is to run.
        pull_policy: when to pull the image.
        pull_seconds: limit for a pull.
        keyring: credentials for a pull.
        report: told each stage, with a percentage.
        pick_port: returns a free port of the host's address it is given; None for any, or for
            one of ``port_range``.

    Raises:
        PodmanSpawnerError: any of its kinds; see the methods called.
    """
    report(20, f"Looking for the image {settings.image}")
    image = podman.images.ensure(
        settings.image,
        pull_policy,
        seconds=pull_seconds,
        progress=_now_and_then(_pulling(report)),
        keyring=keyring,
    )
    settings = replace(settings, image=name_here(settings.image))
    facts = image_facts(podman, image, settings.container_user)
    settings = for_engine(settings, podman)
    settings = enforceable(settings, podman.account)
    if not settings.remove and settings.token_as_secret == "file":  # noqa: S105, no token
        raise SpecError(
            "token_as_secret",
            "a container that is kept would keep the last token's file; use 'env', or remove = "
            "True",
        )
    made = vault.values(settings)
    settings = replace(settings, secret_labels=vault.labels(settings, made))
    demand_network(podman, settings)
    pick_port = pick_port or partial(ports.free_port, within=settings.port_range)
    plan = partial(_plan, settings, facts, podman.account, pick_port)
    planned = plan()  # refused before anything is made
    sources.prepare(podman, settings, facts)
    old = None
    if made or not settings.remove:  # else what has its name is met when it is created
        old = find(podman, settings.server, planned.name)
    if old and not old.state.running:
        end_forgotten(podman, old.id)
    resumable = old and not settings.remove and _resumable(podman, settings, facts, old)
    if old and not resumable:
        remove(podman, old)
    for secret, value in made.items():
        podman.secrets.put(secret, value)
    if old and resumable and (resumed := _resume(podman, settings, old, report)):
        return resumed
    return _create_and_start(podman, settings, planned, plan, report)


def _pulling(report: Callable[[int, str], None]) -> Callable[[Progress], None]:
    """Pass on how far a pull is, between the stages before and after it; never backwards.

    The whole is not known from the start: layers tell their size as they come.
    """
    furthest = PULL_BEGINS

    def tell(progress: Progress) -> None:
        nonlocal furthest
        share = min(max(progress.fraction, 0.0), 1.0)
        furthest = max(furthest, PULL_BEGINS + int(share * (PULL_ENDS - PULL_BEGINS)))
        report(furthest, f"Getting the image: {progress.message}")

    return tell


def _now_and_then(tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Pass on progress only so often: how often it comes is up to the account's engine."""
    next_time = 0.0

    def maybe_tell(progress: Progress) -> None:
        nonlocal next_time
        if time.monotonic() >= next_time:
            next_time = time.monotonic() + PROGRESS_SECONDS
            tell(progress)

    return maybe_tell


def _resumable(
    podman: UserPodman, settings: ServerSettings, facts: ImageFacts, old: Container
) -> bool:
    """Whether a kept container equals what would be made with its own port."""
    port = kept_port(old)
    if port is None or old.state.status == "removing":  # as far as a crash let it
        return False
    spec = _spec(settings, facts, podman.account, port)
    if old.labels.get(FINGERPRINT_LABEL) != spec.labels[FINGERPRINT_LABEL]:
        log.info(
            "%s: the container %s is out of date, making a new one", podman.account.name, old.name
        )
        return False
    return True


def _resume(
    podman: UserPodman,
    settings: ServerSettings,
    old: Container,
    report: Callable[[int, str], None],
) -> Started | None:
    """Start a kept container, or remove it if somebody has its port.

    That may be its own from before for a moment: pasta ends a little later than the container.
    """
    report(70, "Starting the container that was kept")
    _deliver(podman, settings, old.id)
    for pause in _PORT_AGAIN:
        time.sleep(pause)
        with contextlib.suppress(PortTaken):
            podman.start(old.id)
            port = kept_port(old) or 0
            return Started(podman.account, old.id, podman.inspect(old.id), port, resumed=True)
    podman.remove(old.id)
    return None


class _Planned(NamedTuple):
    """A container that is to be made."""

    spec: ContainerSpec
    name: str
    port: int
    """Port of the host."""
    image: str
    """Id of its image."""


def _plan(
    settings: ServerSettings, facts: ImageFacts, account: Account, pick_port: Callable[[str], int]
) -> _Planned:
    """Plan a container with a port that is free at this moment, unless there is but one."""
    port = settings.port or pick_port(settings.host_ip)
    spec = _spec(settings, facts, account, port)
    return _Planned(spec, spec.name or "", port, facts.id)


def _create_and_start(
    podman: UserPodman,
    settings: ServerSettings,
    planned: _Planned,
    plan: Callable[[], _Planned],
    report: Callable[[int, str], None],
) -> Started:
    """Create and start; another process may take the port between the two: then once more."""
    for attempt in range(1, PORT_TRIES + 1):
        with _preparing(podman.account, settings, planned.spec, planned.image) as message:
            report(50, message)
            made = _create(podman, settings.server, planned)
        if settings.keep_groups:
            _demand_crun(podman, made)
        _deliver(podman, settings, made)
        report(70, "Starting the container")
        try:
            podman.start(made)
        except PortTaken:
            podman.remove(made)
            if attempt == PORT_TRIES or settings.port:
                raise
            planned = plan()
        else:
            found = podman.inspect(made)
            return Started(podman.account, made, found, planned.port, resumed=False)
    raise AssertionError  # the last attempt returns or raises


_prepared: dict[int, set[tuple[str, UserMapping]]] = {}
"""Of each account, images and mappings of which this process has made a container."""


@contextlib.contextmanager
def _preparing(
    account: Account, settings: ServerSettings, spec: ContainerSpec, image: str
) -> Iterator[str]:
    """Give what a user is told while a container is made: the first of an image may copy it.

    Whether an earlier process had one made of it, only the engine's files could tell.
    """
    known, copy = _prepared.setdefault(account.uid, set()), (image, spec.user_mapping)
    if copy in known or spec.user_mapping.mode == "root" or settings.image_stores:
        yield "Creating the container"
    else:
        yield "Preparing the image for your account; the first time this may take a minute"
    if len(known) >= IMAGES_KNOWN:  # an account may say another id each time
        known.clear()
    known.add(copy)


def _create(podman: UserPodman, server: ServerName, planned: _Planned) -> str:
    """Create a container, in the place of what has its name, which a crash has left."""
    try:
        return podman.create(planned.spec)
    except PodmanError as error:
        if not complaints.name_taken(error.message):
            raise
    _make_room(podman, server, planned.name)
    return podman.create(planned.spec)


def _make_room(podman: UserPodman, server: ServerName, name: str) -> None:
    """Remove the server's old container, or what the engine has forgotten but for its name."""
    if old := find(podman, server, name):
        if not old.state.running:
            end_forgotten(podman, old.id)
        remove(podman, old)
        return
    end_forgotten(podman, name)
    for pause in LOOK_AGAIN:  # what cleans up after its end may still be at work
        with contextlib.suppress(PodmanError):
            podman.remove(name)
            break
        time.sleep(pause)


def _deliver(podman: UserPodman, settings: ServerSettings, container: str) -> None:
    """Put the certificates into a container that is about to start; they are new each time."""
    if settings.certificates:
        podman.put_archive(container, certs.PARENT, settings.certificates.archive())


def _demand_crun(podman: UserPodman, container: str) -> None:
    """Refuse a runtime that would leave the account's groups out without a word."""
    runtime = podman.inspect(container).runtime
    if posixpath.basename(runtime) != "crun":
        raise SpecError(
            "keep_groups",
            f"it needs the runtime crun, and {podman.account.name} has {runtime!r}; install crun "
            'and set runtime = "crun" in [engine] of containers.conf',
        )


def _spec(
    settings: ServerSettings, facts: ImageFacts, account: Account, port: int
) -> ContainerSpec:
    spec = build(settings, facts, account, port=port)
    return replace(spec, labels={**spec.labels, PORT_LABEL: str(port)})
