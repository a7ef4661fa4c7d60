"""Options of what a server may do, with their help."""

from __future__ import annotations

from traitlets import Bool, Dict, Enum, HasTraits, List, Unicode, Union


class HardeningOptions(HasTraits):
    """What a server may do."""

    cap_add = List(
        Unicode(),
        help="""
        Capabilities that the server has besides the engine's usual ones.

        They count inside the container only. Default: none. Example: ``["NET_RAW"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    cap_drop = List(
        Unicode(),
        help="""
        Capabilities that nobody in the container has, not even its root; ``["ALL"]`` for all.

        Default: none. Example: ``["SETUID", "SETGID"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    no_new_privileges = Bool(
        default_value=True,
        help="""
        Whether nobody in the container can gain privileges, as through sudo or a setuid program.

        Default: True. Set it to False for images in which users become root with sudo.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    seccomp_profile = Unicode(
        help="""
        Which system calls a server may make: path of a seccomp profile on the host.

        The account reads it, so it must be able to. ``"unconfined"`` allows all calls. Default:
        the engine's own profile. Example: ``"/etc/jupyterhub/seccomp.json"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    selinux_opts = List(
        Unicode(),
        help="""
        How SELinux labels the container, as ``podman run --security-opt label=`` has it.

        ``"disable"``, ``"nested"``, or ``"type:"``, ``"level:"``, ``"user:"``, ``"role:"`` or
        ``"filetype:"`` with a value. On hosts without SELinux it has no effect. Default: the
        engine's. Example: ``["type:jupyter_t", "level:s0:c100"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    masked_paths = List(
        Unicode(),
        help="""
        Paths that a server cannot read, besides those of ``/proc`` and ``/sys`` that never can.

        Default: none. Example: ``["/proc/meminfo"]``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    unmasked_paths = List(
        Unicode(),
        help="""
        Paths of ``/proc`` and ``/sys`` that a server can read although the engine covers them.

        ``["ALL"]`` for all, which containers within the container need. Default: none.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    secrets = List(
        Union([Unicode(), Dict(key_trait=Unicode())]),
        help="""
        Secrets that the server gets: files in ``/run/secrets``, or variables.

        Texts as for ``podman run --secret`` name secrets that each account has; the name is a
        template with ``{username}``. A dictionary has the same keys (``source``, ``type``,
        ``target``, ``uid``, ``gid``, ``mode``); with ``value``, a text or a function of the
        spawner, the secret is made for the server and removed with it. Default: none. Example::

            ["licence", {"source": "db", "value": "s3cret", "type": "env", "target": "DB"}]

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    token_as_secret = Enum(
        (False, "env", "file"),
        default_value=False,
        help="""
        Whether the server's API token is a secret, and not a part of its container.

        In the container it is the variable ``JUPYTERHUB_API_TOKEN`` all the same.

        - False (default): ``podman inspect`` shows it, and an image has it that a user makes of
          the container (``podman commit``).
        - ``"env"``: no such image has it. Podman shows it while the server runs.
        - ``"file"``: Podman never shows it. A shell of the image reads it at the start. Not with
          containers that are kept (``remove``).

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
