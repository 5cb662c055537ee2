"""Handlers of asyncio, as asyncio.start_server takes them."""

from __future__ import annotations

import asyncio
import json
import os


async def who(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says who it is, and who it thinks the peer is."""
    told = {
        "pid": os.getpid(),
        "peer": writer.get_extra_info("peername"),
        "nothing": writer.get_extra_info("no such thing", "default"),
    }
    writer.write(json.dumps(told).encode())
    await writer.drain()


async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends everything back in upper case."""
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()


async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Writes much, and leaves it to others that it is sent."""
    writer.write(b"x" * 1_000_000)


async def raises(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Fails."""
    await reader.readline()
    raise RuntimeError("the coroutine's own")
