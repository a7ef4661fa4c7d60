"""The Unix account behind a Hub user, and whom to refuse.

An account is looked up by its exact name once, and from then on only its uid counts: paths are
built from the uid, peers are compared with the uid, processes become the uid.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import AccountError

NOBODY = 65534
LOGIN_DEFS = Path("/etc/login.defs")
RUNTIME_ROOT = Path("/run/user")


@dataclass(frozen=True)
class IdRange:
    """``count`` subordinate ids from ``start`` on."""

    start: int
    count: int

    def __contains__(self, number: int) -> bool:
        return self.start <= number < self.start + self.count


@dataclass(frozen=True)
class Account:
    """One Unix account that may run containers."""

    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...] = ()
    """Supplementary groups, as a login would give them."""
    subuids: tuple[IdRange, ...] = ()
    subgids: tuple[IdRange, ...] = ()

    @classmethod
    def lookup(cls, name: str, *, demand_ids: bool = True) -> Account:
        """Return the account of exactly that name.

        Args:
            name: as the host has it.
            demand_ids: False lets an account pass that has no subordinate ids.

        Raises:
            AccountError: there is none, or it is root, a system account or nobody, or it has no
                subordinate ids.
        """
        entry = _passwd_entry(name)
        _refuse_system(entry)
        account = cls(
            name=entry.pw_name,
            uid=entry.pw_uid,
            gid=entry.pw_gid,
            home=entry.pw_dir,
            groups=tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)),
            subuids=subordinate_ids(Path("/etc/subuid"), entry),
            subgids=subordinate_ids(Path("/etc/subgid"), entry),
        )
        if demand_ids:
            account.demand_subordinate_ids()
        return account

    @property
    def runtime_dir(self) -> Path:
        """``$XDG_RUNTIME_DIR`` of the account, built from the uid."""
        return RUNTIME_ROOT / str(self.uid)

    @property
    def socket_path(self) -> Path:
        """Where the account's Podman listens.

        ref: podman-system-service(1), the rootless default.
        """
        return self.runtime_dir / "podman" / "podman.sock"

    def owns(self, uid: int) -> bool:
        """Whether a host uid is the account's own or one of its subordinate ids."""
        return uid == self.uid or any(uid in ids for ids in self.subuids)

    def open_runtime_dir(self) -> int:
        """Return an O_PATH descriptor of the runtime directory, proved to be the account's.

        Raises:
            FileNotFoundError: it does not exist.
            AccountError: it is not a directory that only the account may read and write.
        """
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        try:
            descriptor = os.open(self.runtime_dir, flags)
        except NotADirectoryError:  # a file, or a symlink met with O_NOFOLLOW
            raise self._bad_runtime_dir("is not a directory") from None
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        # Podman lets others pass through where no id of a container is the account:
        # ref: libpod/oci_conmon_common.go, makeAccessible
        if (found.st_uid, mode & ~0o011) != (self.uid, 0o700):
            os.close(descriptor)
            raise self._bad_runtime_dir(f"belongs to uid {found.st_uid} with mode {mode:04o}")
        return descriptor

    def _bad_runtime_dir(self, what: str) -> AccountError:
        return AccountError(
            self.name,
            f"The runtime directory {self.runtime_dir} of {self.name} {what}; it must be the "
            f"account's own with mode 0700. Remove it as root, then run "
            f"'loginctl enable-linger {self.name}' (with systemd), or let the Hub make it again "
            "at the next start (without).",
        )

    def demand_subordinate_ids(self) -> None:
        """Refuse an account that has no subordinate ids.

        Raises:
            AccountError: it has none.
        """
        for file, ranges in (("/etc/subuid", self.subuids), ("/etc/subgid", self.subgids)):
            if not ranges:
                raise AccountError(
                    self.name,
                    f"The account {self.name} has no subordinate ids in {file}, so that rootless "
                    f"Podman can map only one user. Give it some, as root: 'usermod "
                    f"--add-subuids FIRST-LAST --add-subgids FIRST-LAST {self.name}' with 65536 "
                    "ids that no other line of the file has, then 'podman system migrate' as "
                    f"{self.name}.",
                )


def _passwd_entry(name: str) -> pwd.struct_passwd:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        raise AccountError(
            name,
            f"There is no Unix account {name!r} on this host. Create it ('useradd -m'), or map "
            "the Hub's users to accounts with account_template.",
        ) from None
    if entry.pw_name != name:
        raise AccountError(
            name,
            f"The name {name!r} resolves to the account {entry.pw_name!r}. Use the account's "
            "own name: let the authenticator normalise names, or set account_template.",
        )
    return entry


def _refuse_system(entry: pwd.struct_passwd) -> None:
    lowest = uid_min()
    if entry.pw_uid == 0:
        why = "is root"
    elif entry.pw_uid < lowest:
        why = f"is a system account (uid {entry.pw_uid} is below UID_MIN {lowest})"
    elif entry.pw_uid == NOBODY:
        why = "is nobody"
    else:
        return
    raise AccountError(
        entry.pw_name,
        f"The account {entry.pw_name} {why}; notebook servers run only for people's accounts. "
        "Choose another account with account_template, or take this user off the Hub.",
    )


def uid_min(login_defs: Path = LOGIN_DEFS) -> int:
    """Return UID_MIN of login.defs, the lowest uid of a person (1000 where it is not set)."""
    try:
        lines = login_defs.read_text().splitlines()
    except FileNotFoundError:
        return 1000
    for line in lines:
        words = line.split()
        if len(words) == 2 and words[0] == "UID_MIN":  # noqa: PLR2004, a name and a value
            return int(words[1], base=0)
    return 1000


def subordinate_ids(file: Path, entry: pwd.struct_passwd) -> tuple[IdRange, ...]:
    """Return the ranges that ``/etc/subuid`` or ``/etc/subgid`` gives to an account.

    ref: subuid(5): lines of ``name-or-uid:start:count``.
    """
    try:
        text = f"\n{file.read_text()}\n"
    except FileNotFoundError:
        return ()
    # the search for a plain beginning is quick in files of many thousand accounts
    found = [
        line
        for owner in (entry.pw_name, str(entry.pw_uid))
        for line in re.finditer(rf"\n{re.escape(owner)}:(\d+):(\d+)(?=\n)", text, re.ASCII)
    ]
    ranges = (IdRange(int(line[1]), int(line[2])) for line in sorted(found, key=re.Match.start))
    return tuple(one for one in ranges if one.count > 0)


def make_runtime_dir(account: Account) -> None:
    """Make ``/run/user/UID`` on a host where no logind does it. Needs root.

    Its parent belongs to root, so that no user can be in the way.

    Raises:
        AccountError: logind runs here and must make it, or the Hub is not root.
    """
    if Path("/run/systemd/system").is_dir():  # ref: sd_booted(3)
        raise AccountError(
            account.name,
            f"{account.name} has no runtime directory {account.runtime_dir}, because it has no "
            f"session and no linger. Run 'loginctl enable-linger {account.name}' as root, or set "
            "activation to 'auto' or 'systemd'.",
        )
    if os.geteuid() != 0:
        raise AccountError(
            account.name,
            f"There is no runtime directory {account.runtime_dir}. As root: 'install -d -m 700 "
            f"-o {account.uid} -g {account.gid} {account.runtime_dir}'.",
        )
    RUNTIME_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
    # a name of its own: another thread may be at it, and one that died may have left its
    staging = Path(tempfile.mkdtemp(prefix=f".{account.uid}.", dir=RUNTIME_ROOT))
    os.chown(staging, account.uid, account.gid)
    try:
        staging.rename(account.runtime_dir)
    except OSError:  # somebody else made it meanwhile; whoever opens it checks it
        staging.rmdir()
