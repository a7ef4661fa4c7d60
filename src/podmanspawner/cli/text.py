"""How the command shows things: nothing of an account's is printed as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from podmanspawner.answers import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .findings import Finding

_MARKS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failure": ("FAILED", "red"),
    "skipped": ("skipped", "bright_black"),
}
_MARK_WIDTH, _NAME_WIDTH = 7, 15
_CELL_CHARACTERS = 60
UNITS = (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10))


def show(finding: Finding) -> None:
    """Print a finding: one line, and two more for what is not well."""
    mark, colour = _MARKS[finding.status]
    shown = click.style(f"{mark:{_MARK_WIDTH}}", fg=colour)
    click.echo(f"  {shown}  {finding.name:{_NAME_WIDTH}}  {finding.seen}")
    if finding.status in ("warning", "failure"):
        for label, text in (("why", finding.why), ("do", finding.remedy)):
            if text:
                click.echo(f"{' ' * (2 + _MARK_WIDTH)}  {label:{_NAME_WIDTH}}  {text}")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below headings, in columns; what is in them may be an account's."""
    cells = [[one_line(cell, _CELL_CHARACTERS) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for number, row in enumerate([list(headings), *cells]):
        padded = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        line = "  ".join(padded).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    unit, divisor = next((entry for entry in UNITS if count >= entry[1]), ("bytes", 1))
    return f"{count / divisor:.3g} {unit}"
