"""What the documents show: their blocks of code."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
PAGES = [
    TOP / "README.md",
    *(page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts),
]

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*?) -->\n)?^ *```(?P<language>\S*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    page: Path
    number: int
    """Which of the page's blocks in its language, from 1 on."""
    language: str
    text: str
    note: str
    """The comment before it."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(TOP)} {self.language} {self.number}"


def blocks(page: Path, language: str = "") -> list[Block]:
    """Return the blocks of a page, in their order; all, or those in a language."""
    found, numbers = [], {}
    for match in _BLOCK.finditer(page.read_text()):
        kind = match["language"]
        numbers[kind] = numbers.get(kind, 0) + 1
        if language in ("", kind):
            text = textwrap.dedent(match["text"])
            found.append(Block(page, numbers[kind], kind, text, match["note"] or ""))
    return found


def all_blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language)]
