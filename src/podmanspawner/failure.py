"""What a user sees of a start that failed, in the style of JupyterHub's own pages; pure.

Every text is escaped: what a server printed is its user's, and the page may be an administrator's.
"""

from __future__ import annotations

from html import escape

from .answers import is_quoted, unquoted

_LINES = (
    '<samp class="d-block text-start text-break small border rounded bg-body-tertiary p-2 mt-2"'
    ' style="white-space: pre-wrap; max-height: 24em; overflow: auto">'
)


def failure_page(text: str) -> str:
    """Return an error's text as HTML for the inside of a paragraph; what it quotes is set apart.

    Args:
        text: without control characters.
    """
    parts: list[str] = []
    quote: list[str] = []
    for line in text.splitlines():
        if is_quoted(line):
            quote.append(escape(unquoted(line)))
            continue
        parts += _block(quote)
        quote = []
        parts.append(f'<span class="d-block">{escape(line)}</span>')
    return "\n".join([*parts, *_block(quote)])


def _block(lines: list[str]) -> list[str]:
    return [_LINES + "\n".join(lines) + "</samp>"] if lines else []
