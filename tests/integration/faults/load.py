"""
Clients that keep coming while a fault is injected, and the books that have to balance.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.integration.peers.clients import Connection, Crowd, read
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import (
    DEADLINE,
    children,
    descendants,
    state,
    until,
    wait_until,
)

CLIENTS = 30
"""Who keep coming."""

PAUSE = 0.05
"""Seconds between the visits of one of them: enough of them to fill a third of a core,
little enough that whatever else a test starts gets its turn."""

_SERVED = r"handed over peer="
_OVER = r"(?:child ended|served) peer="
_REFUSED = r"connection refused peer="
_REFUSED_MORE = r"connections refused source=\S+ more=(\d+)"


class Books:
    """
    The connections that were made to one server, and what its log says became of them.

    :ivar made: how many the test has made besides those of crowds.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.made = 0
        self._crowds: list[Crowd] = []

    def connect(self, source: str | None = None) -> Connection:
        """A connection that counts, from a loopback address of one's own if need be."""
        connection = self.server.connect(source)
        self.made += 1
        return connection

    @asynccontextmanager
    async def crowd(self, size: int = CLIENTS, pause: float = PAUSE) -> AsyncIterator[Crowd]:
        """
        Clients come until the end of the block, and each of them gets every byte that it
        was promised.
        """
        from twisted.internet import reactor

        crowd = Crowd(reactor, self.server.address, size, pause)
        self._crowds.append(crowd)
        try:
            await crowd.next_round()
            yield crowd
            await crowd.next_round()
        finally:
            await crowd.leave()
        assert crowd.broken == [], crowd.broken[:3]

    def balance(self) -> dict[str, int]:
        """What the log says until now."""
        find = self.server.find
        return {
            "accepted": self.made + sum(crowd.answered for crowd in self._crowds),
            "handed over": len(find(_SERVED)),
            "over": len(find(_OVER)),
            "refused": len(find(_REFUSED)) + sum(int(n) for (n,) in find(_REFUSED_MORE)),
        }

    def check(self) -> dict[str, int]:
        """Every client has gone: every accepted connection was served or refused."""

        def balanced() -> dict[str, int] | None:
            found = self.balance()
            every = found["accepted"] == found["handed over"] + found["refused"]
            return found if every and found["over"] == found["handed over"] else None

        try:
            return wait_until(balanced, "the books to balance")
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {self.balance()}") from None


def order(connection: socket.socket, fault: str) -> None:
    """Tell the handler what to do wrong."""
    connection.sendall(b"!" + fault.encode())


def read_quietly(connection: socket.socket, size: int = 1 << 20) -> bytes:
    """What comes until the end, be it a good one or a reset."""
    data = b""
    with suppress(ConnectionResetError):
        while len(data) < size and (piece := connection.recv(65536)):
            data += piece
    return data


async def threaded(what: Any, *arguments: Any) -> Any:
    """Do something that blocks, while the crowd keeps coming."""
    from twisted.internet.threads import deferToThread

    return await deferToThread(what, *arguments)


async def gone(pid: int) -> None:
    """A process has ended, and somebody has waited for it."""
    from twisted.internet import reactor

    await until(reactor, lambda: state(pid) == "", f"the end of process {pid}")


def reap_orphans(before: set[int], patience: float = DEADLINE) -> None:
    """Those that lost their parent are ours: they end by themselves."""

    def all_gone() -> bool:
        for pid in children(os.getpid()) - before:
            os.waitpid(pid, os.WNOHANG)
        return not children(os.getpid()) - before

    wait_until(all_gone, f"the end of {children(os.getpid()) - before}", patience)


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    return {pid, *descendants(pid)}


def resident(pid: int) -> int:
    """KiB of memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise LookupError(pid)


@contextmanager
def closing(connections: list[Connection]) -> Iterator[list[Connection]]:
    """Close them all at the end of a block."""
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


__all__ = [
    "CLIENTS",
    "Books",
    "closing",
    "family",
    "gone",
    "order",
    "read",
    "read_quietly",
    "reap_orphans",
    "resident",
    "threaded",
]
