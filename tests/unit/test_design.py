"""What the design promises of the modules: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import podmanspawner

SOURCES = {file.stem: file for file in Path(podmanspawner.__file__).parent.glob("*.py")}

# imports go to the left only; docs/explanation/design.md tells what each is for
ORDER = [
    "errors",
    "answers",
    "account",
    "names",
    "ports",
    "checks",
    "mounts",
    "extra",
    "spec",
    "settings",
    "files",
    "privileges",
    "sockets",
    "direct",
    "activation",
    "transport",
    "rest",
    "images",
    "client",
    "builder",
    "server",
    "threads",
    "limits",
    "traits",
    "spawner",
    "__init__",
]
APART = {"_become"}  # run by path, never imported

ONLY = {
    "podman": {"rest"},
    "requests": {"rest", "transport"},
    "requests_unixsocket": {"transport"},
    "jupyterhub": {"limits", "spawner"},
    "tornado": {"spawner"},
    "traitlets": {"limits", "traits", "spawner"},
    "subprocess": {"privileges", "direct"},
    "asyncio": {"spawner", "threads"},
}


def imports(module):
    """Yield (package, module) of everything imported, for typing too; "" is this package."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name.split(".")[0], "") for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [name.name for name in node.names]
            yield from (("", name) for name in names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0], node.module


def test_every_module_has_its_place():
    assert {*ORDER, *APART} == set(SOURCES)


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_one_way(module):
    own = {name for package, name in imports(module) if not package}
    assert own <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", SOURCES)
def test_who_knows_what(module):
    known = {package for package, _ in imports(module)}
    assert known & set(ONLY) <= {package for package, users in ONLY.items() if module in users}


def test_the_program_that_becomes_the_account_stands_alone():
    known = {package for package, _ in imports("_become")}
    assert known == {"_socket", "fcntl", "os", "sys"}


def loaded_by(statement):
    """Return the modules that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    return subprocess.check_output([sys.executable, "-c", script], text=True).split()


def test_scripts_need_no_jupyterhub():
    loaded = loaded_by("import podmanspawner; podmanspawner.UserPodman")
    assert "podmanspawner.client" in loaded
    assert not {"jupyterhub", "tornado", "traitlets", "sqlalchemy", "asyncio"} & set(loaded)


def test_the_spawner_is_loaded_when_it_is_asked_for():
    assert "jupyterhub" in loaded_by("from podmanspawner import PodmanSpawner")
