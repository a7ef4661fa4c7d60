"""Options of the account and of its Podman service, with their help."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

from traitlets import Bool, Dict, Enum, HasTraits, Integer, List, Unicode, validate

from podmanspawner import checks
from podmanspawner.activation import Activation

from .base import as_trait_error


class ServiceOptions(HasTraits):
    """Whose Podman it is, and how it is reached."""

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
        - ``"systemd"``: the account's user manager is made to run, and its ``podman.socket`` is
          started in it. Servers then belong to the account's own slice of the host, and not to
          the Hub's unit.
        - ``"direct"``: the Hub starts ``podman system service`` as the account when there is
          work; it ends itself when idle.
        - ``"auto"`` (default): the first of these that works.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    enable_linger = Bool(
        True,
        help="""
        Whether an account is made to linger, so that a logout does not end its servers.

        On a host with systemd, where ``activation`` is ``"auto"`` or ``"systemd"``, the Hub runs
        ``loginctl enable-linger`` for an account whose Podman it needs, once. That stays so after
        the Hub's end and after each boot, until ``loginctl disable-linger``. With False the Hub
        starts the account's user manager without it, and logind stops that, servers included,
        some seconds after the account's last logout.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    service_idle_seconds = Integer(
        5,
        min=1,
        help="""
        A Podman service that the Hub started ends itself after so many seconds without a request.
        One that systemd starts has its own time, 5 seconds.

        The servers go on; the next operation starts it again, which takes about 50 ms.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    service_environment = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Variables of the accounts' Podman services, such as a proxy for pulling images.

        A service with variables of its own is always started by the Hub, and listens beside the
        account's own; so they do not go with ``activation`` ``"existing"`` or ``"systemd"``.
        Default: none. Example:
        ``{"https_proxy": "http://proxy.example.org:3128"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    @validate("service_environment")
    def _check_service_environment(self, proposal: dict[str, Any]) -> dict[str, str]:
        value: dict[str, str] = proposal["value"]
        as_trait_error(partial(checks.environment, option="service_environment"), value)
        return value

    hooks_dir = List(
        Unicode(),
        help="""
        Folders of the host with OCI hooks: programs that run at stages of a container's life.

        Each hook runs as the account. They take the place of the engine's own folders. As
        ``service_environment``, not with ``activation`` ``"existing"`` or ``"systemd"``: there
        it is ``hooks_dir`` in ``[engine]`` of the accounts' ``containers.conf``.
        Default: the engine's own. Example:
        ``["/usr/share/containers/oci/hooks.d"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
