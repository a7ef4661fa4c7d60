"""What this host, the account's engine and the image make of a server's settings."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import cgroups, stores
from .errors import SpecError
from .network import NetworkChoice
from .reach import by_name, hub_url_inside
from .settings import Engine, ImageFacts, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .account import Account
    from .answers import Image
    from .client import UserPodman

log = logging.getLogger(__name__)

_HUB_URLS = ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")
IMAGES_KNOWN = 100
"""Of each account, what is remembered of images."""


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
        if len(known) >= IMAGES_KNOWN:  # an account may say another id each time
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
