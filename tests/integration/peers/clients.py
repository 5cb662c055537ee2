"""
Clients: blocking ones, simple to read, and those of Twisted where many come at once.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.integration.servers.processes import DEADLINE, until

Address = tuple[str, int] | str
"""A host and a port, or the path of a Unix socket."""


class Connection(socket.socket):
    """
    A client's end.

    :ivar mark: where the server's log ended before the connection was made; None if nobody
        has looked.
    :ivar name: as the server's log has it, for a TCP connection.
    """

    mark: int | None = None
    name = ""


def connect(address: Address, source: str | None = None) -> Connection:
    """
    A blocking connection that does not wait for ever.

    :param source: the address that it comes from.
    """
    if isinstance(address, str):
        connection = Connection(socket.AF_UNIX)
    else:
        connection = Connection(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        connection.settimeout(DEADLINE)
        if source is not None:
            connection.bind((source, 0))
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    if not isinstance(address, str):
        connection.name = name_of(connection)
    return connection


def name_of(connection: socket.socket) -> str:
    """Its end as the server's log has it, for a TCP connection; one of ours may be closed."""
    if name := getattr(connection, "name", ""):
        return str(name)
    host, port = connection.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def inode_of_servers_end(connection: socket.socket) -> str:
    """``socket:[...]`` of the other end of a client's connection."""
    return f"socket:[{_servers_end(connection)[9]}]"


def unread(connection: socket.socket) -> int:
    """Bytes that have arrived at the other end of a client's connection, and that nobody has
    read."""
    return int(_servers_end(connection)[4].partition(":")[2], 16)


def _servers_end(connection: socket.socket) -> list[str]:
    """A line of /proc/net/tcp, see proc_pid_net(5)."""
    ours = f":{connection.getsockname()[1]:04X}"
    theirs = f":{connection.getpeername()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(theirs) and fields[2].endswith(ours):
            return fields
    raise LookupError(connection)


def read(connection: socket.socket, size: int) -> bytes:
    """*size* bytes, or fewer if it ends."""
    data = bytearray()
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return bytes(data)


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the server ends its side."""
    data = bytearray()
    while piece := connection.recv(256 * 1024):
        data += piece
    return bytes(data)


def ask(address: Address, question: bytes) -> bytes:
    """Connect, send, end one's side, and read everything."""
    with connect(address) as connection:
        connection.sendall(question)
        connection.shutdown(socket.SHUT_WR)
        return read_to_end(connection)


def talk(connection: socket.socket, text: bytes = b"hello") -> None:
    """See that somebody serves *connection*, and leave it open."""
    connection.sendall(text)
    assert read(connection, len(text)) == text.upper()


def reset(connection: socket.socket) -> None:
    """Break the connection off: the server gets a reset, not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Caller(Protocol):
    """
    Sends something and collects what comes back.

    :ivar answered: fires as soon as as much has come back as was sent.
    :ivar ended: fires with all that has come when the connection has ended well, and
        fails when it has been broken.
    """

    def __init__(self, question: bytes, leave: bool) -> None:
        self.answer = b""
        self.answered: Deferred[None] = Deferred()
        self.ended: Deferred[bytes] = Deferred()
        self._question = question
        self._leave = leave

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._question)
        if self._leave:
            self.transport.loseWriteConnection()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        self.answer += data
        if len(self.answer) >= len(self._question) and not self.answered.called:
            self.answered.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ConnectionDone):
            self.ended.callback(self.answer)
        else:
            self.ended.errback(reason)

    def hang_up(self) -> None:
        """End the connection."""
        assert self.transport is not None
        self.transport.loseConnection()


async def call(
    reactor: Any, address: tuple[str, int], question: bytes, leave: bool = False
) -> Caller:
    """Connect and send; with *leave*, end one's side then."""
    endpoint = TCP4ClientEndpoint(reactor, *address, timeout=DEADLINE)
    caller: Caller = await connectProtocol(endpoint, Caller(question, leave))
    return caller


class Crowd:
    """
    Clients that come again and again, each *pause* seconds after it has been answered.

    :ivar answered: connections that were answered in full and ended well.
    :ivar broken: what became of the others.
    """

    def __init__(
        self, reactor: Any, address: tuple[str, int], size: int, pause: float = 0.0
    ) -> None:
        self.answered = 0
        self.broken: list[str] = []
        self._reactor = reactor
        self._address = address
        self._pause = pause
        self._going = True
        self._comers = [Deferred.fromCoroutine(self._come(number)) for number in range(size)]
        self._gone = gatherResults(self._comers, consumeErrors=True)

    async def _come(self, number: int) -> None:
        calls = 0
        while self._going:
            calls += 1
            question = b"client %d, call %d\n" % (number, calls)
            try:
                caller = await call(self._reactor, self._address, question, leave=True)
                caller.ended.addTimeout(DEADLINE, self._reactor)
                answer = await caller.ended
            except Exception as failure:
                self.broken.append(f"{question!r}: {failure!r}")
            else:
                if answer == question.upper():
                    self.answered += 1
                else:
                    self.broken.append(f"{question!r}: answered with {answer!r}")
            if self._pause:
                await deferLater(self._reactor, self._pause)

    async def next_round(self) -> None:
        """As many were answered once more as there are clients, or somebody was not."""
        due = self.answered + len(self._comers)
        enough = f"{due} answers, not {self.answered}"
        await until(self._reactor, lambda: self.answered >= due or self.broken, enough)

    async def leave(self) -> None:
        """Come no more; returns when the last one is gone."""
        self._going = False
        await self._gone
