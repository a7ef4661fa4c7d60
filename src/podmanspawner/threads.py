"""Blocking work off the event loop: a few threads for each account, none that linger."""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

THREADS_PER_ACCOUNT = 4
"""So that an account whose service hangs holds up itself and nobody else."""

_turns: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()


def turns_of(account: str) -> asyncio.Semaphore:
    """Return the semaphore of an account; it lives as long as somebody holds it."""
    return _turns.setdefault(account, asyncio.Semaphore(THREADS_PER_ACCOUNT))


async def in_thread(
    account: str, work: Callable[[], T], *, cancel: Callable[[], None] | None = None
) -> T:
    """Run blocking work in a thread of its own, in the account's turn, and return its result.

    Whoever is cancelled while waiting calls ``cancel`` and still waits for the thread's end,
    which is bounded by the deadlines of its calls: only then is it known what there is to undo.
    """
    turns = turns_of(account)
    async with turns:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001, handed to whoever waits
                _tell(loop, partial(done.set_exception, error))
            else:
                _tell(loop, partial(done.set_result, result))

        threading.Thread(target=run, name=f"podmanspawner-{account}", daemon=True).start()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if cancel:
                cancel()
            await asyncio.wait([done])
            done.exception()  # it has been looked at
            raise


def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
