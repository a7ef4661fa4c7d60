"""``UserMapping``: who of a container is who on the host; frozen, validated.

ref: podman-run(1), --userns and --uidmap; user_namespaces(7)
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

MappingMode = Literal["root", "keep-id", "auto-userns", "ids"]

_ID_MAX = 2**32 - 2
_KEEP_ID = re.compile(r"keep-id:uid=([0-9]{1,10}),gid=([0-9]{1,10})")
_AUTO = re.compile(r"auto-userns(?::size=([0-9]{1,10}))?")
_RANGE = r"[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}"
_RANGES = rf"{_RANGE}(?:,{_RANGE})*"
_IDS = re.compile(rf"({_RANGES})(?:;({_RANGES}))?")


class MappedIds(NamedTuple):
    """So many ids of the container, and the host's ids that they are."""

    container: int
    """First id in the container."""
    host: int
    """First id of the account's: 0 is the account itself, 1 the first of its subordinate ids."""
    size: int
    """How many."""


@dataclass(frozen=True)
class UserMapping:
    """Who of the container is the account on the host.

    ``root``: the container's root is the account. ``keep-id``: a user of the container is,
    ``uid`` and ``gid`` of it, or the one with the account's own numbers if both are None.
    ``auto-userns``: nobody is; each container gets ids of its own out of the account's
    subordinate ones. ``ids``: as the ranges say.

    Raises:
        SpecError: the numbers do not go together or are out of range.
    """

    mode: MappingMode = "root"
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    """``auto-userns``: how many ids; None for as many as the image needs."""
    uids: Sequence[MappedIds] = ()
    """``ids``: ranges of users."""
    gids: Sequence[MappedIds] = ()
    """``ids``: ranges of groups."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(MappingMode):
            modes = ", ".join(get_args(MappingMode))
            raise SpecError("user_mapping", f"{self.mode!r} is none of {modes}")
        object.__setattr__(self, "uids", tuple(MappedIds(*ids) for ids in self.uids))
        object.__setattr__(self, "gids", tuple(MappedIds(*ids) for ids in self.gids))
        self._check_keep_id()
        if self.size is not None and (self.mode != "auto-userns" or not 1 <= self.size <= _ID_MAX):
            raise SpecError(
                "user_mapping",
                f"the size {self.size} is not to be; give auto-userns:size=N with 1 or more ids",
            )
        ranges = bool(self.uids) and bool(self.gids)
        if ranges != (self.mode == "ids") or bool(self.uids) != bool(self.gids):
            raise SpecError("user_mapping", "ranges of uids and gids belong together, to 'ids'")
        if ranges:
            _check_ranges("uids", self.uids)
            _check_ranges("gids", self.gids)

    def _check_keep_id(self) -> None:
        if (self.uid is None) != (self.gid is None) or (self.mode != "keep-id" and self.uid):
            raise SpecError(
                "user_mapping", "uid and gid belong together, and to keep-id: keep-id:uid=U,gid=G"
            )
        for number in (self.uid, self.gid):
            # Podman 4.3 makes an empty range of a 0 here, and the start fails
            if number is not None and not 1 <= number <= _ID_MAX:
                raise SpecError(
                    "user_mapping",
                    f"the id {number} cannot be kept; use ids from 1 to {_ID_MAX}, or 'root' "
                    "where the container's root shall be the account",
                )

    @classmethod
    def parse(cls, text: str) -> UserMapping:
        """Return the mapping of a text as the option ``user_mapping`` has it, but ``auto``.

        Raises:
            SpecError: the text is none of these.
        """
        if text == "root":
            return cls("root")
        if text == "keep-id":
            return cls("keep-id")
        if match := _KEEP_ID.fullmatch(text):
            return cls("keep-id", int(match[1]), int(match[2]))
        if match := _AUTO.fullmatch(text):
            return cls("auto-userns", size=int(match[1]) if match[1] else None)
        if match := _IDS.fullmatch(text):
            return cls("ids", uids=_ranges(match[1]), gids=_ranges(match[2] or match[1]))
        raise SpecError(
            "user_mapping",
            f"{text!r} is no mapping; use 'auto', 'root', 'keep-id', 'keep-id:uid=1000,gid=100', "
            "'auto-userns', 'auto-userns:size=65536' or ranges of container:host:size such as "
            "'0:1:1000,1000:0:1,1001:1001:64536'",
        )

    def account_inside(self, uid: int) -> int | None:
        """Return who of the container is the account; None if nobody is.

        Args:
            uid: the account's own number, on the host.
        """
        if self.mode == "ids":
            return next((ids.container for ids in self.uids if ids.host == 0), None)
        if self.mode == "keep-id":
            return uid if self.uid is None else self.uid
        return 0 if self.mode == "root" else None

    def check_fits(self, uids: int, gids: int) -> None:
        """Refuse ranges of which the account has not as many subordinate ids.

        Raises:
            SpecError: it has not; the runtime's own word for it would be an end of file.
        """
        for what, ranges, count in (("uids", self.uids, uids), ("gids", self.gids, gids)):
            last = max((ids.host + ids.size - 1 for ids in ranges), default=0)
            if last > count:
                raise SpecError(
                    "user_mapping",
                    f"the {what} go up to the account's subordinate id {last}, of which it has "
                    f"{count}; use less, or give it more in /etc/sub{what[:-1]}",
                )
        if self.size is not None and self.size > min(uids, gids):
            raise SpecError(
                "user_mapping",
                f"auto-userns:size={self.size} is more than the account's {min(uids, gids)} "
                "subordinate ids; use less, or give it more in /etc/subuid and /etc/subgid",
            )

    def to_json(self) -> dict[str, Any]:
        """Return ``userns`` and ``idmappings``."""
        if self.mode == "auto-userns":
            # the mode alone is not enough for the engine
            size = {"AutoUserNsOpts": {"Size": self.size}} if self.size is not None else {}
            return {"userns": {"nsmode": "auto"}, "idmappings": {"AutoUserNs": True, **size}}
        if self.mode == "ids":
            maps = {"UIDMap": _json(self.uids), "GIDMap": _json(self.gids)}
            return {"userns": {"nsmode": "private"}, "idmappings": maps}
        if self.mode == "root":
            # said aloud, else ``userns`` of the account's containers.conf decides
            return {"userns": {"nsmode": "host"}}
        if self.uid is None:
            return {"userns": {"nsmode": "keep-id"}}
        return {"userns": {"nsmode": "keep-id", "value": f"uid={self.uid},gid={self.gid}"}}


def _ranges(text: str) -> list[MappedIds]:
    return [MappedIds(*map(int, part.split(":"))) for part in text.split(",")]


def _json(ranges: Sequence[MappedIds]) -> list[dict[str, int]]:
    return [
        {"container_id": ids.container, "host_id": ids.host, "size": ids.size} for ids in ranges
    ]


def _check_ranges(what: str, ranges: Sequence[MappedIds]) -> None:
    """Refuse what the kernel would; ref: user_namespaces(7)."""
    for ids in ranges:
        if ids.size < 1 or max(ids.container, ids.host) + ids.size - 1 > _ID_MAX:
            raise SpecError(
                "user_mapping",
                f"{':'.join(map(str, ids))} of the {what} is no range; write container:host:size "
                f"with 1 or more ids, none above {_ID_MAX}",
            )
    for side in ("container", "host"):
        ends = sorted((getattr(ids, side), getattr(ids, side) + ids.size) for ids in ranges)
        for (_, end), (start, _) in itertools.pairwise(ends):
            if start < end:
                raise SpecError(
                    "user_mapping", f"two ranges of the {what} have the {side}'s id {start}"
                )
    if not any(ids.container == 0 for ids in ranges):
        raise SpecError(
            "user_mapping",
            f"no range of the {what} has the container's id 0, and no container comes up without "
            "its root; add it, such as 0:1:1000",
        )
