"""The Hub's own search for orphans: when, in which accounts, and what its servers own."""

from __future__ import annotations

import asyncio
import logging
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from jupyterhub import orm

from . import metrics, server
from .answers import one_line
from .errors import PodmanError, PodmanSpawnerError
from .given import Given
from .names import ServerName, of_hub
from .orphans import accounts_running, find_orphans, remove_orphan
from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .client import UserPodman
    from .orphans import Orphan

log = logging.getLogger(__name__)

ACCOUNTS_AT_ONCE = 2
"""In which is searched when the Hub starts, so that users who come then do not wait."""
_TURN_SECONDS = 60.0
"""Then the next account's search begins, too: who does not answer holds up no other's."""
_NAME_CHARACTERS = 200
_LOOK_SECONDS = 0.2


class Sweep(Given):
    """What a spawner does about containers that no server of its Hub owns."""

    # what the Hub's own class has, and the spawner
    container_id: str
    hub: Any
    log: Any

    _alive: ClassVar[weakref.WeakSet[Sweep]] = weakref.WeakSet()
    _searched: ClassVar[set[str]] = set()
    """Accounts in which this process has searched."""
    _removing: ClassVar[weakref.WeakValueDictionary[str, asyncio.Lock]] = (
        weakref.WeakValueDictionary()
    )
    """By account: held from the question whether a server owns it to the end of the removal."""
    _searches: ClassVar[set[asyncio.Future[None]]] = set()

    def __init__(self, **options: Any) -> None:
        """Be known to those who look for owners."""
        super().__init__(**options)
        self._alive.add(self)

    @classmethod
    def sweep_at_startup(cls, hub_app: Any) -> None:
        """Search, in the background and once the Hub is up, where containers run.

        And where servers should, by the database as it is before the Hub looks at them: of one
        whose start a crash broke off there may be a container that never ran.
        """
        rows = hub_app.db.query(orm.Spawner).filter(orm.Spawner.server != None)  # noqa: E711
        expected = [(row.user.name, row.name) for row in rows]
        cls._later(cls._sweep(hub_app, expected))

    @classmethod
    def _later(cls, search: Any) -> None:
        task = asyncio.ensure_future(search)
        cls._searches.add(task)
        task.add_done_callback(cls._finished)

    @classmethod
    def _finished(cls, task: asyncio.Future[None]) -> None:
        cls._searches.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("The search for orphans ended with an error", exc_info=error)

    @classmethod
    async def _sweep(cls, hub_app: Any, expected: list[tuple[str, str]]) -> None:
        while not _is_up(hub_app):  # noqa: ASYNC110, the Hub has no event for it
            await asyncio.sleep(_LOOK_SECONDS)
        # what a process is called must let nobody linger; whose servers run, they linger already
        options = cls(config=hub_app.config, hub=hub_app.hub, enable_linger=False)
        lost: dict[str, set[ServerName]] = {}
        for username, servername in expected:
            name = ServerName(options.hub_id, username, servername)
            lost.setdefault(options._account_of(username), set()).add(name)
        usernames = [name for (name,) in hub_app.db.query(orm.User.name)]
        accounts = await in_thread("", partial(options._accounts, usernames)) | lost.keys()
        turns = asyncio.Semaphore(ACCOUNTS_AT_ONCE)

        async def search(account: str) -> None:
            work = options._search(hub_app.users, account, lost.get(account, ()))
            async with turns:
                searching = asyncio.ensure_future(work)
                await asyncio.wait([searching], timeout=_TURN_SECONDS)
            await searching

        await asyncio.gather(*map(search, sorted(accounts)))

    def _accounts(self, usernames: Iterable[str]) -> set[str]:
        """Return where containers run: of users, or by names that could be this Hub's."""
        known = set(map(self._account_of, usernames))
        ours = of_hub(self.hub_id, self.prefix, self.name_template)
        return accounts_running(lambda account, name: account in known or bool(ours.match(name)))

    def _search_once(self) -> None:
        """Search in the account of a server that has been started, if nobody has."""
        users, account = self.user.settings.get("users"), self._account_name
        if users is not None and account not in self._searched:
            self._later(self._search(users, account))

    async def _search(self, users: Any, account: str, lost: Iterable[ServerName] = ()) -> None:
        """End what no server owns in an account; forget the secrets of servers that are lost."""
        self._searched.add(account)
        find = partial(find_orphans, hub_id=self.hub_id, owned=lambda _server: False)
        try:
            found = await self._with_podman(find, account)
            async with self._turn(account):
                orphans = [each for each in found if not self._owns(users, each)]
                idle = [name for name in lost if not _active(users, name)]
                if orphans or idle:
                    await self._with_podman(
                        partial(self._end, orphans=orphans, idle=idle), account
                    )
        except PodmanSpawnerError as error:
            self.log.warning("Cannot look for orphans in the account %s: %s", account, error)

    def _end(self, podman: UserPodman, *, orphans: list[Orphan], idle: list[ServerName]) -> None:
        for orphan in orphans:
            whose = (orphan.server.servername, orphan.server.username)
            self.log.warning(
                "%s: the container %s of the server %r of %s belongs to no server that runs%s",
                *(podman.account.name, orphan.container.name),
                *(one_line(name, _NAME_CHARACTERS) for name in whose),
                "; it is ended" if self.remove_orphans else "",
            )
            result = "left"
            try:
                if self.remove_orphans:
                    remove_orphan(podman, orphan, seconds=self._grace_period)
                    result = "stopped" if orphan.kept else "removed"
            except PodmanError as error:
                self.log.warning("%s: it cannot be ended: %s", podman.account.name, error)
                result = "failed"
            metrics.ORPHANS.add(result=result)
        for name in idle:
            server.forget_secrets(podman, name)

    def _owns(self, users: Any, orphan: Orphan) -> bool:
        """Whether a server of the Hub's owns it; also by its id, since users can be renamed."""
        held = {spawner.container_id for spawner in self._alive}
        return orphan.container.id in held or _active(users, orphan.server)

    async def _undisturbed(self) -> None:
        """Wait until no orphan of the account is being removed: it might be what a start takes up.

        From when its start is pending, a server is seen to own its container.
        """
        async with self._turn(self._account_name):
            return

    @classmethod
    def _turn(cls, account: str) -> asyncio.Lock:
        return cls._removing.setdefault(account, asyncio.Lock())


def _active(users: Any, name: ServerName) -> bool:
    """Whether the Hub starts, runs, checks or stops a server, by its database and its memory."""
    user = orm.User.find(users.db, name.username)
    if user is None:
        return False
    row = user.orm_spawners.get(name.servername)
    if row is not None and row.server is not None:
        return True
    # what the Hub does not have in memory yet it would make, if asked in another way
    spawner = users[user].spawners.get(name.servername) if user in users else None
    return spawner is not None and bool(spawner.active)


def _is_up(hub_app: Any) -> bool:
    """Whether the Hub listens and has looked at all servers that it found in its database."""
    if not getattr(hub_app, "http_server", None):
        return False
    spawners = (each for user in hub_app.users.values() for each in user.spawners.values())
    return not any(spawner.pending == "check" for spawner in spawners)
