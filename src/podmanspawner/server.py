"""One server's container, step by step, in the account's thread; knows nothing of JupyterHub."""

from __future__ import annotations

import logging
import posixpath
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import ports, stores
from .answers import quoted
from .builder import build, hub_url_inside
from .errors import ContainerNotFound, PodmanError, PortTaken, SpecError, UntrustedServiceError
from .names import ServerName
from .settings import Engine, ImageFacts, ServerSettings
from .spec import FINGERPRINT_LABEL
from .watch import Unwatchable, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from .account import Account
    from .answers import Container, Image
    from .client import UserPodman
    from .images import PullPolicy
    from .spec import ContainerSpec

log = logging.getLogger(__name__)

PORT_LABEL = "podmanspawner.port"
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105, the name of a variable
PORT_TRIES = 3
LOG_LINES = 30
PROGRESS_SECONDS = 0.5
_LOOK_AGAIN = (0.05, 0.25, 1.0)
"""Seconds."""
_LOG_TRIES = 4
_LOG_SECONDS = 0.05
_HUB_URLS = ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")


class ServerEnded(PodmanError):  # noqa: N818, named as the field names it
    """The server ended while it was starting."""

    def __init__(self, container: Container, last_lines: str) -> None:
        state = container.state
        why = f"exit code {state.exit_code}"
        if state.oom_killed:
            why += ", out of memory"
        if state.error:
            why += f", {state.error}"
        super().__init__(
            f"The server ended while it was starting ({why}). Its last lines:\n"
            + quoted(last_lines),
            operation="start the server",
        )
        self.exit_code = state.exit_code
        """Exit code of the server."""
        self.last_lines = last_lines
        """What it printed last."""


@dataclass(frozen=True)
class Started:
    """A container that has been started."""

    id: str
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


def launch(
    podman: UserPodman,
    settings: ServerSettings,
    *,
    pull_policy: PullPolicy = "missing",
    pull_seconds: float = 900.0,
    keep: bool = False,
    report: Callable[[int, str], None] = lambda _percent, _message: None,
    pick_port: Callable[[str], int] = ports.free_port,
) -> Started:
    """Get the image, then start the server's container, a new one or the one that was kept.

    Whoever calls it removes the container if it raises.

    Args:
        podman: the account's Podman, awake.
        settings: what is to run.
        pull_policy: when to pull the image.
        pull_seconds: limit for a pull.
        keep: start a kept container again if it is still the one that would be made.
        report: told each stage, with a percentage.
        pick_port: returns a free port of the host's address it is given.

    Raises:
        PodmanSpawnerError: any of its kinds; see the methods called.
    """
    report(20, f"Looking for the image {settings.image}")
    image = podman.images.ensure(
        settings.image,
        pull_policy,
        seconds=pull_seconds,
        progress=_now_and_then(lambda line: report(30, f"Pulling the image: {line}")),
    )
    facts = image_facts(podman, image, settings.container_user)
    settings = for_engine(settings, podman)
    name = settings.server.container(settings.prefix, settings.name_template)
    old = find(podman, settings.server, name)
    if old and keep and (resumed := _resume(podman, settings, facts, old, report)):
        return resumed
    if old:
        podman.remove(old.id)
    return _create_and_start(podman, settings, facts, report, pick_port)


def _now_and_then(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Pass on a line only so often: how many come is up to the account's engine."""
    next_time = 0.0

    def maybe_tell(line: str) -> None:
        nonlocal next_time
        if time.monotonic() >= next_time:
            next_time = time.monotonic() + PROGRESS_SECONDS
            tell(line)

    return maybe_tell


def _resume(
    podman: UserPodman,
    settings: ServerSettings,
    facts: ImageFacts,
    old: Container,
    report: Callable[[int, str], None],
) -> Started | None:
    """Start a kept container if it equals what would be made with its own port."""
    port = kept_port(old)
    if port is None:
        return None
    spec = _spec(settings, facts, podman.account, port)
    if old.labels.get(FINGERPRINT_LABEL) != spec.labels[FINGERPRINT_LABEL]:
        log.info(
            "%s: the container %s is out of date, making a new one", podman.account.name, old.name
        )
        return None
    report(70, "Starting the container that was kept")
    try:
        podman.start(old.id)
    except PortTaken:
        return None
    return Started(old.id, port, resumed=True)


def _create_and_start(
    podman: UserPodman,
    settings: ServerSettings,
    facts: ImageFacts,
    report: Callable[[int, str], None],
    pick_port: Callable[[str], int],
) -> Started:
    """Create and start; another process may take the port between the two: then once more."""
    for attempt in range(1, PORT_TRIES + 1):
        port = settings.port or pick_port(settings.host_ip)
        report(50, "Creating the container; the first one of an image may take a minute")
        made = podman.create(_spec(settings, facts, podman.account, port))
        if settings.keep_groups:
            _demand_crun(podman, made)
        report(70, "Starting the container")
        try:
            podman.start(made)
        except PortTaken:
            podman.remove(made)
            if attempt == PORT_TRIES or settings.port:
                raise
        else:
            return Started(made, port, resumed=False)
    raise AssertionError  # the last attempt returns or raises


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
    environment = dict(settings.environment)
    for key in _HUB_URLS:
        if environment.get(key):
            environment[key] = hub_url_inside(environment[key], settings.network, engine)
    return replace(settings, engine=engine, environment=environment)


_ids: dict[tuple[int, str, str], tuple[int, int]] = {}


def image_facts(podman: UserPodman, image: Image, user: str = "") -> ImageFacts:
    """Return what the builder needs to know of an image and of its user, or of another one of it.

    A user is looked up once.
    """
    key = (podman.account.uid, image.id, user)
    uid_gid = _ids.get(key)
    if uid_gid is None:
        uid_gid = _ids[key] = podman.images.user_ids(image, user)
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
    """Return the last lines of a container that has ended; they may come a moment later."""
    for _ in range(_LOG_TRIES):
        if lines := podman.logs(container, tail=LOG_LINES).strip():
            return lines
        time.sleep(_LOG_SECONDS)
    return ""


def listening(podman: UserPodman, container: str, host: str, port: int) -> Container | None:
    """Return the container if its port has a listener, which is proved to be the account's.

    Raises:
        ServerEnded: the container does not run any more.
        ContainerNotFound: nor is it there.
        UntrustedServiceError: somebody else listens.
    """
    found = podman.inspect(container)
    if not found.state.running:
        last_lines = last_words(podman, container)
        if "failed to exec pid1" in last_lines:  # the init process's words
            program = next(iter(found.command), "")
            raise SpecError(
                "cmd",
                f"the image has no program {program!r}. Choose one of its own. ({last_lines})",
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
    return found if uids else None


def look(podman: UserPodman, container: str, host: str, port: int) -> tuple[Container, bool]:
    """Return the container, and whether the account alone listens at its port (0: not looked at).

    What does not agree is looked at again: the engine learns of an end a moment after the kernel.

    Raises:
        ContainerNotFound: there is none.
    """
    for pause in (*_LOOK_AGAIN, 0.0):
        found = podman.inspect(container)
        uids = ports.listener_uids(host, port) if port else {podman.account.uid}
        listens = bool(uids) and all(map(podman.account.owns, uids))
        if listens or not found.state.running:
            break
        time.sleep(pause)
    return found, listens


def watch(podman: UserPodman, found: Container, host: str, port: int) -> Watch | None:
    """Hold a running server, so that its end is noticed; None if that cannot be done."""
    try:
        return Watch(podman.account, found.state, host, port)
    except Unwatchable as error:
        log.info("%s: %s: %s", podman.account.name, found.name, error)
        return None
