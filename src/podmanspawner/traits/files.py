"""Options of what the container sees of the host, with their help."""

from __future__ import annotations

from traitlets import Bool, Dict, HasTraits, List, Unicode


class FileOptions(HasTraits):
    """What the container sees of the host, and what it keeps."""

    home_target = Unicode(
        "{image_home}",
        help="""
        Where in the container the home is mounted; ``""`` for nowhere.

        A template as for ``volumes``. Default: the home of the image's user, so that a notebook
        saved there lies in the account's home.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    home_source = Unicode(
        "{home}",
        help="""
        Folder of the host that is the home of a server's user.

        A template as for ``volumes``. Default: the account's home. Where all users' servers run
        in one account, a folder of each user's own; see ``create_sources``. Example:
        ``"{home}/hub/{username}"``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    create_sources = Bool(
        default_value=False,
        help="""
        Whether folders of the host are made, before a start, where they are missing.

        Those of ``home_source``, ``volumes`` and ``mounts`` that the container may write to. The
        account makes them, as far as it may, with mode 0700. Default: False, a start fails and
        names what is missing.

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

    tmpfs = Dict(
        key_trait=Unicode(),
        help="""
        Folders of the container that are kept in memory and lost when the server stops.

        Path to a size (bytes, or with k, m, g), or to options as ``podman run --tmpfs`` takes
        them; ``""`` for no size of its own. The path is a template as for ``volumes``. It counts
        as memory of the container. Default: none. Example:
        ``{"/scratch": "1g", "/run": "size=64m,mode=755"}``.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)

    read_only = Bool(
        default_value=False,
        help="""
        Whether the container's files are read-only, but for mounts.

        ``/tmp``, ``/var/tmp`` and ``/run`` are then kept in memory, unless something is mounted
        there; what else has to be written needs a mount, such as the home. Default: False.

        .. versionadded:: 1.0
        """,
    ).tag(config=True)
