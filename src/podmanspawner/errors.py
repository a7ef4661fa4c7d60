"""The error tree: what can go wrong, in types; every text ends with what to do next.

::

    PodmanSpawnerError
    ├── AccountError             whom we refuse to serve
    ├── SpecError (ValueError)   an option that makes no container
    ├── ChoiceError              a user chose what they may not; never in scripts
    ├── ServiceError             the account's Podman service does not run
    ├── UntrustedServiceError    what answered is not to be believed
    └── PodmanError              the engine refused an operation
        ├── ContainerNotFound
        ├── ImageNotFound
        ├── VolumeNotFound
        └── PortTaken
"""

from __future__ import annotations

_HALF = 2500
"""Characters: what is wrong is at the beginning of a text, what to do at its end."""


class PodmanSpawnerError(Exception):
    """Every error of this package."""

    def __init__(self, message: str) -> None:
        if len(message) > 2 * _HALF:  # an account's words are part of it
            message = f"{message[:_HALF]} … {message[-_HALF:]}"
        super().__init__(message)


class AccountError(PodmanSpawnerError):
    """The Unix account behind a Hub user cannot or must not be served."""

    def __init__(self, account: str, message: str) -> None:
        super().__init__(message)
        self.account = account
        """Name of the account, as asked for."""


class SpecError(PodmanSpawnerError, ValueError):
    """An option has a value that no container can have."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option
        """Name of the option to change."""


class ChoiceError(PodmanSpawnerError):
    """A user chose what is not offered to them; the text is for the user."""


class ServiceError(PodmanSpawnerError):
    """The account's ``podman system service`` cannot be reached or started."""

    def __init__(
        self, message: str, *, socket: str = "", unit: str = "", stderr: str = ""
    ) -> None:
        super().__init__(message)
        self.socket = socket
        """Path of the service's socket."""
        self.unit = unit
        """Name of the systemd unit, if one was involved."""
        self.stderr = stderr
        """Last output of the service, if any."""


class UntrustedServiceError(PodmanSpawnerError):
    """The peer, the size, the duration or the form of an answer is not acceptable."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        """``"peer"``, ``"size"``, ``"deadline"`` or ``"protocol"``."""
        self.answered = True
        """Whether the service had answered this client before; if not, nothing was changed yet."""


class PodmanError(PodmanSpawnerError):
    """The engine refused an operation."""

    def __init__(self, message: str, *, operation: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What the engine said."""
        self.operation = operation
        """What was asked of it, such as ``"create container jupyter-ada"``."""
        self.status = status
        """HTTP status of the answer; None if there was none."""


class ContainerNotFound(PodmanError):  # noqa: N818, named as the field names it
    """No container of that name or id."""


class ImageNotFound(PodmanError):  # noqa: N818
    """No image of that reference here, and none could be had."""


class VolumeNotFound(PodmanError):  # noqa: N818
    """No volume of that name."""


class PortTaken(PodmanError):  # noqa: N818
    """Another process holds the host port that the container was to get."""
