"""The configuration of ``PodmanSpawner``: every option with its help."""

from __future__ import annotations

from typing import Any, get_args

from traitlets import (
    Bool,
    Callable,
    Dict,
    Enum,
    Float,
    Integer,
    List,
    TraitError,
    Unicode,
    default,
    validate,
)

from .activation import Activation
from .checks import signal_number
from .errors import SpecError
from .images import PullPolicy
from .limits import LimitOptions
from .names import DEFAULT_PREFIX, DEFAULT_TEMPLATE
from .settings import NetworkChoice
from .spec import UserMapping


class PodmanOptions(LimitOptions):
    """Options of the spawner, as an administrator sets them in ``jupyterhub_config.py``."""

    hub: Any
    """The Hub, as the spawner knows it."""

    account_template = Unicode(
        "{username}",
        help="""
        The Unix account in which a user's servers run.

        A template; ``{username}`` is the Hub user's exact name. A name without a field, such as
        ``"jupyter"``, puts the servers of all users, each its own container, into one account:
        the way for a Hub that does not run as root.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    activation = Enum(
        get_args(Activation),
        default_value="auto",
        help="""
        How the account's Podman service is reached.

        - ``"existing"``: its socket ``/run/user/UID/podman/podman.sock`` answers already.
        - ``"direct"``: the Hub starts ``podman system service`` as the account when there is
          work; it ends itself when idle.
        - ``"auto"`` (default): the first of these that works.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    service_idle_seconds = Integer(
        5,
        min=1,
        help="""
        A Podman service that the Hub started ends itself after so many seconds without a request.

        The servers go on; the next operation starts it again, which takes about 50 ms.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    image = Unicode(
        "quay.io/jupyterhub/singleuser:latest",
        help="""
        Image of the server, as ``podman run`` takes it.

        It needs the package ``jupyterhub`` and whatever your users work with. Example:
        ``"quay.io/jupyter/scipy-notebook:latest"``.

        .. versionadded:: 0.1
        """,
    ).tag(config=True)

    pull_policy = Enum(
        get_args(PullPolicy),
        default_value="missing",
        help="""
        When to pull the image into the user's account.

        - ``"missing"`` (default): if it is not there.
        - ``"always"``: at each start.
        - ``"newer"``: at each start, if the registry has a newer one.
        - ``"never"``: not at all; it must be there.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    pull_timeout = Float(
        900.0,
        min=1.0,
        help="""
        Seconds after which a pull is given up. ``start_timeout`` must leave room for it.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    entrypoint = List(
        Unicode(),
        help="""
        What is started in the container, before ``cmd``, in place of the image's entry point.

        A list of words; no shell takes part. Default: the image's own. Example:
        ``["tini", "-g", "--"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    prefix = Unicode(
        DEFAULT_PREFIX,
        help="""
        First part of the containers' names.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    name_template = Unicode(
        DEFAULT_TEMPLATE,
        help="""
        Template of the containers' names.

        Fields: ``{prefix}``, ``{hub}`` (see ``hub_id``), ``{username}`` and ``{servername}``, made
        safe. The name of a named server is added if the template does not have it.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    hub_id = Unicode(
        help="""
        What tells this Hub's containers from those of other Hubs on the same host.

        It must stay the same when the Hub is restarted. Default: the port of the Hub's API,
        which no two Hubs of a host share.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @default("hub_id")
    def _default_hub_id(self) -> str:
        return str(self.hub.port or self.hub.url)

    remove = Bool(
        default_value=True,
        help="""
        Whether a server's container is removed when the server stops.

        With False it is kept, with all that was changed in it outside the home, and started again
        at the next start; a new one is made when the image or the configuration has changed.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @default("will_resume")
    def _default_will_resume(self) -> bool:
        return not self.remove

    home_target = Unicode(
        "{image_home}",
        help="""
        Where in the container the account's home is mounted; ``""`` for nowhere.

        A template as for ``volumes``. Default: the home of the image's user, so that a notebook
        saved there lies in the account's home.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    working_dir = Unicode(
        help="""
        Folder in which the server starts; a path in the container, which must exist there.

        A template as for ``volumes``. Default: the image's own.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    volumes = Dict(
        key_trait=Unicode(),
        help="""
        Folders of the host and volumes that the container gets: source to container path.

        A source is a path of the host, on which the account's own rights count, or the name of
        one of the account's volumes, which is made when it is missing and stays when the server
        is gone. Instead of a path, a value may be ``{"bind": path, "mode": "ro"}``; the mode may
        hold options too (``"rw,z"``). Default: none. Templates: ``{username}``, ``{servername}``,
        ``{hub}`` (made safe), ``{prefix}``, ``{account}``, ``{home}``, ``{uid}``, ``{gid}``,
        ``{image_home}``. Example: ``{"/data/{account}": "/data", "jupyter-{username}": "/work"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    read_only_volumes = Dict(
        key_trait=Unicode(),
        help="""
        Folders of the host that the container may read; as ``volumes``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    mounts = List(
        Dict(key_trait=Unicode()),
        help="""
        What else the container gets to see: dictionaries as ``podman run --mount`` has them.

        ``type`` is ``"volume"`` (default), ``"bind"``, ``"tmpfs"``, ``"image"`` (the files of
        another image) or ``"overlay"`` (a folder whose changes are kept apart and lost with the
        container). ``source`` and ``target`` are templates as for ``volumes``; ``read_only`` and
        ``options`` (a list) may follow. Default: none. Example:
        ``[{"type": "overlay", "source": "/srv/course", "target": "/course"}]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    user_mapping = Unicode(
        "auto",
        help="""
        Which user of the image is the account, so that files in a mounted home belong to it.

        - ``"auto"`` (default): the user that the image runs as.
        - ``"root"``: root inside is the account outside.
        - ``"keep-id"``: the account has its own uid inside.
        - ``"keep-id:uid=1000,gid=100"``: the account is that user inside.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("user_mapping")
    def _check_user_mapping(self, proposal: dict[str, Any]) -> str:
        value: str = proposal["value"]
        if value != "auto":
            _as_trait_error(UserMapping.parse, value)
        return value

    network = Enum(
        get_args(NetworkChoice),
        default_value="private",
        help="""
        The container's network.

        - ``"private"`` (default): its own; one port is published on ``host_ip``. The Hub is
          reachable on its default 127.0.0.1: through pasta (Podman 4.4 and later) its port
          alone, through slirp4netns all ports of the host's loopback.
        - ``"host"``: the host's; all users see each other's ports.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    host_ip = Unicode(
        "127.0.0.1",
        help="""
        Address of the host on which a server's port is published.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    extra_labels = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Labels that the containers get besides the spawner's own.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    extra_annotations = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Annotations of the containers, for the runtime and its hooks.

        Default: none. Example: ``{"org.example.team": "physics"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    init = Bool(
        default_value=True,
        help="""
        Whether a small init process in the container passes on signals and reaps children.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    stop_signal = Unicode(
        help="""
        Signal that asks the server to stop, such as ``"SIGINT"``. Default: the image's own.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("stop_signal")
    def _check_stop_signal(self, proposal: dict[str, Any]) -> str:
        value: str = proposal["value"]
        if value:
            _as_trait_error(signal_number, value)
        return value

    delete_grace_period = Integer(
        10,
        min=0,
        help="""
        Seconds that a server has between the signal that asks it to stop and its end by SIGKILL.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    extra_spec = Dict(
        key_trait=Unicode(),
        help="""
        Fields of Podman's own request that no option here sets, or sets otherwise.

        Merged last into the JSON that creates the container, in the names of the API's
        SpecGenerator: dictionaries are merged, all else replaces what was there. Default: none.
        Example: ``{"timezone": "local", "sysctl": {"net.ipv4.ping_group_range": "0 0"}}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    modify_spec_hook = Callable(
        default_value=None,
        allow_none=True,
        help="""
        Function that has the last word on a server's container.

        Called with the spawner and Podman's own request, a dictionary as in ``extra_spec``;
        returns the request as it shall be. It runs in a thread, may be called more than once
        for a start, and has to return the same for the same. Default: none. Example::

            def own_timezone(spawner, spec):
                return {**spec, "timezone": "Europe/Paris"}

        .. versionadded:: 1.0
        """,
    ).tag(config=True)


def _as_trait_error(check: Any, value: str) -> None:
    try:
        check(value)
    except SpecError as error:
        raise TraitError(str(error)) from error
