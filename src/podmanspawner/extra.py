"""Fields of the engine's request that the spawner has no option for; pure.

The engine ignores a field that it does not know without a word, hence the list of those it has.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENGINE_FIELDS = frozenset(
    """
    annotations apparmor_profile artifact_volumes base_hosts_file cap_add cap_drop cgroup_parent
    cgroupns cgroups_mode chroot_directories cni_networks command conmon_pid_file
    containerCreateCommand cpu_period cpu_quota create_working_dir dependencyContainers
    device_cgroup_rule devices devices_from dns_option dns_search dns_server entrypoint env
    env_host envmerge expose group_entry groups healthLogDestination healthMaxLogCount
    healthMaxLogSize health_check_on_failure_action healthconfig host_device_list hostadd hostname
    hostusers httpproxy idmappings image image_arch image_os image_variant image_volume_mode
    image_volumes init init_container_type init_path intelRdt ipcns label_nested labels
    log_configuration manage_password mask mounts name namespace netns network_options networks
    no_new_privileges oci_runtime oom_score_adj overlay_volumes passwd_entry personality pidns pod
    portmappings privileged procfs_opts publish_image_ports r_limits raw_image_name
    read_only_filesystem read_write_tmpfs remove removeImage resource_limits restart_policy
    restart_tries rootfs rootfs_mapping rootfs_overlay rootfs_propagation sdnotifyMode
    seccomp_policy seccomp_profile_path secret_env secrets selinux_opts shm_size shm_size_systemd
    startupHealthConfig stdin stop_signal stop_timeout storage_opts sysctl systemd terminal
    throttleReadBpsDevice throttleReadIOPSDevice throttleWriteBpsDevice throttleWriteIOPSDevice
    timeout timezone umask unified unmask unsetenv unsetenvall use_image_hostname use_image_hosts
    use_image_resolve_conf user userns utsns volatile volumes volumes_from weightDevice work_dir
    """.split()  # noqa: SIM905, a list of so many would be a page long
)
"""Of Podman 4.3 to 5.8; ref: pkg/specgen/specgen.go of Podman."""

_OWN = {
    "image": "set the option image",
    "labels": "use extra_labels",
    "name": "use prefix and name_template",
    "portmappings": "the server is reached by its own",
    "remove": "its exit code and last lines would be lost",
}


def checked(option: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return an own copy of fields of the request.

    Raises:
        SpecError: the engine knows no such field, or the spawner rests on it, or the value is
            not to be had in JSON.
    """
    for key in extra:
        if key not in ENGINE_FIELDS:
            near = difflib.get_close_matches(str(key), ENGINE_FIELDS, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see Podman's API reference"
            raise SpecError(option, f"{key!r} is no field that the engine has; {hint}")
        if key in _OWN:
            raise SpecError(option, f"{key!r} is not to be changed: {_OWN[key]}")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(dict(extra), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SpecError(option, f"it cannot be written as JSON: {error}") from error
    return copy


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with extra fields.

    Dictionaries are merged, None takes out what was there, all else replaces it.
    """
    result = dict(body)
    for key, value in extra.items():
        old = result.pop(key, None)
        if isinstance(value, dict):
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def changes(body: dict[str, Any], hook: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return what a hook makes different in a body, as extra fields.

    Raises:
        SpecError: it returns no body, or changes what is not to be changed.
    """
    given: dict[str, Any] = json.loads(json.dumps(body))
    made = hook(given)
    if not isinstance(made, dict):
        raise SpecError(
            "modify_spec_hook",
            f"it returned {type(made).__name__}; it must return the dictionary, and no coroutine",
        )
    return checked("modify_spec_hook", _difference(body, made))


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    different: dict[str, Any] = dict.fromkeys(key for key in old if key not in new)
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict) and before != value:
            different[key] = _difference(before, value)
        elif before != value:
            different[key] = value
    return different
