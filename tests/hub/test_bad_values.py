"""Bad values of every option: an error that names it, before anything is created."""

from __future__ import annotations

import re

import pytest
from tornado import web
from traitlets import TraitError

from accounts import TINY_JOVYAN
from lone import lone_spawner
from podmanspawner import PodmanSpawner, UserPodman


@pytest.fixture(scope="module")
def user(ada):
    ada.load(TINY_JOVYAN)
    return ada


BAD = [
    ("account_template", "{user}"),
    ("account_template", "{username!r}"),
    ("activation", "magic"),
    ("service_idle_seconds", 0),
    ("service_idle_seconds", "soon"),
    ("service_environment", {"A": 1}),
    ("service_environment", {"A=B": "1"}),
    ("hooks_dir", ["relative"]),
    ("hooks_dir", {"/a": 1}),
    ("enable_linger", "perhaps"),
    ("image", ""),
    ("image", "no image"),
    ("image", "{nobody}"),
    ("image", "dir:relative"),
    ("image", "ftp:/srv/image"),
    ("image", lambda _spawner: 7),
    ("pull_policy", "sometimes"),
    ("pull_timeout", 0),
    ("authfile", "{nobody}/auth.json"),
    ("hub_authfile", "/no/such/auth.json"),
    ("registry_credentials", {"registry.example.org": "password"}),
    ("image_stores", ["relative"]),
    ("image_stores", ["/no/such/store"]),
    ("entrypoint", "tini -g --"),
    ("entrypoint", [1]),
    ("init", "maybe"),
    ("stop_signal", "SIGNOTHING"),
    ("stop_signal", "99"),
    ("delete_grace_period", -1),
    ("stop_timeout", -1),
    ("remove", "never"),
    ("delete_volumes", "some"),
    ("remove_orphans", "old ones"),
    ("prefix", "/"),
    ("prefix", ""),
    ("name_template", "everybody"),
    ("name_template", "{username}-{servername}"),
    ("name_template", "{username.__class__}"),
    ("hub_id", 7),
    ("extra_labels", {"": "x"}),
    ("extra_labels", {"a": 1}),
    ("extra_annotations", {"a": 1}),
    ("extra_spec", {"privilegd": True}),
    ("extra_spec", {"name": "mine"}),
    ("extra_spec", {"sysctl": {"a": object()}}),
    ("modify_spec_hook", "not a function"),
    ("modify_spec_hook", lambda _spawner, _spec: None),
    ("modify_spec_hook", lambda _spawner, spec: {**spec, "image": "other"}),
    ("post_start_cmd", "echo 'open"),
    ("post_start_cmd", [1]),
    ("healthcheck", {"cmd": 7}),
    ("healthcheck", {"every": "1s"}),
    ("healthcheck", {"cmd": ["CMD", "true"]}),
    ("healthy_timeout", -1),
    ("home_target", "relative"),
    ("home_target", "/home/../etc"),
    ("home_target", "{nobody}"),
    ("home_source", "relative"),
    ("home_source", "/no/such/home"),
    ("create_sources", "yes please"),
    ("working_dir", "relative"),
    ("home_target", "/"),
    ("volumes", {"/no/such/source": "/data"}),
    ("volumes", {"/tmp": "data"}),
    ("volumes", {"/tmp/{nobody}": "/data"}),
    ("volumes", {"/tmp": {"bind": "/data", "mode": "rx"}}),
    ("volumes", {"/tmp": {"to": "/data"}}),
    ("volumes", {"not a name": "/data"}),
    ("read_only_volumes", {"/tmp": {"bind": "/data", "mode": "rw"}}),
    ("mounts", [{"type": "floppy", "target": "/a"}]),
    ("mounts", [{"type": "bind", "source": "/tmp"}]),
    ("mounts", [{"tpye": "bind", "source": "/tmp", "target": "/a"}]),
    ("mounts", [{"type": "tmpfs", "target": "/a", "options": ["z"]}]),
    ("tmpfs", {"/scratch": "lots"}),
    ("tmpfs", {"scratch": "1g"}),
    ("read_only", "partly"),
    ("user_mapping", "somebody"),
    ("user_mapping", "keep-id:uid=1"),
    ("user_mapping", "auto-userns:size=0"),
    ("user_mapping", "0:0:0"),
    ("container_user", "a b"),
    ("container_user", "nobody-of-it"),
    ("umask", "999"),
    ("keep_groups", "some"),
    ("supplemental_gids", [1.5]),
    ("supplemental_gids", ["a b"]),
    ("network", "none"),
    ("network", "no-such-network"),
    ("network", "slirp4netns:nosuch=1"),
    ("host_ip", "localhost"),
    ("port_range", (30999, 30000)),
    ("port_range", (0, 70000)),
    ("extra_ports", ["localhost:80:80"]),
    ("extra_ports", ["99999"]),
    ("hostname", "{username}_lab"),
    ("hostname", "a" * 65),
    ("extra_hosts", {"db": "somewhere"}),
    ("extra_hosts", {"d_b": "192.0.2.7"}),
    ("dns", ["ns.example.org"]),
    ("dns_search", ["not a domain"]),
    ("dns_options", ["a b"]),
    ("pids_limit", 1),
    ("shm_size", 7),
    ("shm_size", "big"),
    ("ulimits", {"files": 1}),
    ("ulimits", {"nofile": (9, 1)}),
    ("memswap_limit", 1),
    ("unenforced_limits", "ignore"),
    ("devices", ["/etc/shadow"]),
    ("devices", ["/dev/no-such-device"]),
    ("gpus", "many"),
    ("gpus", -1),
    ("cap_add", ["NET_RAWW"]),
    ("cap_drop", ["CAP_EVERYTHING"]),
    ("no_new_privileges", "mostly"),
    ("seccomp_profile", "relative.json"),
    ("seccomp_profile", "/no/such/profile.json"),
    ("selinux_opts", ["kind:container_t"]),
    ("masked_paths", ["proc/keys"]),
    ("unmasked_paths", [""]),
    ("secrets", [{"type": "mount"}]),
    ("secrets", [{"source": "../a"}]),
    ("secrets", [{"source": "not-of-the-account"}]),
    ("secrets", [{"source": "a", "value": lambda _spawner: None}]),
    ("token_as_secret", "hidden"),
    ("allowed_images", 7),
    ("allowed_images", {"": "a"}),
    ("allowed_images", lambda _spawner: 7),
    ("profile_list", [{"slug": "a"}]),
    ("profile_list", [{"display_name": "A", "overrides": {"mem_limt": "1G"}}]),
    ("profile_list", [{"display_name": "A", "overrides": {"prefix": "x"}}]),
    ("profile_list", [{"display_name": "A", "kubespawner_override": {}}]),
    ("profile_list", lambda _spawner: "none"),
    ("podman_additional_cmds", ["--name", "mine"]),
    ("podman_additional_cmds", ["--no-such-flag"]),
    ("podman_additional_cmds", ["-v"]),
    ("podman_additional_cmds", "-v 'open"),
    ("jupyter_additional_cmds", [1]),
    ("https_proxy", 7),
    ("enable_lab", "yes"),
    ("start_cmd", "start 'open"),
    ("conthome", "relative"),
    ("startatconthome", "yes"),
    ("pull_image", "no image"),
    ("pull_image_first", "yes"),
    ("standard_jupyter_port", 0),
    ("popen_kwargs", 7),
    ("preexec_fn_set", "none"),
    # options of every spawner
    ("mem_limit", -1),
    ("cpu_limit", -1),
    ("mem_guarantee", -1),
    ("cpu_guarantee", -1),
    ("environment", {"A=B": "1"}),
    ("cmd", ["no-such-command\0"]),
    ("port", 70000),
]
NEEDS = {
    "pull_image": {"pull_image_first": True},
    "authfile": {"pull_policy": "always", "image": "registry.invalid/a"},
    "hub_authfile": {"pull_policy": "always", "image": "registry.invalid/a"},
    "unmasked_paths": {"masked_paths": ["/proc/keys"]},
}
"""What else is set, where a value counts only then."""


def title(option, value):
    """Return what is the same in each process."""
    return re.sub(r" at 0x\w+", "", f"{option}={value!r}"[:60])


@pytest.mark.parametrize(("option", "value"), BAD, ids=[title(*bad) for bad in BAD])
async def test_a_bad_value(user, monkeypatch, option, value):
    created = []
    create = UserPodman.create

    def note(podman, spec):
        created.append(create(podman, spec))
        return created[-1]

    monkeypatch.setattr(UserPodman, "create", note)
    with pytest.raises((TraitError, web.HTTPError)) as caught:
        await lone_spawner(user.name, **{**NEEDS.get(option, {}), option: value}).start()
    assert created == []
    message = str(caught.value)
    assert option in message, message
    assert len(message) > len(option) + 20
    assert user.containers() == []


def test_every_option_has_one():
    assert set(PodmanSpawner.class_own_traits(config=True)) <= {option for option, _ in BAD}
