"""Write the table of flags into how-to/migrate-from-original.md, from the code.

Run ``python docs/flags.py`` after what becomes of a flag has changed; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from podmanspawner.flags.table import FLAGS, LETTERS

PAGE = Path(__file__).parent / "how-to" / "migrate-from-original.md"
BEGIN = "<!-- flags: written by docs/flags.py -->\n"
END = "<!-- end of flags -->\n"


def rows() -> list[str]:
    """Return the lines of the table."""
    letters = {name: letter for letter, name in LETTERS.items()}
    lines = [["flag", "what becomes of it"], ["---", "---"]]
    for name, flag in FLAGS.items():
        shown = f"`-{letters[name]}`, `--{name}`" if name in letters else f"`--{name}`"
        if flag.refused:
            lines.append([shown, f"refused: {flag.reason}"])
        elif flag.action is None:
            lines.append([shown, f"no effect: {flag.reason}"])
        else:
            to = flag.to
            code = to.replace('"', "").replace("[", "").replace("]", "").replace("_", "")
            lines.append([shown, f"`{to}`" if code.isalnum() else to])
    return [f"| {' | '.join(line)} |\n" for line in lines]


def page() -> str:
    """Return the page with its table made anew."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{''.join(rows())}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page())
