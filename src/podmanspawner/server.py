"""One server's container, step by step, in the account's thread; knows nothing of JupyterHub."""

from __future__ import annotations

import contextlib
import logging
import posixpath
import shutil
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from . import answers, certs, cgroups, leftovers, ports, sources, stores, vault
from .answers import one_line, quoted
from .builder import build
from .errors import (
    ContainerNotFound,
    PodmanError,
    PodmanSpawnerError,
    PortTaken,
    SpecError,
    UntrustedServiceError,
)
from .names import ServerName
from .network import NetworkChoice
from .reach import by_name, hub_url_inside
from .settings import Engine, ImageFacts, ServerSettings
from .spec import FINGERPRINT_LABEL
from .transports import name_here
from .watch import Unwatchable, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .account import Account
    from .answers import Container, Image
    from .client import UserPodman
    from .credentials import Keyring
    from .identity import UserMapping
    from .images import PullPolicy
    from .pulls import Progress
    from .spec import ContainerSpec

log = logging.getLogger(__name__)

PORT_LABEL = "podmanspawner.port"
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105, the name of a variable
PORT_TRIES = 3
_PORT_AGAIN = (0.0, 0.1, 0.4)
"""Seconds."""
LOG_LINES = 30
PROGRESS_SECONDS = 0.5
PULL_BEGINS, PULL_ENDS = 20, 49
"""Percentages of a start."""
_LOOK_AGAIN = (0.05, 0.25, 1.0)
"""Seconds."""
_LOG_AGAIN = (0.05, 0.0)
"""Seconds."""
_IMAGES_KNOWN = 100
_KILLED = 128 + 9
_UNITS = (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10))
"""As in the sizes that options take."""
_HUB_URLS = ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")


class ServerEnded(PodmanError):  # noqa: N818, named as the field names it
    """The server ended while it was starting."""

    def __init__(self, container: Container, last_lines: str) -> None:
        super().__init__(
            f"The server ended while it was starting ({how_it_ended(container)}). Start it again; "
            "if it stays so, show whoever runs this Hub its last lines:\n" + quoted(last_lines),
            operation="start the server",
        )
        self.exit_code = container.state.exit_code
        """Exit code of the server."""
        self.last_lines = last_lines
        """What it printed last."""


def how_it_ended(container: Container) -> str:
    """Return the exit code of a container that has ended, and what the engine knows besides."""
    state = container.state
    how = f"exit code {state.exit_code}"
    if state.oom_killed:
        # true also if the kernel took one of its processes long before the end
        killed = state.exit_code == _KILLED
        how += ", out of memory" if killed else ", one of its processes was out of memory before"
        how += f", {memory_limit(container.memory_limit)}"
    if state.error:
        how += f", {state.error}"
    return how


def cause_of_end(container: Container) -> str:
    """Return the word of the metrics for how a container ended."""
    state = container.state
    if state.oom_killed and state.exit_code == _KILLED:
        return "out_of_memory"
    return "error" if state.exit_code else "exit"


def memory_limit(limit: int) -> str:
    """Return a limit in bytes, as people say it; 0 is none."""
    if not limit:
        return "without a limit of its own"
    unit, size = next(
        ((unit, limit / size) for unit, size in _UNITS if limit >= size), ("bytes", limit)
    )
    return f"limit {size:.4g} {unit}"


@dataclass(frozen=True)
class Started:
    """A container that has been started."""

    account: Account
    """Whose it is."""
    id: str
    found: Container
    """What the engine says of it, just after the start."""
    port: int
    """Port of the host on which the server is to be reached."""
    resumed: bool
    """Whether it is a kept container, started again."""


def find(podman: UserPodman, server: ServerName, name: str) -> Container | None:
    """Return the server's container, in whatever state, if there is one.

    Raises:
        PodmanError: a container of that name exists, but is not this server's.
    """
    try:
        found = podman.inspect(name)
    except ContainerNotFound:
        return None
    if ServerName.from_labels(found.labels) != server:
        raise PodmanError(
            f"{podman.account.name} has a container {name} that does not belong to this server. "
            f"Rename or remove it ('podman rm {name}'), or change prefix or name_template.",
            operation=f"find container {name}",
        )
    return found


def remove(podman: UserPodman, container: Container) -> None:
    """Remove the secrets that were made for a server, then the container that tells of them."""
    server = ServerName.from_labels(container.labels)
    if server and vault.SECRETS_LABEL in container.labels:
        forget_secrets(podman, server)
    podman.remove(container.id)


def end_forgotten(podman: UserPodman, *containers: str, seconds: int = 0) -> bool:
    """End what runs of a container that does not run as the engine says; whether there was any.

    The engine says so after its runtime directory was wiped, or its database lost.

    Args:
        podman: the account's Podman.
        containers: name, id, or both.
        seconds: time between the usual signal and SIGKILL.

    Raises:
        ServiceError: it does not end.
    """
    was_there = leftovers.end(podman.account, *containers, seconds=seconds)
    if was_there:
        log.warning(
            "%s: processes of the container %s, which Podman had forgotten, have been ended",
            podman.account.name,
            containers[0],
        )
    return was_there


def ask_to_end(podman: UserPodman, found: Container) -> bool:
    """Send a server its stop signal; return whether it was sent.

    Who holds its process sees its end at once: the engine's own way of stopping looks ten times a
    second only.
    """
    try:
        podman.kill(found.id, signal=found.stop_signal or "SIGTERM")
    except (PodmanError, SpecError):  # it has just ended, or has a signal that has no name here
        return False
    return True


def stop(podman: UserPodman, container: str, *, seconds: int) -> None:
    """Stop a running container; an error of the engine's is none if it has ended all the same.

    An engine whose conmon is gone ends the process and then misses its exit code.
    """
    try:
        podman.stop(container, seconds=seconds)
    except ContainerNotFound:  # its user was faster
        return
    except PodmanError:
        if podman.inspect(container).state.running:
            raise


def forget_secrets(podman: UserPodman, server: ServerName) -> tuple[str, ...]:
    """Remove all secrets that were made for a server; return their names, as it knows them."""
    own = vault.prefix(server)
    return tuple(name.removeprefix(own) for name in podman.secrets.remove_beginning(own))


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
    if len(known) >= _IMAGES_KNOWN:  # an account may say another id each time
        known.clear()
    known.add(copy)


def _create(podman: UserPodman, server: ServerName, planned: _Planned) -> str:
    """Create a container, in the place of what has its name, which a crash has left."""
    try:
        return podman.create(planned.spec)
    except PodmanError as error:
        if not answers.name_taken(error.message):
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
    for pause in _LOOK_AGAIN:  # what cleans up after its end may still be at work
        with contextlib.suppress(PodmanError):
            podman.remove(name)
            break
        time.sleep(pause)


def enforceable(
    settings: ServerSettings, account: Account, obstacles: Mapping[str, str] | None = None
) -> ServerSettings:
    """Return the settings without limits that the host cannot enforce, if a warning is enough.

    Left to itself, the engine ignores them on some hosts and fails obscurely on others.

    Raises:
        SpecError: there is such a limit, and ``unenforced_limits`` is ``"error"``.
    """
    asked = {option: getattr(settings, option) for option in cgroups.CONTROLLERS}
    asked = {option: value for option, value in asked.items() if value is not None}
    raw = settings.extra_spec.get("resource_limits")
    raw = raw if isinstance(raw, dict) else {}
    if not asked and not raw:
        return settings
    in_the_way = cgroups.obstacles(account) if obstacles is None else obstacles
    lost: dict[str, Any] = {option: None for option in asked if option in in_the_way}
    for option in lost:
        if option == "pids_limit" and asked[option] == -1:
            continue  # no limit, which crun would refuse to set
        _unenforced(settings, account, option, f"{asked[option]}", in_the_way[option])
    kept = dict(raw)
    for part, option in cgroups.LIKE_OPTIONS.items():
        if part in raw and option in in_the_way:
            what = f"{part} of resource_limits, {kept.pop(part)},"
            _unenforced(settings, account, "extra_spec", what, in_the_way[option])
    if kept != raw:
        lost["extra_spec"] = {**settings.extra_spec, "resource_limits": kept}
    return replace(settings, **lost)


def _unenforced(
    settings: ServerSettings, account: Account, option: str, limit: str, why: str
) -> None:
    reason = f"{limit} cannot be enforced: {why}"
    if settings.unenforced_limits == "error":
        raise SpecError(option, f"{reason}. Or drop the limit, or set unenforced_limits to 'warn'")
    log.warning("%s: %s: %s", account.name, option, reason)


def demand_network(podman: UserPodman, settings: ServerSettings) -> None:
    """Refuse a named network that is not there, or that does not lead to the Hub."""
    choice = NetworkChoice.parse(settings.network)
    if choice.kind != "named":
        return
    internal = podman.network_is_internal(choice.name)
    if internal is None:
        raise SpecError(
            "network",
            f"{podman.account.name} has no network {choice.name!r}. Create it as the account: "
            f"'podman network create {choice.name}'",
        )
    if internal and settings.hub_port is not None:
        raise SpecError(
            "network",
            f"{choice.name!r} is internal: nothing in it reaches the host, where the Hub is. "
            "Create it without --internal, or name another one",
        )


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


def for_engine(settings: ServerSettings, podman: UserPodman) -> ServerSettings:
    """Return the settings with what the engine decides: network, owners, the Hub's address."""
    engine = Engine(
        podman.engine_version,
        pasta=shutil.which("pasta") is not None,
        one_owner=bool(settings.image_stores) and stores.one_owner(podman.account),
    )
    settings = replace(settings, engine=engine)
    urls = {key: settings.environment[key] for key in _HUB_URLS if settings.environment.get(key)}
    inside = {key: hub_url_inside(url, settings) for key, url in urls.items()}
    hosts = dict(settings.extra_hosts)
    if settings.certificates and inside != urls:
        inside, own_hosts = by_name(inside, settings.certificates.hub_names)
        hosts |= own_hosts
    return replace(settings, environment={**settings.environment, **inside}, extra_hosts=hosts)


_ids: dict[int, dict[tuple[str, str], tuple[int, int]]] = {}
"""Of each account, by image and user."""


def image_facts(podman: UserPodman, image: Image, user: str = "") -> ImageFacts:
    """Return what the builder needs to know of an image and of its user, or of another one of it.

    A user is looked up once, while the account does not use too many images.
    """
    known = _ids.setdefault(podman.account.uid, {})
    uid_gid = known.get((image.id, user))
    if uid_gid is None:
        uid_gid = podman.images.user_ids(image, user)
        if len(known) >= _IMAGES_KNOWN:  # an account may say another id each time
            known.clear()
        known[image.id, user] = uid_gid
    return ImageFacts(
        id=image.id,
        user=user or image.user,
        working_dir=image.working_dir,
        environment=image.environment,
        command=image.command,
        entrypoint=image.entrypoint,
        uid=uid_gid[0],
        gid=uid_gid[1],
    )


def kept_port(container: Container) -> int | None:
    """Return the port that a kept container publishes; who listens there is checked later."""
    text = container.labels.get(PORT_LABEL, "")
    port = int(text) if text.isdecimal() and len(text) <= 5 else 0  # noqa: PLR2004
    return port if 0 < port <= 65535 else None  # noqa: PLR2004


def kept_token(container: Container) -> str:
    """Return the token that a kept container holds; the Hub has the last word on it."""
    return container.environment.get(TOKEN, "")[:256]


def last_words(podman: UserPodman, container: str) -> str:
    """Return the last lines of a container that has ended; they may come a moment later.

    How it ended is told also if they cannot be read.
    """
    for pause in _LOG_AGAIN:
        try:
            lines = podman.logs(container, tail=LOG_LINES)
        except PodmanSpawnerError as error:
            return f"(the log cannot be read: {error})"
        if lines:
            return lines.strip()
        time.sleep(pause)
    return ""


def complaint(podman: UserPodman, started: Started, host: str) -> str | None:
    """Run the health check; return what it printed if all is not well, else None.

    Raises:
        PodmanSpawnerError: as :func:`listening`, which is asked first.
        SpecError: there is no health check.
    """
    listening(podman, started.id, host, started.port)
    if podman.healthy(started.id):
        return None
    return podman.inspect(started.id).state.health


def listening(
    podman: UserPodman, container: str, host: str, port: int, *, has_ended: bool = False
) -> bool:
    """Whether a container's port has a listener, which is proved to be the account's.

    Args:
        podman: the account's Podman.
        container: name or id.
        host: address where it is to be listened on.
        port: the port there.
        has_ended: whether its process is known to have ended.

    Raises:
        ServerEnded: the container does not run any more.
        ContainerNotFound: nor is it there.
        UntrustedServiceError: somebody else listens.
    """
    for pause in (*_LOOK_AGAIN, 0.0):
        found = podman.inspect(container)
        if not has_ended or not found.state.running:
            break
        time.sleep(pause)  # the engine learns of it a moment later
    if has_ended or not found.state.running:
        last_lines = last_words(podman, container)
        if "failed to exec pid1" in last_lines:  # the init process's words
            option = "entrypoint" if found.entrypoint else "cmd"
            program = next(iter(found.entrypoint or found.command), "")
            what_to_do = "Choose one of its own"
            if len(program.split()) > 1:
                what_to_do = f"Write it as a list of words: {program.split()}"
            raise SpecError(
                option,
                f"the image has no program {program!r}. {what_to_do}. ({one_line(last_lines)})",
            )
        raise ServerEnded(found, last_lines)
    uids = ports.listener_uids(host, port)
    foreign = [uid for uid in uids if not podman.account.owns(uid)]
    if foreign:
        raise UntrustedServiceError(
            f"Port {port} of {host}, meant for the server of {podman.account.name}, is listened "
            f"on by uid {foreign[0]}. Start the server again; it gets another port.",
            reason="peer",
        )
    return bool(uids)


def look(
    podman: UserPodman, container: str, host: str, port: int, has_ended: bool
) -> tuple[Container, bool]:
    """Return the container, and whether the kernel agrees that it runs.

    What does not agree is looked at again: the engine learns of an end a moment after the kernel.

    Args:
        podman: the account's Podman.
        container: name or id.
        host: address where it is to be listened on, by the account alone.
        port: the port there; 0 if it is not known.
        has_ended: whether its process is known to have ended.

    Raises:
        ContainerNotFound: there is none.
    """
    for pause in (*_LOOK_AGAIN, 0.0):
        found = podman.inspect(container)
        uids = ports.listener_uids(host, port) if port else {podman.account.uid}
        is_well = not has_ended and bool(uids) and all(map(podman.account.owns, uids))
        if is_well or not found.state.running:
            break
        time.sleep(pause)
    return found, is_well


def watch(account: Account, found: Container, host: str, port: int) -> Watch | None:
    """Hold a running server, so that its end is noticed; None if that cannot be done."""
    try:
        return Watch(account, found.state, host, port, memory_limit=found.memory_limit)
    except Unwatchable as error:
        log.info("%s: %s: %s", account.name, found.name, error)
        return None
