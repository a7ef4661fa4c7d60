"""JupyterHub spawner and library for containers in each user's own rootless Podman.

Everything public is imported from here.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .account import Account
from .activation import PodmanService
from .answers import (
    Container,
    ContainerState,
    EngineInfo,
    Event,
    ExecResult,
    Image,
    RunResult,
)
from .client import UserPodman
from .errors import (
    AccountError,
    ContainerNotFound,
    ImageNotFound,
    PodmanError,
    PodmanSpawnerError,
    PortTaken,
    ServiceError,
    SpecError,
    UntrustedServiceError,
    VolumeNotFound,
)
from .health import HealthCheck
from .identity import UserMapping
from .mounts import Mount
from .network import Port
from .resources import Resources
from .secrets import Secret
from .spec import ContainerSpec
from .volumes import Volume

if TYPE_CHECKING:
    from .spawner import PodmanSpawner

__version__ = version("podmanspawner")

__all__ = [
    "Account",
    "AccountError",
    "Container",
    "ContainerNotFound",
    "ContainerSpec",
    "ContainerState",
    "EngineInfo",
    "Event",
    "ExecResult",
    "HealthCheck",
    "Image",
    "ImageNotFound",
    "Mount",
    "PodmanError",
    "PodmanService",
    "PodmanSpawner",
    "PodmanSpawnerError",
    "Port",
    "PortTaken",
    "Resources",
    "RunResult",
    "Secret",
    "ServiceError",
    "SpecError",
    "UntrustedServiceError",
    "UserMapping",
    "UserPodman",
    "Volume",
    "VolumeNotFound",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the spawner when it is asked for: scripts need no JupyterHub."""
    if name == "PodmanSpawner":
        from .spawner import PodmanSpawner, check_at_startup  # noqa: PLC0415

        check_at_startup()
        return PodmanSpawner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
