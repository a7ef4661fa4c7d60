"""Checks of what the account's engine makes of the configuration, without a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podmanspawner import builder, cgroups, fitting, reach

from . import host
from .findings import Check, Seen, failure, ok, warning
from .text import size

if TYPE_CHECKING:
    from .case import Case

_LITTLE, _TOO_LITTLE = 4 << 30, 256 << 20
_ANY_PORT = 8888
NO_IMAGE = "the image is not here yet"


def storage(case: Case) -> Seen:
    """Look how images are stored."""
    info = case.info
    if info.storage_driver == "vfs":
        return warning(
            f"the driver vfs in {info.storage_root}, which copies the whole image for each "
            "container",
            'write driver = "overlay" into [storage] of /etc/containers/storage.conf, with '
            'runroot = "/run/containers/storage" and graphroot = "/var/lib/containers/storage" '
            f"(what {case.account.home}/.config/containers/storage.conf says goes before it); "
            f"then as {case.account.name}: podman system reset, which removes its images and "
            "containers",
        )
    return ok(f"{info.storage_driver} in {info.storage_root}")


def disk(case: Case) -> Seen:
    """Look how much room images and containers have."""
    free = case.info.storage_free
    remedy = (
        f"as {case.account.name}: podman system df, podman image prune; or share images between "
        "accounts: podmanspawner images share"
    )
    seen = f"{size(free)} free for {case.info.storage_root}"
    if free < _TOO_LITTLE:
        return failure(seen, remedy)
    return warning(seen, remedy) if free < _LITTLE else ok(seen)


def runtime(case: Case) -> Seen:
    """Look which program runs containers, and whether it can here."""
    name, version = case.info.runtime, case.info.cgroup_version
    if not name:
        return failure("the engine has none", "apt-get install crun")
    if name == "crun" and version != "v2":
        return failure(
            f"crun, which does not run with cgroups {version}",
            'apt-get install runc, and runtime = "runc" below [engine] in '
            "/etc/containers/containers.conf.d/runtime.conf",
        )
    if case.intent.settings.keep_groups and name != "crun":
        return failure(
            f"{name}, and keep_groups needs crun",
            'apt-get install crun, and runtime = "crun" below [engine] in '
            "/etc/containers/containers.conf.d/runtime.conf",
        )
    return ok(f"{name}, cgroups {version}")


def options(case: Case) -> Seen:
    """Look whether the options make a server."""
    return ok(f"image {case.intent.settings.image}, network {case.intent.settings.network}")


def limits(case: Case) -> Seen:
    """Look whether the host can enforce the limits that are configured."""
    settings = case.intent.settings
    asked = {option: getattr(settings, option) for option in cgroups.CONTROLLERS}
    asked = {option: value for option, value in asked.items() if value not in (None, -1)}
    in_the_way = cgroups.obstacles(case.account)
    if not asked:
        could = sorted(set(cgroups.CONTROLLERS) - set(in_the_way))
        return ok(f"none are set; {', '.join(could) or 'none'} could be enforced")
    lost = sorted(set(asked) & set(in_the_way))
    if not lost:
        return ok(", ".join(f"{option} {value}" for option, value in asked.items()))
    reason, _, remedy = in_the_way[lost[0]].partition("; ")
    bad = failure if settings.unenforced_limits == "error" else warning
    return bad(f"{', '.join(lost)} cannot be enforced: {reason}", remedy)


def network(case: Case) -> Seen:
    """Look whether the server's network can be made."""
    settings = case.settings
    fitting.demand_network(case.podman, settings)
    mode, _, names = reach.network(settings)
    if mode in ("pasta", "slirp4netns") and not host.which(mode):
        package = {"pasta": "passt"}.get(mode, mode)
        return failure(
            f"{settings.network} needs {mode}, which is not there", f"apt-get install {package}"
        )
    return ok(f"{settings.network}: {', '.join(names) or mode}")


def confinement(case: Case) -> Seen:
    """Look for SELinux and AppArmor."""
    if case.info.selinux:
        if "disable" in case.intent.settings.selinux_opts or not case.intent.settings.home_target:
            return ok("SELinux")
        return warning(
            "SELinux, which keeps a server from a home that has no label for containers",
            "set c.PodmanSpawner.selinux_opts = ['disable'], or give what is mounted a label: "
            "volumes = {'/srv/data': {'bind': '/data', 'mode': 'z'}}",
        )
    return ok("AppArmor" if case.info.apparmor else "neither SELinux nor AppArmor")


def image(case: Case) -> Seen:
    """Look for the image, here and then in its registry."""
    name, policy = case.intent.settings.image, case.intent.pull_policy
    if case.image:
        return ok(f"{name} is here ({case.image.id[:12]}), pull_policy {policy!r}")
    load = f"podmanspawner images preload {case.username} --from ARCHIVE"
    if policy == "never":
        return failure(f"{case.account.name} has no {name}, and pull_policy is 'never'", load)
    case.podman.images.demand_in_registry(name, keyring=case.intent.keyring)
    return warning(
        f"{case.account.name} has no {name} yet; it can be had, and the first start waits for it",
        f"podmanspawner images preload {case.username}",
    )


def mapping(case: Case) -> Seen:
    """Look who of the image is the account, and whether the whole makes a container."""
    if case.image is None:
        return Seen("skipped", NO_IMAGE)
    facts = case.facts(case.image)
    builder.build(case.settings, facts, case.account, port=_ANY_PORT)
    choice, _ = builder.map_user(case.settings.user_mapping, facts, case.account)
    who = facts.user or "root"
    numbers = "" if facts.uid is None or who.isdecimal() else f" ({facts.uid}:{facts.gid})"
    inside = choice.account_inside(case.account.uid)
    is_who = "nobody inside" if inside is None else f"uid {inside} inside"
    return ok(f"the image runs as {who}{numbers}; {case.account.name} is {is_who} ({choice.mode})")


CHECKS: tuple[Check[Case], ...] = (
    Check("storage", "vfs is slow and takes a copy of the image for each container", storage),
    Check("disk", "an image and its mapped copy take twice its size", disk),
    Check("options", "an option with a wrong value fails each start", options),
    Check("runtime", "it runs the containers", runtime, ["options"]),
    Check("limits", "a limit that cannot be enforced fails the start", limits, ["options"]),
    Check("network", "the proxy reaches the server through it", network, ["options"]),
    Check("confinement", "it may keep servers from what is mounted", confinement, ["options"]),
    Check("image", "the server is made from it", image, ["options"]),
    Check(
        "user mapping", "files in the home get their owner by it", mapping, ["image", "network"]
    ),
)
"""In the order in which a start would fail."""
