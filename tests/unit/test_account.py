"""Whom the Hub serves, and what it reads of an account."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace

import pytest

from fake_service import ME
from podmanspawner import Account, AccountError
from podmanspawner.account import IdRange, subordinate_ids, uid_min

ADA = pwd.struct_passwd(("ada", "x", 1001, 1001, "", "/home/ada", "/bin/sh"))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("root", "is root"),
        ("daemon", "system account"),
        ("nobody", "is nobody"),
        ("no-such-account", "useradd"),
        ("", "useradd"),
        ("0", "useradd"),
        ("1000", "useradd"),
        ("..", "useradd"),
        ("../root", "useradd"),
        ("root\0", "useradd"),
        ("\0", "useradd"),
        ("root\n", "useradd"),
        ("root:x", "useradd"),
        ("ROOT", "useradd"),
        ("\ud800", "useradd"),
        ("a" * 100_000, "useradd"),
    ],
)
def test_refused(name, remedy):
    with pytest.raises(AccountError, match=remedy) as caught:
        Account.lookup(name)
    assert "account_template" in str(caught.value)
    assert caught.value.account == name


def test_a_name_that_resolves_to_another(monkeypatch):
    """As directory services do that ignore case or know aliases."""
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: ADA)
    with pytest.raises(AccountError, match="'Ada' resolves to the account 'ada'"):
        Account.lookup("Ada")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("UID_MIN 500\n", 500),
        ("UID_MIN\t\t\t 2000\nUID_MAX 60000\n", 2000),
        ("# UID_MIN 500\n", 1000),
        ("SYS_UID_MIN 100\n", 1000),
        ("UID_MIN 0x100\n", 256),
        ("", 1000),
    ],
)
def test_uid_min(tmp_path, text, wanted):
    file = tmp_path / "login.defs"
    file.write_text(text)
    assert uid_min(file) == wanted


def test_uid_min_without_a_file(tmp_path):
    assert uid_min(tmp_path / "login.defs") == 1000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ada:100000:65536\n", [IdRange(100000, 65536)]),
        ("1001:100000:65536\n", [IdRange(100000, 65536)]),
        ("ada:1:2\nbob:3:4\n1001:5:6\n", [IdRange(1, 2), IdRange(5, 6)]),
        ("bob:100000:65536\n", []),
        ("adam:100000:65536\n01001:1:2\n", []),
        ("ada:100000:0\n", []),
        ("ada:100000\nada\nada:a:b\nada:-1:5\nada:1:2:3\n\n", []),
        ("", []),
    ],
)
def test_subordinate_ids(tmp_path, text, wanted):
    file = tmp_path / "subuid"
    file.write_text(text)
    assert subordinate_ids(file, ADA) == tuple(wanted)


def test_subordinate_ids_without_a_file(tmp_path):
    assert subordinate_ids(tmp_path / "subuid", ADA) == ()


@pytest.mark.parametrize(
    ("uid", "wanted"),
    [
        (1001, True),
        (1002, False),
        (0, False),
        (99_999, False),
        (100_000, True),
        (165_535, True),
        (165_536, False),
        (300_000, True),
        (300_001, False),
    ],
)
def test_owns(uid, wanted):
    ids = (IdRange(100_000, 65_536), IdRange(300_000, 1))
    assert Account("ada", 1001, 1001, "/home/ada", subuids=ids).owns(uid) is wanted


def test_paths_come_from_the_uid():
    account = Account("../../etc", 1001, 1001, "/home/ada")
    assert str(account.socket_path) == "/run/user/1001/podman/podman.sock"


@pytest.fixture
def runtime_dir(monkeypatch, tmp_path):
    """Return where the account's runtime directory is to be; nothing is there yet."""
    monkeypatch.setattr("podmanspawner.account.RUNTIME_ROOT", tmp_path)
    return ME.runtime_dir


def test_runtime_dir(runtime_dir):
    runtime_dir.mkdir(mode=0o700)
    descriptor = ME.open_runtime_dir()
    try:
        assert os.fstat(descriptor).st_ino == runtime_dir.stat().st_ino
    finally:
        os.close(descriptor)


def test_runtime_dir_that_podman_opened(runtime_dir):
    """It lets others pass through where no id of a container is the account."""
    runtime_dir.mkdir()
    runtime_dir.chmod(0o711)
    os.close(ME.open_runtime_dir())


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o1700, 0o500])
def test_runtime_dir_of_another_mode(runtime_dir, mode):
    runtime_dir.mkdir()
    runtime_dir.chmod(mode)
    with pytest.raises(AccountError, match=f"with mode {mode:04o}.*loginctl enable-linger"):
        ME.open_runtime_dir()
    runtime_dir.chmod(0o700)


def test_runtime_dir_of_another_account(runtime_dir):
    other = replace(ME, uid=ME.uid + 1)
    other.runtime_dir.mkdir(mode=0o700)
    with pytest.raises(AccountError, match=f"belongs to uid {ME.uid}"):
        other.open_runtime_dir()
    assert other.runtime_dir.parent == runtime_dir.parent


@pytest.mark.parametrize("make", ["file", "link"])
def test_runtime_dir_that_is_none(runtime_dir, tmp_path, make):
    if make == "file":
        runtime_dir.write_text("")
    else:
        real = tmp_path / "real"
        real.mkdir(mode=0o700)
        runtime_dir.symlink_to(real)
    with pytest.raises(AccountError, match="is not a directory"):
        ME.open_runtime_dir()


def test_no_runtime_dir(runtime_dir):
    assert not runtime_dir.exists()
    with pytest.raises(FileNotFoundError):
        ME.open_runtime_dir()
