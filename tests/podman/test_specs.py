"""Each golden case, posted to the real engine."""

from __future__ import annotations

import shutil

import pytest

from accounts import TINY_JOVYAN
from podmanspawner import UserPodman
from specs import SECRET, cases, mismatches

NAMES = list(cases())


@pytest.fixture(scope="module")
def podman(ada):
    ada.load(TINY_JOVYAN)
    with UserPodman.for_user(ada.name) as podman:
        podman.secrets.create(SECRET, "a secret")
        yield podman
        podman.secrets.remove(SECRET)


@pytest.fixture(scope="module")
def real_cases(ada):
    data = f"{ada.account.home}/data"
    ada.run("mkdir", "-p", data)
    return cases(TINY_JOVYAN, ada.account, data)


def missing_capability(needs, podman, ada):
    """Return what this machine lacks for a case, or nothing."""
    if needs == "pasta":
        version = ".".join(map(str, podman.engine_version))
        if podman.engine_version < (4, 4):
            return f"Podman {version} knows no pasta, which came with 4.4"
        return "" if shutil.which("pasta") else "pasta is not installed"
    if needs == "limits":
        text = "{{.Host.CgroupsVersion}} {{.Host.CgroupControllers}}"
        asked = ada.run("podman", "info", "--format", text, check=False)
        found = asked.stdout.strip() or asked.stderr.strip().rpartition("\n")[2]
        delegated = found.startswith("v2") and "memory" in found and "cpu" in found
        return "" if delegated else f"no memory and cpu controllers for accounts ({found})"
    assert not needs
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_makes_of_it_what_was_meant(podman, ada, real_cases, name):
    case = real_cases[name]
    if lack := missing_capability(case.needs, podman, ada):
        pytest.skip(lack)
    container = podman.create(case.spec)
    try:
        shown = podman.request_json("inspect", "GET", f"containers/{container}/json")
        assert mismatches(shown, case.expect) == []
        assert podman.inspect(container).labels.items() >= dict(case.spec.labels).items()
    finally:
        podman.remove(container)


def test_mismatches_are_seen():
    """The comparison that the test above rests on can fail."""
    found = {"a": {"b": [1]}}
    assert mismatches(found, {("a", "b", 0): 1}) == []
    assert len(mismatches(found, {("a", "b", 0): 2, ("a", "c"): 1, ("a", "b", 1): 1})) == 3
