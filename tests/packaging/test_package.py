"""Wheel and sdist as somebody gets them: in an environment of their own, without the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import tomllib

from podmanspawner import PodmanSpawner

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
FULL_NAME = f"{PROJECT['name']}-{PROJECT['version']}"
NOT_PACKAGED = {"__pycache__", "_build", ".venv", "dist"}
USER = """
from podmanspawner import Account, Container, ContainerSpec, Mount, PodmanService, UserPodman

spec = ContainerSpec(image="localhost/lab:1", command=["true"], mounts=[Mount("tmpfs", "/a")])


def run(name: str) -> int:
    with UserPodman(PodmanService(Account.lookup(name))) as podman:
        containers: list[Container] = podman.containers({"a": "b"})
        print([each.state.exit_code for each in containers])
        return podman.run(spec, seconds=1.5).exit_code
"""
MISTAKES = {
    "print(podman.run(spec).exit_cod)": 'has no attribute "exit_cod"',
    "podman.stop(1)": 'expected "str"',
    "ContainerSpec(imag='a')": 'keyword argument "imag"',
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a wheel that is made from the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(TOP, folder, "sdist")
    with tarfile.open(folder / f"{FULL_NAME}.tar.gz") as sdist:
        sdist.extractall(folder, filter="data")
    build(folder / FULL_NAME, folder, "wheel")
    return folder


def build(source, folder, target):
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder), cwd=source)


def run(*command, fails=False, **options):
    """Run a command that knows nothing of this checkout, and return what it printed."""
    own = {"PYTHONPATH", "VIRTUAL_ENV", "MYPYPATH"}
    env = {key: value for key, value in os.environ.items() if key not in own}
    env |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **options.pop("env", {})}
    ran = subprocess.run(command, capture_output=True, text=True, env=env, **options)
    assert (ran.returncode != 0) is fails, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def environment(folder):
    """Make a virtual environment with all that is installed here but this package itself."""
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    others = folder / "others"
    others.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if PROJECT["name"] not in entry.name and entry.suffix != ".pth":
            (others / entry.name).symlink_to(entry)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(f"{others}\n")
    for program in ("pip", "pytest"):
        script = folder / "bin" / program
        script.write_text(f'#!/bin/sh\nexec {folder}/bin/python -m {program} "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder of the programs of an environment with the wheel and what it asks for."""
    programs = environment(tmp_path_factory.mktemp("clean") / "venv") / "bin"
    (wheel,) = built.glob("*.whl")
    run(programs / "pip", "install", str(wheel))  # fails if a dependency is not there
    return programs


def in_checkout():
    """Return the files of this checkout that belong to the project."""
    tops = ["src", "tests", "docs", "examples", ".ci", "Makefile", "LICENSE", "pyproject.toml"]
    tops += [page.name for page in TOP.glob("*.md")]
    found = [file for top in tops for file in [TOP / top, *(TOP / top).rglob("*")]]
    names = [file.relative_to(TOP) for file in found if file.is_file()]
    return {str(name) for name in names if not NOT_PACKAGED & {*name.parts}}


def test_the_sdist_has_everything(built):
    with tarfile.open(built / f"{FULL_NAME}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names - {".gitignore", "PKG-INFO"} == in_checkout()
    assert {"LICENSE", "CONTRIBUTING.md", "RELEASE.md", "src/podmanspawner/py.typed"} <= names


def test_the_wheel_has_the_package_alone(built):
    with zipfile.ZipFile(built / f"{FULL_NAME}-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        (about,) = (name for name in names if name.endswith("/METADATA"))
        metadata = wheel.read(about).decode()
    own = {name.removeprefix("src/") for name in in_checkout() if name.startswith("src/")}
    assert {name for name in names if ".dist-info/" not in name} == own
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "Description-Content-Type: text/markdown" in metadata
    assert "make demo" in metadata


def test_it_imports(installed, tmp_path):
    script = "import podmanspawner; print(podmanspawner.__version__, podmanspawner.__file__)"
    version, file = run(installed / "python", "-c", script, cwd=tmp_path).split()
    assert version == PROJECT["version"]
    assert Path(file).is_relative_to(installed.parent)


def test_its_command_has_help(installed, tmp_path):
    said = run(installed / "podmanspawner", "--help", cwd=tmp_path)
    assert "Usage: podmanspawner" in said
    assert "doctor" in said


def test_the_hub_writes_its_options_with_their_help(installed, tmp_path):
    run(installed / "python", "-m", "jupyterhub", "--generate-config", cwd=tmp_path)
    text = (tmp_path / "jupyterhub_config.py").read_text()
    section = text.partition("# PodmanSpawner(")[2]
    for option in PodmanSpawner.class_own_traits(config=True):
        found = re.search(rf"((?:^#.*\n)+)^# c\.PodmanSpawner\.{option} =", section, re.MULTILINE)
        assert found, option
        assert re.match(r"## \S.{20,}", found[1]), f"{option}: {found[1][:200]}"
        assert "Undefined" not in found[1], f"{option}: nobody says its default"


def check_types(python, file):
    words = ["--strict", "--python-executable", str(python), "--config-file", os.devnull]
    return [sys.executable, "-m", "mypy", *words, file.name]


def test_types_are_known_to_its_users(installed, tmp_path):
    script = tmp_path / "user.py"
    script.write_text(USER)
    run(*check_types(installed / "python", script), cwd=tmp_path)

    lines = "".join(f"    {mistake}\n" for mistake in MISTAKES)
    script.write_text(f"{USER}\n\ndef wrong(podman: UserPodman) -> None:\n{lines}")
    said = run(*check_types(installed / "python", script), cwd=tmp_path, fails=True)
    assert f"Found {len(MISTAKES)} errors" in said
    assert all(error in said for error in MISTAKES.values()), said


def test_two_commands_lead_to_a_passing_test(built, tmp_path):
    """Those of CONTRIBUTING.md, in an unpacked sdist; all that they install is there already."""
    page = (TOP / "CONTRIBUTING.md").read_text()
    commands = re.search(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1].splitlines()
    assert len(commands) == 2
    venv = environment(tmp_path / "venv")
    env = {
        "PODMANSPAWNER_VENV": str(venv),
        "PYTHON": sys.executable,
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there is to be none
        # some of them: all take a minute
        "PYTEST_ARGS": "--ignore-glob=*/test_[!p]*.py -k test_public",
    }
    for command in commands:
        said = run("bash", "-c", command, cwd=built / FULL_NAME, env=env)
    assert re.search(r"\d+ passed", said), said
    assert [*venv.glob("lib/python*/site-packages/podmanspawner-*")], "it was not installed"


def test_the_changelog_has_the_form_of_jupyters():
    headings = re.findall(r"^(##+) (.*)$", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    kinds = {
        *("New features added", "Enhancements made", "Bugs fixed", "Breaking changes"),
        *("Maintenance and upkeep improvements", "Documentation improvements"),
        *("API and Breaking Changes", "Contributors to this release"),
    }
    forms = {"##": r"\d+\.\d+", "###": r"\d+\.\d+\.\d+ - (\d{4}-\d\d-\d\d|unreleased)"}
    for level, text in headings:
        assert text in kinds if level == "####" else re.fullmatch(forms[level], text), text
    newest = next(text for level, text in headings if level == "###")
    assert newest.partition(" - ")[0] == PROJECT["version"].partition(".dev")[0]
    assert newest.endswith("unreleased") is (".dev" in PROJECT["version"])
