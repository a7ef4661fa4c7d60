"""The options of dockerspawner 12 to 14 to those of this spawner; pure.

ref: dockerspawner's documentation; docker-py's create_host_config
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from podmanspawner import images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Options = dict[str, Any]
    Rule = Callable[[Any], Options]
    Translation = tuple[Options, list[str]]

_NANO = 1e9
_PERIOD = 100_000


def _same(*names: str) -> dict[str, Rule]:
    return {name: _to(name) for name in names}


def _to(name: str) -> Rule:
    return lambda value: {name: value}


def _words(name: str) -> Rule:
    return lambda value: {name: shlex.split(value) if isinstance(value, str) else list(value)}


def _spec(name: str) -> Rule:
    return lambda value: {"extra_spec": {name: value}}


def _network(value: str) -> Options:
    """Translate a network.

    Raises:
        ValueError: it is one that others are in too.
    """
    if value in ("bridge", "default", ""):  # each server has a network of its own anyway
        return {}
    if value != "host":
        raise ValueError(value)
    return {"network": value}


def _size(name: str) -> Rule:
    """Translate sizes: docker's have small letters."""
    return lambda value: {
        name: value.upper().removesuffix("B") if isinstance(value, str) else value
    }


def _pull_policy(value: str) -> Options:
    return {"pull_policy": images.pull_policy(value)}


def _ulimits(value: Any) -> Options:
    given = [{key.lower(): limit for key, limit in dict(entry).items()} for entry in value]
    return {"ulimits": {entry["name"]: (entry["soft"], entry["hard"]) for entry in given}}


def _gpus(value: Any) -> Options:
    """Translate device requests: some, or all, of the graphics cards."""
    for entry in value:
        request = {key.lower(): found for key, found in dict(entry).items()}
        if ids := request.get("deviceids") or request.get("device_ids"):
            return {"gpus": list(ids)}
        count = request.get("count", -1)
        return {"gpus": "all" if count == -1 else count}
    return {}


def _binds(value: Any) -> Options:
    if not isinstance(value, dict):
        pairs = (bind.split(":", 2) for bind in value)
        value = {
            pair[0]: {"bind": pair[1], "mode": pair[2] if len(pair) > 2 else "rw"}  # noqa: PLR2004
            for pair in pairs
        }
    return {"volumes": value}


def _tmpfs(value: Any) -> Options:
    return {"tmpfs": value if isinstance(value, dict) else dict.fromkeys(value, "")}


def _security(value: Any) -> Options:
    """Translate ``security_opt``.

    Raises:
        ValueError: it has one that is not known.
    """
    made: Options = {}
    for option in value:
        name, _, rest = option.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges":
            made["no_new_privileges"] = rest in ("", "true")
        elif name == "seccomp":
            made["seccomp_profile"] = rest
        elif name == "label":
            made["selinux_opts"] = [*made.get("selinux_opts", []), rest.replace("=", ":", 1)]
        else:
            raise ValueError(option)
    return made


CREATE: dict[str, Rule] = {
    **_same("environment", "hostname", "working_dir", "stop_signal"),
    "command": _words("cmd"),
    "entrypoint": _words("entrypoint"),
    "labels": _to("extra_labels"),
    "user": lambda value: {"container_user": str(value)},
}
"""Of ``extra_create_kwargs``."""

HOST: dict[str, Rule] = {
    **_same("cap_add", "cap_drop", "dns", "dns_search", "extra_hosts", "init", "read_only"),
    **_same("pids_limit", "devices"),
    **{name: _size(name) for name in ("mem_limit", "memswap_limit", "shm_size")},
    "auto_remove": _to("remove"),
    "binds": _binds,
    "cpu_quota": lambda value: {"cpu_limit": value / _PERIOD},
    "device_requests": _gpus,
    "dns_opt": _to("dns_options"),
    "group_add": _to("supplemental_gids"),
    "ipc_mode": lambda value: {"extra_spec": {"ipcns": {"nsmode": value}}},
    "mem_reservation": _size("mem_guarantee"),
    "nano_cpus": lambda value: {"cpu_limit": value / _NANO},
    "network_mode": _network,
    "oom_score_adj": _spec("oom_score_adj"),
    "privileged": _spec("privileged"),
    "runtime": lambda value: {"gpus": "all"} if value == "nvidia" else _refuse(value),
    "security_opt": _security,
    "sysctls": _spec("sysctl"),
    "tmpfs": _tmpfs,
    "ulimits": _ulimits,
}
"""Of ``extra_host_config``."""

TOP: dict[str, Rule] = {
    "container_image": _to("image"),
    "container_ip": _to("host_ip"),
    "container_name_template": _to("name_template"),
    "container_prefix": _to("prefix"),
    "container_port": lambda _value: {},
    "image_whitelist": _to("allowed_images"),
    "network_name": _network,
    "pull_policy": _pull_policy,
    "remove_containers": _to("remove"),
    # of docker alone, without a meaning for accounts that have an engine of their own
    **dict.fromkeys(("client_kwargs", "tls_config", "tls", "tls_verify"), lambda _value: {}),
    **dict.fromkeys(("tls_ca", "tls_cert", "tls_key", "tls_client"), lambda _value: {}),
    **dict.fromkeys(("use_internal_ip", "use_docker_client_env"), lambda _value: {}),
    **dict.fromkeys(("use_internal_hostname", "move_certs_image"), lambda _value: {}),
}
"""Options that have another name, another meaning, or none; the others keep their names."""

NOTES = {
    "escape": "names are always made safe, see name_template",
    "format_volume_name": "volumes have templates; what is in them is made safe",
    "hub_ip_connect": "set c.JupyterHub.hub_connect_ip, or nothing: the Hub is reached anyway",
    "network_name": "each server has a network of its own, from which it reaches the Hub; for one "
    "in common, make it as each account ('podman network create') and name it in network",
    "links": "create a network as each account and name it in network",
    "group_overrides": "profile_list with a function does it; see docs/how-to/choices.md",
}
"""Options of which people ask what took their place."""


def _refuse(value: Any) -> Options:
    raise ValueError(value)


_HUB_OPTIONS = ("hub_ip", "hub_bind_url", "hub_connect_ip", "hub_connect_url")


def notes_on_hub(given: Mapping[str, Any]) -> list[str]:
    """Return notes on what a Hub in a container of Docker's needed to say of itself."""
    return [
        f"c.JupyterHub.{name}: leave it out if it is an address in Docker's network; the Hub runs "
        "on the host and is reached at its default"
        for name in _HUB_OPTIONS
        if name in given
    ]


def docker_spawner(given: Mapping[str, Any]) -> Translation:
    """Return this spawner's options for those of DockerSpawner's, and notes on what has none."""
    options: Options = {"remove": False, "home_target": ""}
    notes: list[str] = []
    for name, value in given.items():
        if name == "extra_create_kwargs":
            _nested(name, value, CREATE, options, notes)
        elif name == "extra_host_config":
            _nested(name, value, HOST, options, notes)
        elif name in NOTES and not (name == "network_name" and _is_known(value)):
            notes.append(f"{name}: {NOTES[name]}")
        else:
            _add(name, value, TOP.get(name, _to(name)), options, notes)
    if not options.get("image"):
        notes.append("image: dockerspawner had a default of its own; name the image")
    return options, notes + _templates(options)


def system_user_spawner(given: Mapping[str, Any]) -> Translation:
    """Return the same for SystemUserSpawner, which mounts homes of the host."""
    places = ("host_homedir_format_string", "image_homedir_format_string", "run_as_root")
    rest = {name: value for name, value in given.items() if name not in places}
    options, notes = docker_spawner(rest)
    target = given.get(places[1], "/home/{username}")
    options["home_target"] = target
    if source := given.get(places[0]):
        options["home_source"] = source
    notes.append(
        "user: the image's own user is the account (user_mapping = 'auto'); NB_UID and NB_USER "
        "are not set, and the server does not begin as root"
    )
    return options, notes


def _is_known(network: Any) -> bool:
    try:
        _network(network)
    except ValueError:
        return False
    return True


def _nested(
    where: str, value: Any, rules: Mapping[str, Rule], options: Options, notes: list[str]
) -> None:
    if not isinstance(value, dict):
        notes.append(f"{where}: it is a function; give its options by hand, or modify_spec_hook")
        return
    for name, inner in value.items():
        if name in rules:
            _add(f"{where}[{name!r}]", inner, rules[name], options, notes)
        else:
            notes.append(f"{where}[{name!r}]: it has no counterpart; see extra_spec")


def _add(name: str, value: Any, rule: Rule, options: Options, notes: list[str]) -> None:
    """Add what an option becomes; dictionaries are merged."""
    if callable(value):
        notes.append(f"{name}: it is a function, which cannot be printed; carry it over")
        return
    try:
        made = rule(value)
    except (ValueError, KeyError, TypeError, AttributeError):
        notes.append(f"{name}: {value!r} has no counterpart; see docs/reference/configuration.md")
        return
    for key, entry in made.items():
        both = isinstance(entry, dict) and isinstance(options.get(key), dict)
        options[key] = {**options[key], **entry} if both else entry


def _templates(options: Options) -> list[str]:
    """Return notes on fields of templates that are not known here."""
    text = repr(options)
    return [
        f"{field}: templates here do not have it; {instead}"
        for field, instead in (
            ("{raw_username}", "{username} is the name made safe, {account} the account's"),
            ("{imagename}", "write the image's name"),
            ("{user_id}", "{uid} is the account's number"),
        )
        if field in text
    ]


CLASSES: dict[str, Callable[[Mapping[str, Any]], Translation]] = {
    "DockerSpawner": docker_spawner,
    "docker": docker_spawner,
    "SystemUserSpawner": system_user_spawner,
    "docker-system-user": system_user_spawner,
}
"""By the class's name or that of its entry point."""
