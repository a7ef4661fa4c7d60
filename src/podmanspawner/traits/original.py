"""Settings of the original podmanspawner, with their help; ``compat`` translates them."""

from __future__ import annotations

from traitlets import Bool, Dict, HasTraits, Integer, List, Unicode


class OriginalOptions(HasTraits):
    """What podmanspawner 0.2 was configured with."""

    podman_additional_cmds = List(
        Unicode(),
        help="""
        Flags of ``podman run`` for the container.

        Each does what the option of the same meaning does; one that cannot be honoured fails a
        start and is named. As with any setting of podmanspawner 0.2, the home is then mounted at
        ``/home/jovyan/home``, unless ``home_target`` or ``conthome`` is set. Default: none.
        Example: ``["-v", "/srv/data:/data", "-e", "NAME=VALUE"]``.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    jupyter_additional_cmds = List(
        Unicode(),
        help="""
        Words after the server's command. Now ``args``.

        Default: none. Example: ``["--allow-root"]``.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    https_proxy = Unicode(
        default_value=None,
        allow_none=True,
        help="""
        Proxy through which images are pulled, and which servers use for HTTPS.

        Now ``service_environment`` and ``environment``. Default: none. Example:
        ``"http://proxy.example.org:3128"``.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    enable_lab = Bool(
        default_value=False,
        help="""
        Whether the server is told ``JUPYTER_ENABLE_LAB=yes``, which old images read.

        Now ``environment``; ``default_url = "/lab"`` opens JupyterLab. Default: False.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    start_cmd = Unicode(
        help="""
        The server's command, as one text; ``PORT`` in it becomes the port to listen on.

        Now ``cmd``. Default: ``cmd``'s, ``jupyterhub-singleuser``, which is also what the
        original's ``start-notebook.sh`` starts under a Hub. Example: ``"start-notebook.sh"``.

        .. versionadded:: 0.2
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    conthome = Unicode(
        help="""
        Where the account's home is mounted; ``USERNAME`` in it becomes the user's name, made safe.

        Now ``home_target``. Default: ``/home/jovyan/home`` where a setting of podmanspawner 0.2
        is used, else what ``home_target`` says. Example: ``"/home/USERNAME"``.

        .. versionadded:: 0.2
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    startatconthome = Bool(
        default_value=False,
        help="""
        Whether the server starts in the mounted home. Now ``working_dir``. Default: False.

        .. versionadded:: 0.2
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    pull_image_first = Bool(
        default_value=False,
        help="""
        Whether ``pull_image`` is pulled at each start. Now ``pull_policy``. Default: False.

        .. versionadded:: 0.2
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    pull_image = Unicode(
        default_value=None,
        allow_none=True,
        help="""
        What ``pull_image_first`` pulls; ``image`` if it is not set.

        .. versionadded:: 0.2
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    standard_jupyter_port = Integer(
        8888,
        min=1,
        max=65535,
        help="""
        Port on which the server listens in a network of its own. Default: 8888.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    popen_kwargs = Dict(
        help="""
        Without effect: the Hub starts no process for a server.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)

    preexec_fn_set = Integer(
        0,
        help="""
        Without effect: the Hub starts no process for a server.

        .. versionadded:: 0.1
        .. deprecated:: 1.0
        """,
    ).tag(config=True)
