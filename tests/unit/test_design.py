"""What the design promises of the modules: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import podmanspawner

PACKAGE = Path(podmanspawner.__file__).parent
SOURCES = {str(file.relative_to(PACKAGE).with_suffix("")): file for file in PACKAGE.rglob("*.py")}

# imports go to the left only; docs/explanation/design.md tells what each is for
ORDER = [
    "errors",
    "metrics",
    "answers",
    "account",
    "remedies",
    "names",
    "ports",
    "checks",
    "mounts",
    "health",
    "extra",
    "cgroups",
    "identity",
    "network",
    "resources",
    "secrets",
    "certs",
    "spec",
    "complaints",
    "settings",
    "files",
    "privileges",
    "leftovers",
    "transports",
    "credentials",
    "pulls",
    "imports",
    "stores",
    "sockets",
    "direct",
    "systemd",
    "activation",
    "transport",
    "rest",
    "users",
    "images",
    "volumes",
    "logs",
    "commands",
    "client",
    "reach",
    "vault",
    "builder",
    "flags",
    "compat",
    "watch",
    "sources",
    "fitting",
    "server",
    "launching",
    "orphans",
    "threads",
    "readiness",
    "menu",
    "form",
    "failure",
    "options",
    "traits",
    "given",
    "sweep",
    "vigil",
    "spawner",
    "__init__",
    "cli",
]
APART = {"_become"}  # run by path, never imported

ONLY = {
    "podman": {"rest"},
    "requests": {"rest", "transport"},
    "requests_unixsocket": {"transport"},
    "jupyterhub": {"traits", "sweep", "spawner", "cli"},
    "tornado": {"traits", "spawner", "cli"},
    "traitlets": {"traits", "spawner", "cli"},
    "prometheus_client": {"metrics"},
    "subprocess": {"privileges", "direct"},
    "click": {"cli"},
    "asyncio": {"cli", "readiness", "spawner", "sweep", "threads", "vigil", "watch"},
}


def room(source):
    """Return the module that a source belongs to; those of a sub-package are one."""
    return source.split("/")[0]


def imports(source):
    """Yield (package, module) of everything imported, for typing too; "" is this package."""
    for node in ast.walk(ast.parse(SOURCES[source].read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name.split(".")[0], "") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            package, _, module = (node.module or "").partition(".")
            if node.level:
                package, module = "", package
            elif package == podmanspawner.__name__:
                package = ""
            names = [module] if module or package else [name.name for name in node.names]
            yield from ((package, name) for name in names)


def test_every_module_has_its_place():
    assert {*ORDER, *APART} == {room(source) for source in SOURCES}


@pytest.mark.parametrize("source", sorted({*SOURCES} - APART))
def test_imports_go_one_way(source):
    own = {name for package, name in imports(source) if not package}
    if "/" in source:  # within its sub-package
        own -= {file.split("/")[1] for file in SOURCES if file.startswith(room(source) + "/")}
    assert own <= set(ORDER[: ORDER.index(room(source))])


@pytest.mark.parametrize("source", SOURCES)
def test_who_knows_what(source):
    known = {package for package, _ in imports(source)}
    assert known & set(ONLY) <= {name for name, users in ONLY.items() if room(source) in users}


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
    hubs = {"jupyterhub", "tornado", "traitlets", "sqlalchemy", "asyncio", "prometheus_client"}
    assert not hubs & set(loaded)


def test_the_spawner_is_loaded_when_it_is_asked_for():
    assert "jupyterhub" in loaded_by("from podmanspawner import PodmanSpawner")


OPEN_FILES = """
    import os
    import podmanspawner.spawner
    for number in range(3, 100):
        try:
            print(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            pass
"""


def test_importing_opens_nothing():
    """What was open when a process forks, its children would share, and take from each other."""
    program = textwrap.dedent(OPEN_FILES)
    assert not subprocess.check_output([sys.executable, "-c", program], text=True)
