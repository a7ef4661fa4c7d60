"""Kinds of traits that more than one room has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyterhub.traitlets import ByteSpecification
from traitlets import List, TraitError, Unicode, Union

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


class Words(List):  # type: ignore[type-arg]  # generic for checkers only
    """A list of words; a text with spaces is refused, where traitlets makes one word of it."""

    def __init__(self, **options: Any) -> None:
        """Let the words be texts."""
        super().__init__(Unicode(), **options)

    def set(self, obj: Any, value: Any) -> None:
        """Set the list.

        Raises:
            TraitError: it is one text of more than one word.
        """
        if isinstance(value, str) and len(value.split()) > 1:
            raise TraitError(
                f"{self.name}: {value!r} is one text; write a list of words: {value.split()}"
            )
        super().set(obj, value)


class OneOf(Union):
    """A union whose default is told, as the Hub's generated configuration has it."""

    def default_value_repr(self) -> str:
        """Return the default as Python writes it."""
        return repr(self.default())


def as_trait_error(check: Callable[[Any], object], value: object) -> None:
    """Let a check of ours refuse a value when it is set, as traitlets do."""
    try:
        check(value)
    except SpecError as error:
        raise TraitError(str(error)) from error
