"""How far a pull is: from what the engine tells of it, line by line, to one figure.

What the engine tells is up to the account; it is bounded and typed, and nothing of it decides
more than what a page shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import answers
from .errors import PodmanError, UntrustedServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LAYERS = 1000
"""An image has at most 127, and a configuration."""
_MEGABYTE = 1_000_000
_LAYER = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Progress:
    """How far an image's way into the account is."""

    message: str
    """For people, such as ``12.3 of 45.6 MB (26 %), 2 of 5 parts``."""
    done: int = 0
    """Bytes that are here, of ``total``."""
    total: int = 0
    """Bytes of the layers that are known so far; 0 if none is."""

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.done / self.total if self.total else 0.0


@dataclass
class _Layer:
    done: int = 0
    total: int = 0
    complete: bool = False


class PullStream:
    """Reads the lines of one pull.

    Both forms that engines have: Docker's (``status``, ``progressDetail``, ``id``) with a figure
    for each layer, and libpod's (``stream``) without.
    """

    def __init__(
        self, operation: str, tell: Callable[[Progress], None] = lambda _progress: None
    ) -> None:
        """Tell ``tell`` whenever something has changed."""
        self._operation = operation
        self._tell = tell
        self._layers: dict[str, _Layer] = {}
        self.image_id = ""
        """Id of the image, or how it begins; at the end, unless the engine ended early."""

    def read(self, line: bytes) -> None:
        """Take one line.

        Raises:
            PodmanError: the pull has failed; HTTP's status was 200.
            UntrustedServiceError: it is no line of a pull.
        """
        said = answers.obj(answers.parse_json(line, self._operation), self._operation)
        if said.get("error"):
            raise PodmanError(
                answers.one_line(str(said["error"])), operation=self._operation, status=200
            )
        if said.get("stream"):
            self._tell(Progress(answers.one_line(str(said["stream"]))))
        elif said.get("status"):
            self._layer(said)
        elif said.get("id"):
            self.image_id = answers.identifier(said["id"], self._operation)

    def _layer(self, said: dict[str, Any]) -> None:
        status = answers.string(said["status"], self._operation)
        layer = self._known(answers.string(said.get("id"), self._operation))
        if status == "Downloading":
            figures = answers.obj(said.get("progressDetail"), self._operation)
            total = answers.integer(figures.get("total", 0), self._operation)
            current = answers.integer(figures.get("current", 0), self._operation)
            layer.total = max(total, 0)  # -1 where the registry does not tell
            layer.done = min(max(current, 0), layer.total)
        elif status in ("Download complete", "Already exists"):
            layer.done, layer.complete = layer.total, True
            self.image_id = said["id"]  # the last line says it of the image itself
        self._tell(self.progress())

    def _known(self, layer: str) -> _Layer:
        if not _LAYER.fullmatch(layer):
            raise UntrustedServiceError(
                f"{self._operation}: the engine tells of something that is no layer. Look at what "
                "listens on the account's socket.",
                reason="protocol",
            )
        if layer not in self._layers and len(self._layers) >= MAX_LAYERS:
            raise UntrustedServiceError(
                f"{self._operation}: the engine tells of more than {MAX_LAYERS} layers. Look at "
                "what listens on the account's socket.",
                reason="size",
            )
        return self._layers.setdefault(layer, _Layer())

    def progress(self) -> Progress:
        """Return how far it is, over all parts that are known so far: layers, configuration."""
        layers = self._layers.values()
        done = sum(layer.done for layer in layers)
        total = sum(layer.total for layer in layers)
        complete = sum(layer.complete for layer in layers)
        message = f"{complete} of {len(layers)} parts"
        if total:
            size = f"{done / _MEGABYTE:.1f} of {total / _MEGABYTE:.1f} MB"
            message = f"{size} ({100 * done // total} %), {message}"
        return Progress(message, done, total)
