"""Write the table of all options into reference/configuration.md: from the code, and from below.

Run ``python docs/options.py`` after an option has come, gone or changed; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from traitlets import (
    Bool,
    Callable,
    Dict,
    Enum,
    Float,
    Integer,
    List,
    TraitType,
    Tuple,
    Undefined,
    Unicode,
    Union,
)

from podmanspawner import PodmanSpawner
from podmanspawner.flags.table import FLAGS, LETTERS

PAGE = Path(__file__).parent / "reference" / "configuration.md"
BEGIN = "<!-- options: written by docs/options.py -->\n"
END = "<!-- end of options -->\n"

# Names elsewhere for the same thing, as of podmanspawner 0.2, dockerspawner 14, kubespawner 7 and
# systemdspawner 1; an option that is not here has none. The flags of podman run, which the
# original takes in podman_additional_cmds, come from the code.
ORIGINAL = {
    "image": "image",
    "pull_policy": "pull_image_first",
    "service_environment": "https_proxy",
    "home_target": "conthome",
    "working_dir": "startatconthome",
    "podman_additional_cmds": "podman_additional_cmds",
    "jupyter_additional_cmds": "jupyter_additional_cmds",
    "https_proxy": "https_proxy",
    "enable_lab": "enable_lab",
    "start_cmd": "start_cmd",
    "conthome": "conthome",
    "startatconthome": "startatconthome",
    "pull_image_first": "pull_image_first",
    "pull_image": "pull_image",
    "standard_jupyter_port": "standard_jupyter_port",
    "popen_kwargs": "popen_kwargs",
    "preexec_fn_set": "preexec_fn_set",
}
DOCKER = {
    "image": "image",
    "allowed_images": "allowed_images",
    "pull_policy": "pull_policy",
    "prefix": "prefix",
    "name_template": "name_template",
    "remove": "remove",
    "volumes": "volumes",
    "read_only_volumes": "read_only_volumes",
    "mounts": "mounts",
    "host_ip": "host_ip",
    "network": "network_name",
    "extra_spec": "extra_create_kwargs, extra_host_config",
    "post_start_cmd": "post_start_cmd",
    **dict.fromkeys(
        ("container_user", "entrypoint", "extra_labels", "healthcheck", "hostname", "stop_signal"),
        "extra_create_kwargs",
    ),
    "working_dir": "extra_create_kwargs",
    **dict.fromkeys(
        ("cap_add", "cap_drop", "devices", "dns", "dns_options", "dns_search", "extra_hosts"),
        "extra_host_config",
    ),
    **dict.fromkeys(
        ("gpus", "init", "memswap_limit", "no_new_privileges", "pids_limit", "read_only"),
        "extra_host_config",
    ),
    **dict.fromkeys(
        ("seccomp_profile", "selinux_opts", "shm_size", "supplemental_gids", "tmpfs", "ulimits"),
        "extra_host_config",
    ),
}
KUBE = {
    "image": "image",
    "profile_list": "profile_list",
    "pull_policy": "image_pull_policy",
    "hub_authfile": "image_pull_secrets",
    "name_template": "pod_name_template",
    "remove": "delete_stopped_pods",
    "working_dir": "working_dir",
    "container_user": "uid, gid",
    "supplemental_gids": "supplemental_gids, fs_gid",
    "gpus": "extra_resource_limits",
    "read_only": "container_security_context",
    "extra_labels": "extra_labels",
    "extra_annotations": "extra_annotations",
    "delete_grace_period": "delete_grace_period",
    "delete_volumes": "delete_pvc",
    "post_start_cmd": "lifecycle_hooks",
    "extra_spec": "extra_pod_config, extra_container_config",
    "modify_spec_hook": "modify_pod_hook",
    "no_new_privileges": "allow_privilege_escalation",
    "create_sources": "storage_pvc_ensure",
    "volumes": "volumes, volume_mounts",
    "read_only_volumes": "volumes, volume_mounts",
    "cap_add": "container_security_context",
    "cap_drop": "container_security_context",
    "seccomp_profile": "container_security_context",
    "selinux_opts": "container_security_context",
    "user_mapping": "enable_user_namespaces",
}
SYSTEMD = {
    "account_template": "username_template",
    "name_template": "unit_name_template",
    "working_dir": "user_workingdir",
    "no_new_privileges": "disable_user_sudo",
    "extra_spec": "unit_extra_properties",
    "volumes": "readwrite_paths",
    "read_only_volumes": "readonly_paths",
    "tmpfs": "isolate_tmp",
    "devices": "isolate_devices",
}
NEEDS = {
    "network": "Podman 4.4 for pasta",
    "keep_groups": "crun",
    "memswap_limit": "cgroup v2",
    "pids_limit": "cgroup v2",
    "gpus": "CDI",
    "selinux_opts": "SELinux",
    "image_stores": "fuse-overlayfs",
}
"""What an option needs besides Podman 4.3."""


def own_options() -> dict[str, TraitType]:
    """Return the options of this spawner, in the order of the classes that hold them."""
    own = PodmanSpawner.class_own_traits(config=True)
    rooms = [room for room in PodmanSpawner.mro() if "traits" in room.__module__]
    return {name: own[name] for room in rooms for name in vars(room) if name in own}


def values(trait: TraitType) -> str:
    """Return what values an option takes, in words."""
    return f"{kind(trait)}, `None`" if trait.allow_none else kind(trait)


def kind(trait: TraitType) -> str:
    """Return what values a trait takes, but for None."""
    if isinstance(trait, Union):
        return " or ".join(dict.fromkeys(kind(one) for one in trait.trait_types))
    if isinstance(trait, Enum):
        return ", ".join(f"`{value!r}`".replace("'", '"') for value in trait.values)
    for cls, words in (
        (Bool, "`True`, `False`"),
        (Integer, "whole number"),
        (Float, "number"),
        (Unicode, "text"),
        (List, "list"),
        (Tuple, "two numbers"),
        (Dict, "dictionary"),
        (Callable, "function"),
    ):
        if isinstance(trait, cls):
            return words
    return "any"


def default(trait: TraitType) -> str:
    """Return the default as it is written in a configuration."""
    if f"_default_{trait.name}" in dir(PodmanSpawner):
        return "see there"
    value = trait.default()
    if value is Undefined:
        return "none"
    return f"`{value!r}`".replace("'", '"')


def flags(name: str) -> list[str]:
    """Return the flags of ``podman run`` that say what an option says."""
    letters = {long: f"-{letter}" for letter, long in LETTERS.items()}
    found = (flag for flag, what in FLAGS.items() if name in what.to.split(", "))
    return [letters.get(flag, f"--{flag}") for flag in found]


def rows() -> list[str]:
    """Return the lines of the table."""
    head = "option", "values", "default", "original", "dockerspawner", "kubespawner"
    lines = [[*head, "systemdspawner", "needs"]]
    lines.append(["---"] * len(lines[0]))
    for name, trait in own_options().items():
        others = [names.get(name, "") for names in (ORIGINAL, DOCKER, KUBE, SYSTEMD)]
        others[0] = ", ".join(filter(None, [others[0], *flags(name)]))
        quoted = [", ".join(f"`{word}`" for word in text.split(", ") if word) for text in others]
        link = f"[`{name}`](#{name})"
        lines.append([link, values(trait), default(trait), *quoted, NEEDS.get(name, "")])
    return [f"| {' | '.join(line)} |\n" for line in lines]


def page() -> str:
    """Return the page with its table made anew."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{''.join(rows())}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
