"""From the spawner's settings and the Hub's environment to a ``ContainerSpec``; pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import certs, checks, extra, files, names, reach, vault
from .errors import SpecError
from .health import HealthCheck
from .identity import UserMapping
from .resources import Resources, gpu_devices
from .spec import FINGERPRINT_LABEL, ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .account import Account
    from .mounts import Mount
    from .settings import ImageFacts, ServerSettings

IMAGE_LABEL = "podmanspawner.image"
KEEP_LABEL = "podmanspawner.keep"
"""On a container that stays when its server stops."""
SERVICE_URL = "JUPYTERHUB_SERVICE_URL"
KEEP_GROUPS = "run.oci.keep_original_groups"
"""ref: crun(1); runc does not know it."""

_ROOT = ("", "root", "0")


def build(
    settings: ServerSettings, image: ImageFacts, account: Account, *, port: int
) -> ContainerSpec:
    """Return the spec of a server's container, labelled with its own fingerprint.

    Args:
        settings: what the administrator set and the Hub says.
        image: facts of ``settings.image``.
        account: whose container it is to be.
        port: port of the host by which the server is reached. With network ``host`` it is part
            of the environment, hence of the fingerprint: ask again with a kept container's port.

    Raises:
        SpecError: an option makes no container; it names the option.
    """
    fields = _fields(settings, image, account)
    mapping, user = map_user(settings.user_mapping, image, account)
    _check_mapping(settings, mapping, account)
    if settings.engine.one_owner:
        _demand_owner(mapping, user, settings, image, account)
    network, network_options, networks = reach.network(settings)
    working_dir = names.expand(settings.working_dir, fields, option="working_dir")
    hostname = names.expand(settings.hostname, fields, option="hostname")
    spec = ContainerSpec(
        name=settings.server.container(settings.prefix, settings.name_template),
        image=settings.image,
        command=_command(settings, image, port),
        entrypoint=_entrypoint(settings, image),
        environment=_environment(settings, port),
        labels=_labels(settings, image),
        working_dir=working_dir or None,
        user=settings.container_user or user,
        groups=_groups(settings),
        umask=settings.umask or None,
        annotations=_annotations(settings),
        mounts=files.mounts(settings, fields),
        healthcheck=HealthCheck.parse(settings.healthcheck),
        devices=(*settings.devices, *gpu_devices(settings.gpus)),
        ports=reach.ports(settings, port),
        network=network,
        network_options=network_options,
        networks=networks,
        hostname=hostname or None,
        extra_hosts=settings.extra_hosts,
        dns=settings.dns,
        dns_search=settings.dns_search,
        dns_options=settings.dns_options,
        user_mapping=mapping,
        cap_add=settings.cap_add,
        cap_drop=settings.cap_drop,
        no_new_privileges=settings.no_new_privileges,
        read_only=settings.read_only,
        seccomp_profile=settings.seccomp_profile or None,
        selinux_opts=settings.selinux_opts,
        masked_paths=settings.masked_paths,
        unmasked_paths=settings.unmasked_paths,
        secrets=vault.uses(settings),
        resources=_resources(settings),
        shm_size=settings.shm_size,
        ulimits=settings.ulimits,
        init=settings.init,
        stop_signal=None if settings.stop_signal == "" else settings.stop_signal,
        stop_timeout=settings.delete_grace_period,
        extra=settings.extra_spec,
    )
    if settings.modify_spec:
        changes = extra.changes(spec.to_json(), settings.modify_spec)
        spec = replace(spec, extra={**spec.extra, **changes})
    return replace(spec, labels={**spec.labels, FINGERPRINT_LABEL: spec.fingerprint()})


def mounts(settings: ServerSettings, image: ImageFacts, account: Account) -> tuple[Mount, ...]:
    """Return what the container gets to see."""
    return files.mounts(settings, _fields(settings, image, account))


def volumes(
    settings: ServerSettings, image: ImageFacts, account: Account
) -> dict[str, dict[str, str]]:
    """Return the named volumes that are the user's or the server's alone, and their labels."""
    return files.owned_volumes(settings, _fields(settings, image, account))


def map_user(choice: str, image: ImageFacts, account: Account) -> tuple[UserMapping, str | None]:
    """Return the mapping, and the user to run as; None for the image's own.

    ``auto`` makes the image's user the account, so that files in a mounted home belong to it.
    A mapping of the administrator's comes with its user: the engine alone would leave the
    image's, who then is nobody on the host.

    Raises:
        SpecError: ``auto`` cannot tell the image user's number, or the choice is no mapping.
    """
    if choice == "auto":
        uid, gid = _image_ids(image)
        return (UserMapping("keep-id", uid, gid) if uid else UserMapping("root")), None
    mapping = UserMapping.parse(choice)
    if mapping.mode != "keep-id":
        return mapping, None
    if mapping.uid is None:
        return mapping, f"{account.uid}:{account.gid}"
    return mapping, f"{mapping.uid}:{mapping.gid}"


def _check_mapping(settings: ServerSettings, mapping: UserMapping, account: Account) -> None:
    if account.subuids and account.subgids:
        uids, gids = (sum(ids.count for ids in of) for of in (account.subuids, account.subgids))
        mapping.check_fits(uids, gids)
    if settings.home_target and mapping.account_inside(account.uid) is None:
        raise SpecError(
            "home_target",
            f"with user_mapping {settings.user_mapping!r} nobody in the container is the account, "
            "and a mounted home could not be written to. Set home_target to '' and give users a "
            "volume that is made theirs: volumes = {'home-{username}': {'bind': "
            "'/home/jovyan', 'mode': 'U'}}",
        )


def _resources(settings: ServerSettings) -> Resources:
    return Resources(
        settings.mem_limit,
        settings.cpu_limit,
        settings.pids_limit,
        memory_swap=settings.memswap_limit,
        memory_guarantee=settings.mem_guarantee,
        cpu_guarantee=settings.cpu_guarantee,
    )


def _groups(settings: ServerSettings) -> tuple[str, ...]:
    if settings.supplemental_gids and settings.keep_groups:
        raise SpecError("supplemental_gids", "they do not go with keep_groups; choose one of both")
    return tuple(map(str, settings.supplemental_gids))


def _demand_owner(
    mapping: UserMapping,
    user: str | None,
    settings: ServerSettings,
    image: ImageFacts,
    account: Account,
) -> None:
    """Refuse a user who is not the account, where the account owns all that the image has."""
    if user is not None and not settings.container_user:  # the mapping's own
        return
    if _image_ids(image)[0] != mapping.account_inside(account.uid):
        raise SpecError(
            "user_mapping",
            f"with image_stores and fuse-overlayfs before 1.14, the files of the image belong to "
            f"the account, and {image.user!r} would own none of them. Set user_mapping to 'auto', "
            "or install fuse-overlayfs 1.14",
        )


def image_home(image: ImageFacts) -> str:
    """Return the home of the image's user: HOME, passwd's, or by convention of the name.

    Raises:
        SpecError: nothing of the image tells.
    """
    if known := image.environment.get("HOME") or image.home:
        return known
    name = image.user.partition(":")[0]
    if name in _ROOT:
        return "/root"
    if _number(name) is None:
        return f"/home/{name}"
    if image.working_dir.strip("/"):
        return image.working_dir
    raise SpecError(
        "home_target",
        f"the image does not tell the home of its user {image.user!r}; set home_target to the "
        "path where the account's home shall be, or to '' for nowhere",
    )


def known_fields(server: names.ServerName, prefix: str, account: Account) -> dict[str, str]:
    """Return what templates may use before anything of the image is known."""
    return {
        **server.fields(),
        "prefix": prefix,
        "account": account.name,
        "home": account.home,
        "uid": str(account.uid),
        "gid": str(account.gid),
    }


def _fields(settings: ServerSettings, image: ImageFacts, account: Account) -> dict[str, str]:
    """Return what templates may use; what comes from the Hub's user is a slug."""
    fields = known_fields(settings.server, settings.prefix, account)
    templates = (settings.working_dir, *files.templates(settings))
    if any("{image_home}" in template for template in templates):
        fields["image_home"] = image_home(image)
    return fields


def _image_ids(image: ImageFacts) -> tuple[int, int]:
    """Return the number of the image's user (0: root) and of the group to be the account's.

    A user that is only a number, or whose group is root's, gets the group of the same number:
    the engine cannot make group 0 the account's, and adds this one to the process's groups.
    """
    name, _, group = image.user.partition(":")
    if name in _ROOT:
        return 0, 0
    number = _number(name)
    uid = number if number is not None else image.uid
    environment = _docker_stacks_ids(name, uid, image.environment)
    if uid is None:
        uid = environment[0]
    if uid is None:
        raise SpecError(
            "user_mapping",
            f"the image's user {name!r} has no number that is known; set 'keep-id:uid=U,gid=G' "
            f"with the numbers that 'podman run --rm --entrypoint id IMAGE' prints",
        )
    known = (_number(group), image.gid, environment[1])
    gid = next((number for number in known if number is not None), 0)
    return uid, gid or uid


def _docker_stacks_ids(
    name: str, uid: int | None, environment: Mapping[str, str]
) -> tuple[int | None, int | None]:
    """Return NB_UID and NB_GID, which Jupyter's images state, if they speak of this user.

    ref: https://jupyter-docker-stacks.readthedocs.io/en/latest/using/common.html
    """
    nb_uid = _number(environment.get("NB_UID", ""))
    nb_gid = _number(environment.get("NB_GID", ""))
    same = nb_uid == uid if uid is not None else environment.get("NB_USER", name) == name
    return (nb_uid, nb_gid) if same else (None, None)


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def _command(settings: ServerSettings, image: ImageFacts, port: int) -> tuple[str, ...] | None:
    entrypoint = settings.entrypoint or image.entrypoint
    # another entry point does not get the words that were meant for the image's
    own = () if settings.entrypoint else image.command
    if settings.cmd is None and not own and not entrypoint:
        raise SpecError("cmd", "the image starts nothing by itself; set the server's command")
    replaced = _entrypoint(settings, image) not in (None, tuple(settings.entrypoint))
    if settings.cmd is None and not settings.args and not replaced:
        return None
    if isinstance(settings.cmd, str):
        raise SpecError("cmd", f"{settings.cmd!r} is one text; write a list of words")
    command = own if settings.cmd is None else settings.cmd
    if settings.port_word:
        inside = str(port if settings.network == "host" else settings.container_port)
        command = [word.replace(settings.port_word, inside) for word in command]
    return (*command, *settings.args)


def _entrypoint(settings: ServerSettings, image: ImageFacts) -> tuple[str, ...] | None:
    """Return what stands in place of the image's entry point; None for nothing.

    The engine then forgets the image's command too.
    """
    own = checks.words("entrypoint", settings.entrypoint or image.entrypoint) or ()
    found = vault.entrypoint(settings, own)
    return found if settings.entrypoint or found != own else None


def _environment(settings: ServerSettings, port: int) -> dict[str, str]:
    """Return the Hub's environment, with the address at which the server is to listen."""
    environment = {k: str(v) for k, v in vault.environment(settings).items() if v is not None}
    if settings.certificates:
        environment |= certs.ENVIRONMENT
    parts = urlsplit(environment.get(SERVICE_URL, ""))
    if parts.scheme in ("http", "https"):
        address = ("0.0.0.0", settings.container_port)  # noqa: S104, inside the container
        if settings.network == "host":  # the only one with no ports of its own
            address = (settings.host_ip, port)
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        environment[SERVICE_URL] = parts._replace(netloc=f"{host}:{address[1]}").geturl()
    return environment


def _labels(settings: ServerSettings, image: ImageFacts) -> dict[str, str]:
    labels = {**settings.extra_labels, **settings.server.labels(), **settings.secret_labels}
    labels.pop(KEEP_LABEL, None)
    if not settings.remove:
        labels[KEEP_LABEL] = "1"
    return {**labels, IMAGE_LABEL: image.id} if image.id else labels


def _annotations(settings: ServerSettings) -> dict[str, str]:
    kept = {KEEP_GROUPS: "1"} if settings.keep_groups else {}
    return {**settings.extra_annotations, **kept}
