"""How Sphinx builds the web site: ``make docs``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import podmanspawner

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TOP = Path(__file__).parents[1]

project = "podmanspawner"
copyright = "Project Jupyter contributors"  # noqa: A001, Sphinx's name
version = podmanspawner.__version__
release = version

extensions = [
    "autodoc_traits",
    "jupyterhub_sphinx_theme",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]

html_theme = "jupyterhub_sphinx_theme"
html_title = project
html_theme_options = {"use_edit_page_button": False}
html_copy_source = False

# Links are written as on a git host: relative, and headings by their slugs.
myst_heading_anchors = 4

# Every name that a page or a docstring refers to exists; those of other projects are not looked
# up, since a build needs no network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!podmanspawner\.).*")]
nitpick_ignore = [("py:class", "podmanspawner.account.IdRange")]  # a range; not public

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"


# Pages that are files of the checkout's top.
FROM_TOP = {
    "readme": "README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "release": "RELEASE.md",
}


def read_source(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the top's files into the pages that stand for them, and lead links to them there."""
    if page in FROM_TOP:
        file = TOP / FROM_TOP[page]
        app.env.note_dependency(file)
        source[0] = re.sub(r"\]\((?=[\w./-]+[)#])", "](../", file.read_text())
        source[0] = source[0].replace("](../docs/", "](")
    for name, file in FROM_TOP.items():
        source[0] = re.sub(rf"\]\((\.\./)+{re.escape(file)}", f"](/{name}.md", source[0])


def setup(app: Sphinx) -> None:
    """Tell Sphinx what is done here."""
    app.connect("source-read", read_source)
