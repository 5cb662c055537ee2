"""
Servers that the interactive client talks to: a thread for one connection, which behaves as the
test wants it to.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from tests.integration.servers.processes import DEADLINE

Behaviour = Callable[[socket.socket, "FakeServer"], None]

StartServer = Callable[..., "FakeServer"]
"""What the fixture fake_server is."""


def uppercase(connection: socket.socket, server: FakeServer) -> None:
    """Answer everything at once.  Blocks while the client does not read."""
    while data := connection.recv(65536):
        server.received += data
        connection.sendall(data.upper())


def uppercase_at_the_end(connection: socket.socket, server: FakeServer) -> None:
    """Answer nothing before the client has closed its side."""
    while data := connection.recv(65536):
        server.received += data
    connection.sendall(server.received.upper())


def one_line_only(connection: socket.socket, server: FakeServer) -> None:
    """Answer one line, read all that follows it, and close."""
    with connection.makefile("rb") as lines:
        connection.sendall(lines.readline().upper())
        lines.read()


def hang_up(connection: socket.socket, server: FakeServer) -> None:
    """Close when the test says so."""
    server.may_close.wait(DEADLINE)


def reset(connection: socket.socket, server: FakeServer) -> None:
    """Break the connection off after the first bytes."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class FakeServer:
    """A thread that serves one connection."""

    def __init__(self, listener: socket.socket, behaviour: Behaviour) -> None:
        self.received = b""
        self.may_close = threading.Event()
        self.closed = threading.Event()
        self._listener = listener
        self._behaviour = behaviour
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> list[str]:
        """HOST and PORT, for the command line."""
        return [str(word) for word in self._listener.getsockname()]

    def _serve(self) -> None:
        # An OSError: the client is gone, or the test is over.
        with contextlib.suppress(OSError), self._listener.accept()[0] as connection:
            self._behaviour(connection, self)
        self.closed.set()

    def everything_received(self) -> bytes:
        """All that the client sent, once the connection is over."""
        assert self.closed.wait(DEADLINE)
        return self.received
