"""The configuration of ``PodmanSpawner``: every option with its help, one room each."""

from __future__ import annotations

from .files import FileOptions
from .hardening import HardeningOptions
from .identity import IdentityOptions
from .image import ImageOptions
from .life import LifeOptions
from .limits import LimitOptions
from .network import NetworkOptions
from .original import OriginalOptions
from .server import ServerOptions
from .service import ServiceOptions

__all__ = ["PodmanOptions"]


class PodmanOptions(
    ServiceOptions,
    ImageOptions,
    ServerOptions,
    LifeOptions,
    FileOptions,
    IdentityOptions,
    NetworkOptions,
    LimitOptions,
    HardeningOptions,
    OriginalOptions,
):
    """Options of the spawner, as an administrator sets them in ``jupyterhub_config.py``."""
