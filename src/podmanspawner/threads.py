"""Blocking work off the event loop: a few threads for each account, none that linger.

What loads the processors, such as a start, also takes turns with that of all other accounts.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

THREADS_PER_ACCOUNT = 4
"""So that an account whose service hangs holds up itself and nobody else."""

HEAVY_PER_PROCESSOR = 2
"""More at once are all ready late, and the Hub itself waits for a processor meanwhile."""
HEAVY_SECONDS = 0.5
"""What takes longer, or hangs, keeps others waiting for so long only."""

_turns: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()


def turns_of(account: str) -> asyncio.Semaphore:
    """Return the semaphore of an account; it lives as long as somebody holds it."""
    return _turns.setdefault(account, asyncio.Semaphore(THREADS_PER_ACCOUNT))


_heavy: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
    weakref.WeakKeyDictionary()
)


async def _heavy_turn(done: asyncio.Future[Any]) -> None:
    """Wait until few enough heavy ones are at work; then be one until done, or for a while."""
    loop = asyncio.get_running_loop()
    if loop not in _heavy:
        _heavy[loop] = asyncio.Semaphore(HEAVY_PER_PROCESSOR * len(os.sched_getaffinity(0)))
    turn = ExitStack()
    await _heavy[loop].acquire()
    turn.callback(_heavy[loop].release)
    loop.call_later(HEAVY_SECONDS, turn.close)
    done.add_done_callback(lambda _: turn.close())


async def in_thread(
    account: str,
    work: Callable[[], T],
    *,
    cancel: Callable[[], None] | None = None,
    heavy: bool = False,
) -> T:
    """Run blocking work in a thread of its own, in the account's turn, and return its result.

    Whoever is cancelled while waiting calls ``cancel`` and still waits for the thread's end,
    which is bounded by the deadlines of its calls: only then is it known what there is to undo.

    Args:
        account: whose turn it is.
        work: what is to be run.
        cancel: called in the event loop.
        heavy: whether it loads the processors, so that it also takes turns with the heavy work
            of all accounts.
    """
    turns = turns_of(account)
    async with turns:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if heavy:
            await _heavy_turn(done)

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
