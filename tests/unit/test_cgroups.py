"""Which limits can be enforced, on hosts of several kinds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podmanspawner.account import Account
from podmanspawner.cgroups import CONTROLLERS, obstacles
from podmanspawner.errors import SpecError
from podmanspawner.fitting import enforceable
from podmanspawner.names import ServerName
from podmanspawner.settings import ServerSettings
from specs import ACCOUNT

SLICE = "user.slice/user-1001.slice/user@1001.service"


def host(root, **controllers):
    """Make a tree of cgroups v2: folder, with slashes as ``__``, to its controllers."""
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    for folder, names in controllers.items():
        path = root / folder.replace("__", "/")
        path.mkdir(parents=True)
        (path / "cgroup.controllers").write_text(f"{names}\n")


def test_cgroups_v1(tmp_path):
    (tmp_path / "unified").mkdir()
    found = obstacles(ACCOUNT, root=tmp_path)
    assert set(found) == set(CONTROLLERS)
    assert all("unified_cgroup_hierarchy" in reason for reason in found.values())


@pytest.mark.parametrize(
    ("delegated", "lost"),
    [
        ("cpuset cpu io memory pids", set()),
        ("memory pids", {"cpu_limit", "cpu_guarantee"}),
        ("pids", set(CONTROLLERS) - {"pids_limit"}),
        ("", set(CONTROLLERS)),
    ],
)
def test_what_systemd_delegates(tmp_path, delegated, lost):
    host(tmp_path, **{SLICE: delegated})
    found = obstacles(ACCOUNT, root=tmp_path, own="/system.slice/hub.service")
    assert set(found) == lost
    assert all("Delegate=cpu memory pids" in reason for reason in found.values())


@pytest.mark.parametrize("own", ["/system.slice/hub.service", "/gone", "/", ""])
def test_no_user_manager(tmp_path, own):
    host(tmp_path, **{"system.slice__hub.service": "cpu memory pids"})
    found = obstacles(replace(ACCOUNT, uid=tmp_path.stat().st_uid + 1), root=tmp_path, own=own)
    assert set(found) == set(CONTROLLERS)
    assert all("loginctl enable-linger ada" in reason for reason in found.values())


def test_a_hub_in_a_cgroup_of_the_accounts_own(tmp_path):
    host(tmp_path, own="memory")
    account = Account(name="ada", uid=tmp_path.stat().st_uid, gid=1, home="/home/ada")
    found = obstacles(account, root=tmp_path, own="/own")
    assert set(found) == set(CONTROLLERS) - {"mem_limit", "memswap_limit", "mem_guarantee"}


SETTINGS = ServerSettings(image="a", server=ServerName("h", "ada"))


@pytest.mark.parametrize(
    "limit",
    [
        {"mem_limit": 1 << 30},
        {"mem_guarantee": 1 << 30},
        {"memswap_limit": 1 << 30},
        {"cpu_limit": 0.5},
        {"cpu_guarantee": 0.5},
        {"pids_limit": 100},
    ],
    ids=lambda limit: next(iter(limit)),
)
def test_a_limit_that_is_not_enforced(limit, caplog):
    settings = replace(SETTINGS, **limit)
    (option,) = limit
    with pytest.raises(SpecError, match=r"cannot be enforced: because\. .*'warn'") as caught:
        enforceable(settings, ACCOUNT, {option: "because"})
    assert caught.value.option == option
    warned = replace(settings, unenforced_limits="warn")
    assert enforceable(warned, ACCOUNT, {option: "because"}) == replace(warned, **{option: None})
    assert f"ada: {option}: {limit[option]} cannot be enforced: because" in caplog.text
    assert enforceable(settings, ACCOUNT, {}) == settings


def test_a_limit_of_extra_spec_that_is_not_enforced(caplog):
    limits = {"cpu": {"shares": 512}, "blockIO": {"weight": 100}}
    settings = replace(SETTINGS, extra_spec={"timezone": "UTC", "resource_limits": limits})
    with pytest.raises(SpecError, match="cpu of resource_limits.*enforced: because") as caught:
        enforceable(settings, ACCOUNT, {"cpu_limit": "because"})
    assert caught.value.option == "extra_spec"
    warned = replace(settings, unenforced_limits="warn")
    left = {"timezone": "UTC", "resource_limits": {"blockIO": {"weight": 100}}}
    made = enforceable(warned, ACCOUNT, {"cpu_limit": "because"})
    assert made == replace(warned, extra_spec=left)
    assert "extra_spec: cpu of resource_limits, {'shares': 512}, cannot be" in caplog.text
    assert enforceable(settings, ACCOUNT, {"mem_limit": "because"}) == settings


def test_what_asks_for_no_controller():
    """-1 is no limit; neither shared memory nor limits of a process rest on cgroups."""
    settings = replace(SETTINGS, shm_size=1 << 24, ulimits={"core": 0})
    nowhere = dict.fromkeys(CONTROLLERS, "because")
    assert enforceable(settings, ACCOUNT, nowhere) is settings
    unlimited = replace(settings, pids_limit=-1)
    assert enforceable(unlimited, ACCOUNT, {}) == unlimited
    assert enforceable(unlimited, ACCOUNT, nowhere) == settings
