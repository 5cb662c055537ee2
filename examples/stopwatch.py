"""
A stopwatch: the handler is a coroutine function, run by asyncio.

It ticks and listens at the same time, which is what asyncio is good for.  Each connection
has a process and an event loop of its own: a handler that blocks delays nobody else.

    $ twistd -n forkserve --handler stopwatch:run --listen tcp:8000

Then: nc localhost 8000, and press Enter to stop.
"""

from __future__ import annotations

import asyncio
import time

TICK = 0.5


async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tick until the peer sends a line."""
    began = time.monotonic()
    stopped = asyncio.ensure_future(reader.readline())
    while not stopped.done():
        writer.write(b"%.1f\n" % (time.monotonic() - began))
        await writer.drain()
        await asyncio.wait([stopped], timeout=TICK)
    writer.write(b"stopped after %.1f seconds\n" % (time.monotonic() - began))
    await writer.drain()
