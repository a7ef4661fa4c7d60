"""A whole life of a server, as the Hub would lead it: ``python life.py NAME``; for the tracer."""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from lone import lone_spawner


async def main(name: str) -> None:
    spawner = lone_spawner(name)
    spawner.server.port = urlsplit(await spawner.start()).port
    assert await spawner.poll() is None
    spawner._let_go()
    assert await spawner.poll() is None
    await spawner.stop()
    assert await spawner.poll() == 0


asyncio.run(main(*sys.argv[1:]))
