"""What the engine's errors say, in the words of each version and runtime; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import ImageNotFound, PodmanError, PortTaken, SpecError

if TYPE_CHECKING:
    from .errors import PodmanSpawnerError
    from .spec import ContainerSpec


_PULL_REMEDIES = (
    (r"pull_timeout", "A registry that has stalled does so: try again."),
    (
        r"no space left|quota exceeded",
        (
            "Free some space in the account's home, with 'podman system df' and 'podman image "
            "prune' as the account."
        ),
    ),
    (
        r"unauthorized|authentication required|access .* denied|invalid username|forbidden",
        (
            "Give a user name and password of the registry (hub_authfile, authfile or "
            "registry_credentials; or 'podman login' as the account) that may read the image. "
            "Some registries answer so to a wrong name."
        ),
    ),
    (
        r"x509|certificate|tls:|http response to https",
        (
            "Put the registry's certificate authority into "
            "/etc/containers/certs.d/HOST:PORT/ca.crt; a registry without TLS needs 'insecure = "
            "true' in registries.conf."
        ),
    ),
    (
        r"manifest unknown|name unknown|not found|no image found in manifest",
        "Check its name, its tag and that it is made for this machine's architecture.",
    ),
    (
        r"short-name|unqualified",
        "Write the registry in front of the name, such as quay.io/NAME or docker.io/library/NAME.",
    ),
    (
        r"",
        (
            "Check its name and that the host reaches the registry, through the proxies of the "
            "account's Podman service where there are any."
        ),
    ),
)


def of_create(message: str, spec: ContainerSpec, account: str) -> SpecError | None:
    """Return which option has a container refused, if that can be told.

    Versions differ in the status, and it says little in all of them.
    """
    if refused := refused_security(message):
        return SpecError(refused[0], f"{refused[1]}. ({message})")
    missing_source = missing_path(message)
    for device in spec.devices:
        # Podman 4.3 panics where no CDI specification exists at all
        nowhere = "=" in device and "slice bounds out of range" in message
        if nowhere or (missing_source and device.startswith(missing_source)):
            return SpecError(
                "devices",
                f"the host has no {device}, or {account} may not see it. CDI names, which gpus "
                "stands for, are looked up in /etc/cdi and /run/cdi.",
            )
    if field := malformed_field(message):
        return SpecError(
            "extra_spec",
            f"the engine takes no such value for {field!r}; see Podman's API reference, "
            f"ContainerCreateLibpod. ({message})",
        )
    if zone := unknown_zone(message):
        return SpecError(
            "extra_spec", f"the host has no time zone {zone}, which is /usr/share/zoneinfo/{zone}."
        )
    if missing_source:
        options = [m.option for m in spec.mounts if m.source == missing_source]
        options += ["extra_spec"] if spec.extra else ["volumes"]
        return SpecError(
            options[0],
            f"the source {missing_source} does not exist, or {account} may not see it. Create it "
            "on the host, or correct the option.",
        )
    return None


def of_pull(name: str, why: str, scope: str) -> ImageNotFound:
    """Return why an image could not be pulled, with what to do.

    Args:
        name: of the image.
        why: the engine's words.
        scope: whose credentials were used, if any.
    """
    remedy = next(
        text for pattern, text in _PULL_REMEDIES if re.search(pattern, why, re.IGNORECASE)
    )
    used = f" with the credentials for {scope}" if scope else ""
    return ImageNotFound(
        f"The image {name} could not be pulled{used}: {why.rstrip('.')}. {remedy} Or load it for "
        "the account and set pull_policy to 'never'.",
        operation=f"pull image {name}",
    )


def of_start(error: PodmanError) -> PodmanSpawnerError | None:
    """Return what keeps a container from starting, if that can be told."""
    message = error.message
    if "address already in use" in message.lower():
        return PortTaken(
            f"{message}. Another process took the port meanwhile: try again with another one.",
            operation=error.operation,
            status=error.status,
        )
    if refused := refused_option(message):
        return SpecError(refused[0], f"{refused[1]}. ({message})")
    if program := missing_program(message):
        return SpecError(
            "cmd",
            f"the image has no program {program!r}, the first word of cmd, or of entrypoint where "
            "there is one; or mem_limit or cpu_limit cannot be applied because no cgroup is "
            f"delegated. {message}",
        )
    return None


def missing_path(message: str) -> str | None:
    """Return the path that the engine found missing, if that is what an error says."""
    found = re.search(
        r"(?:statfs|lstat|stat) (/[^\n]*?): (?:no such file|permission denied)", message
    )
    return found.group(1) if found else None


def unknown_zone(message: str) -> str | None:
    """Return the time zone that Podman 5 does not know, if that is what an error says."""
    found = re.search(r"unknown time zone ([\w/+-]+)", message)
    return found.group(1) if found else None


def name_taken(message: str) -> bool:
    """Whether an error says that there is a container of that name already."""
    return re.search(r"name .* is already in use", message) is not None


def without_storage(message: str) -> bool:
    """Whether an error says that a container cannot be inspected for want of its storage.

    So is one whose removal was broken off: the engine's database still has it.
    """
    lost = r'container from store "[0-9a-f]{64}": container not known|layer not known'
    return re.search(lost, message) is not None


def missing_program(message: str) -> str | None:
    """Return the program that the runtime did not find, if that is what an error says.

    runc says ``exec: "NAME": executable file not found``, crun ``executable file `NAME` not
    found``.
    """
    runc = re.search(r'exec: \\?"([^"\\]*)\\?": (?:executable file not found|stat)', message)
    crun = re.search(r"executable file [`']([^`']*)['`] not found", message)
    found = runc or crun
    return found.group(1) if found else None


def refused_option(message: str) -> tuple[str, str] | None:
    """Return the option that the runtime could not apply, and what to do, if an error says so."""
    if re.search(r"rlimit", message):
        return "ulimits", (
            "the account may not raise a limit that far; 'ulimit -H -a' shows, as the account, "
            "what it may, and limits.conf(5) how to change it"
        )
    if found := re.search(r'workdir "([^"]*)" does not exist', message):
        return "working_dir", (
            f"the image has no folder {found.group(1)}, and nothing is mounted there; name one "
            "that is in the container"
        )
    if found := re.search(r"[Uu]nable to find group ([^\s:]+)", message):
        return "supplemental_gids", (
            f"the image has no group {found.group(1)}; give its number, or one that the image has"
        )
    if "to add healthchecks" in message:
        return "healthcheck", (
            "the account has no systemd of its own to start checks; run 'loginctl enable-linger' "
            "for it, or set interval to 0, or healthcheck to {'cmd': 'none'} if it is the image's"
        )
    if found := re.search(r"unresolvable CDI devices? ([^\s:]+)", message):
        name = found.group(1)
        where = "no CDI specification in /etc/cdi or /run/cdi has"
        return "devices", f"{where} {name}, which devices or gpus asks for"
    if "aardvark-dns failed to start" in message:
        return "network", (
            "the server of the network's names needs the account's systemd user manager "
            "(loginctl enable-linger); or make the network with 'podman network create "
            "--disable-dns'"
        )
    if found := re.search(r'mounting overlay failed "([^"]*)"', message):
        return "mounts", f"the source {found.group(1)} cannot be had as an overlay. Create it"
    if found := re.search(r'creating image volume "([^"]*)"', message):
        return "mounts", f"the account has no image {found.group(1)}. Pull or load it first"
    return None


def malformed_field(message: str) -> str | None:
    """Return the field of a request whose value has another type than the engine's.

    Go's own names, such as that of a part of the request, begin with a capital letter.
    """
    found = re.search(
        r"cannot unmarshal \S+ into Go \S+ field [sS]pecGenerator(?:Wire)?\.(\S+)", message
    )
    names = found.group(1).split(".") if found else []
    return next((name for name in names if name[:1].islower()), None)


def refused_security(message: str) -> tuple[str, str] | None:
    """Return the option whose file or secret is missing, and what to do, if an error says so."""
    if "seccomp profile" in message:
        return "seccomp_profile", (
            "the profile is read by the account; let it exist on the host, readable and as JSON"
        )
    if found := re.search(r'no secret with name or id "([^"]*)"', message):
        return "secrets", (
            f"the account has no secret {found.group(1)!r}. Make it as the account, with 'podman "
            "secret create', or give its value in the option"
        )
    return None
