"""The documents: links lead somewhere, nothing public and no option is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.auth import PAMAuthenticator
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets import TraitError, import_item
from traitlets.config import Config
from wrapspawner import ProfilesSpawner

import flags
import held
import options
import performance
import podmanspawner
import runs
from podmanspawner import PodmanSpawner
from shown import all_blocks

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
WRITTEN = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
TOPS = [TOP / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "RELEASE")]
PAGES = [*TOPS, *WRITTEN]
OTHERS = {"index.md", *(page.name.lower() for page in TOPS)}
"""Pages that stand for others."""
CONFIGURATION = (DOCS / "reference/configuration.md").read_text()
CLIENT = (DOCS / "reference/client.md").read_text()

_CODE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(page):
    """Yield the targets of a page's links that lead to files or headings."""
    for target in _LINK.findall(_CODE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page):
    """Return the names by which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(page):
    return str(page.relative_to(TOP))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in links(page):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.resolve().is_relative_to(TOP), target
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("image", sorted((DOCS / "images").iterdir()), ids=name_of)
def test_pictures_are_small_and_shown(image):
    shown = {(page.parent / target).resolve() for page in WRITTEN for target in links(page)}
    assert image in shown
    assert image.stat().st_size <= 100_000
    content = image.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == 1000, "the width"


def test_the_index_lists_every_page():
    listed = {(DOCS / target).resolve() for target in links(DOCS / "index.md")}
    assert {page for page in WRITTEN if page.name not in OTHERS} <= listed


@pytest.mark.parametrize("option", sorted(PodmanSpawner.class_own_traits(config=True)))
def test_options_are_in_the_reference(option):
    assert f"\n### {option}\n" in CONFIGURATION
    assert f"| [`{option}`](#{option}) |" in CONFIGURATION


def test_the_table_of_options_is_as_the_code_is():
    assert options.page() == CONFIGURATION, "run 'python docs/options.py'"
    assert set(options.own_options()) == set(PodmanSpawner.class_own_traits(config=True))


def test_the_table_of_flags_is_as_the_code_is():
    assert flags.page() == flags.PAGE.read_text(), "run 'python docs/flags.py'"


def test_the_matrix_is_as_the_runs_were():
    assert runs.page() == runs.PAGE.read_text(), "run 'python docs/runs.py'"
    results = json.loads(runs.RESULTS.read_text())
    for table in (runs.grid(results), runs.runs(results)):
        assert all(all(line[1:]) for line in table), "a cell without a result and without a reason"


def test_a_newer_result_takes_the_place_of_an_older_one(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results.json")
    seen = {"podman": "4.3.1", "network": "slirp4netns 1", "runtime": "runc 1", "python": "3.11.2"}
    seen |= {"jupyterhub": "5.5.4", "system": "Debian", "systemd": "no"}
    one = {"run": "host", "layer": "podman", "date": "2026-01-01", "seen": seen}
    runs.take([json.dumps({**one, "passed": 1, "failed": ["a::b: c"], "skipped": {}})])
    assert "1 of 2 failed" in runs.PAGE.read_text()
    assert "`a::b: c`" in runs.PAGE.read_text()
    runs.take([json.dumps({**one, "passed": 2, "failed": [], "skipped": {"no pasta": 3}})])
    assert "failed" not in runs.PAGE.read_text()
    assert "2 passed, 3 skipped" in runs.PAGE.read_text()
    assert "- no pasta (Podman 4.3.1 with runc)" in runs.PAGE.read_text()


def test_the_figures_are_as_they_were_measured():
    assert performance.page() == performance.PAGE.read_text(), "run 'python docs/performance.py'"


def test_what_it_has_withstood_is_as_the_runs_were():
    assert held.page() == held.PAGE.read_text(), "run 'python docs/held.py'"
    known = json.loads(held.KEPT.read_text())
    for section in held.SECTIONS:
        assert held._of(section, known), f"nothing was measured of {section.title!r}"


def test_a_newer_trial_takes_the_place_of_an_older_one(monkeypatch, tmp_path):
    monkeypatch.setattr(held, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(held, "KEPT", tmp_path / "kept.json")
    crash, fuzz = "tests/hostile/test_crashes.py::test_a", "tests/unit/test_fuzz.py::test_b"
    one = {"date": "2026-01-01", "passed": 1, "failed": 1, "inputs": 0}
    one["measured"] = ["stop: the Hub killed at 7 of 25 steps", "the service killed 4 times"]
    without = {**one, "measured": []}
    held.take({crash: one, "tests/unit/test_x.py::test_c": one, fuzz: without})
    page = held.PAGE.read_text()
    assert "**11 kills.**" in page
    assert "[a](../../tests/hostile/test_crashes.py) | 2 | **1 of 2 not** |" in page
    assert "test_x" not in page
    assert "**0 inputs.**" in page
    held.take({crash: {**without, "failed": 0, "passed": 3}, fuzz: {**without, "inputs": 1200}})
    page = held.PAGE.read_text()
    assert "[a](../../tests/hostile/test_crashes.py) | 3 | all |" in page
    assert "**1,200 inputs.**" in page


@pytest.mark.parametrize("names", ["ORIGINAL", "DOCKER", "KUBE", "SYSTEMD", "NEEDS"])
def test_names_elsewhere_are_of_options(names):
    assert set(getattr(options, names)) <= set(options.own_options())


@pytest.mark.parametrize("name", podmanspawner.__all__)
def test_public_names_are_in_the_reference(name):
    assert re.search(rf"(?<!\w){name}(?!\w)", CLIENT + CONFIGURATION)


@pytest.mark.parametrize(
    "public",
    [
        podmanspawner.UserPodman,
        podmanspawner.ContainerSpec,
        podmanspawner.Container,
        podmanspawner.ContainerState,
        podmanspawner.Image,
        podmanspawner.Event,
        podmanspawner.Account,
    ],
    ids=lambda public: public.__name__,
)
def test_members_are_in_the_reference(public):
    fields = getattr(public, "__dataclass_fields__", {})
    members = {name for name in vars(public) if not name.startswith("_")} | set(fields)
    internal = {"parse", "open_runtime_dir"}
    missing = {name for name in members - internal if not re.search(rf"\b{name}\b", CLIENT)}
    assert not missing


def test_the_design_lists_every_module():
    package = Path(podmanspawner.__file__).parent
    sources = {file.name for file in package.glob("*.py")}
    sources |= {f"{file.parent.name}/" for file in package.glob("*/__init__.py")}
    listed = re.findall(
        r"^\| `(\w+(?:\.py|/))` \|", (DOCS / "explanation/design.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == sorted(sources - {"__init__.py"})


EXAMPLES = sorted((TOP / "examples").rglob("*.py"))
CONFIGURATIONS = {
    **{str(block): block.text for block in all_blocks("python") if "c." in block.text},
    **{name_of(file): file.read_text() for file in EXAMPLES if "get_config()" in file.read_text()},
}
CLASSES = {
    "JupyterHub": JupyterHub,
    "Authenticator": PAMAuthenticator,
    "Spawner": PodmanSpawner,
    "PodmanSpawner": PodmanSpawner,
    "PAMAuthenticator": PAMAuthenticator,
    "ConfigurableHTTPProxy": ConfigurableHTTPProxy,
    "ProfilesSpawner": ProfilesSpawner,
}
_SETS = re.compile(r"^c\.\w+\.\w+ = ", re.MULTILINE)


def take(name, settings):
    """Let a class take its settings, as the Hub does; it refuses what is no value of an option."""
    cls = CLASSES[name]
    assert settings.keys() <= set(cls.class_trait_names(config=True)), name
    cls(config=Config({cls.__name__: settings}))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_are_taken(name, monkeypatch):
    text = CONFIGURATIONS[name]
    if not _SETS.search(text):
        return  # a script: tests/docs runs it
    monkeypatch.setenv("PODMANSPAWNER_DEMO_USERS", "ada bob")
    c = Config()
    exec(text, {"c": c, "get_config": lambda: c})
    assert c, "it sets nothing"
    for section, settings in c.items():
        take(section, settings)
    for *_, cls, settings in c.ProfilesSpawner.get("profiles", []):
        assert import_item(cls) if isinstance(cls, str) else cls is PodmanSpawner
        take("PodmanSpawner", settings)


def test_what_is_no_option_is_not_taken():
    for settings in ({"imag": "x"}, {"pids_limit": "many"}, {"network": "no such network!"}):
        with pytest.raises((AssertionError, TraitError)):
            take("PodmanSpawner", settings)
