"""Kinds of traits that more than one room has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyterhub.traitlets import ByteSpecification
from traitlets import TraitError

from podmanspawner.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable


class ByteSize(ByteSpecification):  # type: ignore[misc]  # untyped package
    """A number of bytes, or a text with K, M, G or T; the error names the option."""

    def validate(self, obj: Any, value: Any) -> int | None:
        """Return the number of bytes.

        Raises:
            TraitError: it is no size.
        """
        try:
            size: int | None = super().validate(obj, value)
        except TraitError as error:
            raise TraitError(f"{self.name}: {error}") from error
        return size


def as_trait_error(check: Callable[[Any], object], value: object) -> None:
    """Let a check of ours refuse a value when it is set, as traitlets do."""
    try:
        check(value)
    except SpecError as error:
        raise TraitError(str(error)) from error
