"""The web site is built from the documents without a warning, and nothing is missing in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import podmanspawner
from podmanspawner import PodmanSpawner

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"),
            *("-d", folder / "doctrees", DOCS, folder / "html"),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_every_page_is_there(site):
    pages = [page.relative_to(DOCS) for page in DOCS.rglob("*.md") if "_build" not in page.parts]
    assert all((site / page.with_suffix(".html")).is_file() for page in pages)


def test_links_lead_somewhere(site):
    """Those within the site: each has its file, and in it the place."""
    texts = {page: page.read_text() for page in site.rglob("*.html")}
    for page, text in texts.items():
        for file, anchor in re.findall(r'<a [^>]*href="([^":#?]*)(?:#([^"]*))?"', text):
            there = (page.parent / file).resolve() if file else page
            assert there.is_file(), f"{page.name}: {file}"
            if anchor and there in texts:
                assert f'id="{anchor}"' in texts[there], f"{page.name}: {file}#{anchor}"


def test_files_of_the_top_are_pages(site):
    for name in ("README", "CHANGELOG", "CONTRIBUTING", "RELEASE"):
        heading = (TOP / f"{name}.md").read_text().splitlines()[0].removeprefix("# ")
        assert f"<h1>{heading}<" in (site / f"{name.lower()}.html").read_text()


def test_the_api_has_everything_public(site):
    text = (site / "reference/api.html").read_text()
    classes = set(podmanspawner.__all__) - {"PodmanSpawner", "__version__"}
    assert not {name for name in classes if f'id="podmanspawner.{name}"' not in text}
    assert 'id="podmanspawner.UserPodman.run"' in text


def test_the_help_of_every_option_is_there(site):
    text = (site / "reference/traits.html").read_text()
    options = PodmanSpawner.class_trait_names(config=True)
    assert not {name for name in options if f'id="podmanspawner.PodmanSpawner.{name}"' not in text}
