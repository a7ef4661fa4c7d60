"""What a flag does to the changes in the making."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from podmanspawner import checks, images

from . import values as v
from .changes import OPTION, Draft

Action = Callable[[Draft, str], None]


@dataclass(frozen=True)
class Flag:
    """What becomes of one flag."""

    kind: Literal["one", "each", "switch"]
    """A value; values with commas between them; true or false, without a word of its own."""
    action: Action | None = None
    reason: str = ""
    """Why it has no effect, or what to use instead of a flag that is refused."""
    refused: bool = False
    to: str = ""
    """Option or field of the request that says the same."""


def set_field(name: str, convert: Callable[[str], Any] = str) -> Flag:
    """Set a field of the settings."""

    def act(draft: Draft, value: str) -> None:
        draft.fields[name] = convert(value)

    return Flag("switch" if convert is v.switch else "one", act, to=name)


def add(name: str, convert: Callable[[str], Any] = str, kind: Any = "each") -> Flag:
    """Append to a field of the settings."""

    def act(draft: Draft, value: str) -> None:
        draft.fields.setdefault(name, []).append(convert(value))

    return Flag(kind, act, to=name)


def put(name: str, convert: Callable[[str], tuple[str, Any]], kind: Any = "one") -> Flag:
    """Put into a mapping of the settings."""

    def act(draft: Draft, value: str) -> None:
        key, converted = convert(value)
        draft.fields.setdefault(name, {})[key] = converted

    return Flag(kind, act, to=name)


def place(draft: Draft, path: str, value: Any) -> None:
    """Put a value into the engine's request; dots lead into its dictionaries."""
    *folders, last = path.split(".")
    inner = draft.extra_spec
    for folder in folders:
        inner = inner.setdefault(folder, {})
    inner[last] = value


def spec(path: str, convert: Callable[[str], Any] = str) -> Flag:
    """Set a field of the engine's request."""

    def act(draft: Draft, value: str) -> None:
        place(draft, path, convert(value))

    return Flag("switch" if convert is v.switch else "one", act, to=in_request(path))


def spec_add(name: str, convert: Callable[[str], Any] = str, kind: Any = "each") -> Flag:
    """Append to a field of the engine's request."""

    def act(draft: Draft, value: str) -> None:
        draft.extra_spec.setdefault(name, []).append(convert(value))

    return Flag(kind, act, to=in_request(name))


def spec_put(
    path: str, convert: Callable[[str], tuple[str, Any]] = v.pair, kind: Any = "each"
) -> Flag:
    """Put into a mapping of the engine's request."""

    def act(draft: Draft, value: str) -> None:
        key, converted = convert(value)
        draft.extra_spec.setdefault(path, {})[key] = converted

    return Flag(kind, act, to=in_request(path))


def in_request(path: str) -> str:
    """Return how a field of the engine's request is set without the flag."""
    return f'extra_spec["{path.partition(".")[0]}"]'


def do(act: Action, kind: Any = "one", to: str = "") -> Flag:
    """Do what is written out below."""
    return Flag(kind, act, to=to)


def nothing(kind: Any, reason: str) -> Flag:
    """Do nothing, for a reason."""
    return Flag(kind, reason=reason)


def refuse(kind: Any, reason: str) -> Flag:
    """Say what to use instead."""
    return Flag(kind, reason=reason, refused=True)


def namespace(name: str, *modes: str) -> Flag:
    """Set a namespace of the container."""
    modes = ("private", "host", *modes)
    return spec(name, lambda value: {"nsmode": v.of(*modes)(value)})


# flags that take some work


def env(draft: Draft, value: str) -> None:
    """Set a variable."""
    name, equals, text = value.partition("=")
    if not name or name.endswith("*"):
        v.wrong("name one variable: -e NAME=VALUE")
    if equals:
        draft.fields.setdefault("environment", {})[name] = text
    else:
        draft.inherited.append(name)


def env_file(draft: Draft, value: str) -> None:
    """Note a file with variables."""
    draft.env_files.append(v.absolute(value))


def service(name: str) -> Flag:
    """Pass a global flag of ``podman`` on to the service."""

    def act(draft: Draft, value: str) -> None:
        if name == "hooks-dir":
            v.absolute(value)
        draft.service_flags.append(f"--{name}={value}")

    if name == "hooks-dir":
        return Flag("each", act, to="hooks_dir")
    return Flag("one", act, to="[engine] of the accounts' containers.conf")


def add_host(draft: Draft, value: str) -> None:
    """Add a host that the container knows."""
    draft.fields.setdefault("extra_hosts", {}).update(v.hosts(value))


def dns(draft: Draft, value: str) -> None:
    """Add a name server, or have none but what the image says."""
    if value == "none":
        draft.extra_spec["use_image_resolve_conf"] = True
    else:
        checks.ip(OPTION, value)
        draft.fields.setdefault("dns", []).append(value)


def network(draft: Draft, value: str) -> None:
    """Choose the network; podman run takes more than one."""
    if "network" in draft.fields:
        v.wrong("a server is in one network; name one of them")
    draft.fields["network"] = v.network(value)


def group(draft: Draft, value: str) -> None:
    """Add a group, or keep the account's."""
    if value == "keep-groups":
        draft.fields["keep_groups"] = True
    else:
        checks.user(OPTION, value)
        draft.fields.setdefault("supplemental_gids", []).append(value)


def pull(draft: Draft, value: str) -> None:
    """Set when to pull."""
    draft.pull_policy = images.pull_policy(value)


def health(path: str, convert: Callable[[str], Any]) -> Flag:
    """Set a field of a health check; what is not set is as podman run has it."""

    def act(draft: Draft, value: str) -> None:
        place(draft, path, convert(value))

    return do(act, to="healthcheck" if path.startswith("healthconfig") else in_request(path))


def security(draft: Draft, value: str) -> None:
    """Set what ``--security-opt`` names."""
    key, found, text = value.partition("=" if "=" in value else ":")
    fields = draft.extra_spec
    if key == "no-new-privileges":
        draft.fields["no_new_privileges"] = v.switch(text if found else "true")
    elif key == "seccomp" and text:
        draft.fields["seccomp_profile"] = text if text == "unconfined" else v.absolute(text)
    elif key == "apparmor" and text:
        fields["apparmor_profile"] = text
    elif value == "label=nested":
        fields["label_nested"] = True
    elif key == "label" and text:
        draft.fields.setdefault("selinux_opts", []).append(text)
    elif key in ("mask", "unmask") and text:
        draft.fields.setdefault(f"{key}ed_paths", []).extend(text.split(":"))
    elif key == "proc-opts" and text:
        fields["procfs_opts"] = text.split(",")
    elif value == "systempaths=unconfined":
        draft.fields.setdefault("unmasked_paths", []).append("ALL")
    else:
        v.wrong(
            "use no-new-privileges, seccomp=FILE, apparmor=NAME, label=…, mask=…, unmask=…, "
            "proc-opts=… or systempaths=unconfined"
        )


def log_option(draft: Draft, value: str) -> None:
    """Set an option of the container's log."""
    name, text = v.pair(value)
    if name == "path":
        place(draft, "log_configuration.path", v.absolute(text))
    elif name == "max-size":
        place(draft, "log_configuration.size", v.decimal_size(text))
    else:
        configuration = draft.extra_spec.setdefault("log_configuration", {})
        configuration.setdefault("options", {})[name] = text


def no_health(draft: Draft, value: str) -> None:
    """Leave out the image's health check."""
    if v.switch(value):
        place(draft, "healthconfig.Test", ["NONE"])


def read_only_tmpfs(_: Draft, value: str) -> None:
    """Let places for temporary files be writable, as they are by themselves."""
    if not v.switch(value):
        v.wrong("places for temporary files stay writable with read_only; leave it out")


def restart(_: Draft, value: str) -> None:
    """Leave it to the Hub to start servers."""
    if value != "no":
        v.wrong("the Hub starts servers, nobody else; leave it out")


def tls_verify(_: Draft, value: str) -> None:
    """Let registries be checked, as they are by themselves."""
    if not v.switch(value):
        v.wrong("write the registry into the account's registries.conf, with insecure = true")
