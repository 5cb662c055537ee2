"""
Those who connect to a server whose functions raise, and the test's end of its control socket.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.peers.clients import connect
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import DEADLINE, wait_until

MOST = 20.0
"""Seconds, by a server's clock, after which all is as it was before.  It takes ten until a child
that is one too many goes, and five until one that is stuck is killed."""


class Remote:
    """The test's end of a control socket; what it can do is what injected.Control can."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(2 * DEADLINE)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rb")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: object) -> Any:
            self._socket.sendall(json.dumps([name, *arguments]).encode() + b"\n")
            return json.loads(self._file.readline())

        return ask

    def wait_for(self, expected: dict[str, Any], most: float = 0.0) -> dict[str, Any]:
        """
        The server's state, as soon as that has what is *expected*.

        :param most: the seconds that its clock may be moved to when something is due, which is
            done where nothing else is to come.
        """
        state: dict[str, Any] = self.wait(expected, most, DEADLINE)
        changed = {name: state[name] for name in expected if state[name] != expected[name]}
        assert not changed, f"not as it was: {changed}, not {expected}"
        return state

    def hurry(self, most: float) -> None:
        """Have it end soon, by a clock that is moved by so many seconds at most."""
        with suppress(OSError):  # it has ended already
            self._socket.sendall(json.dumps(["hurry", most]).encode() + b"\n")

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()


@contextmanager
def whatever_comes() -> Iterator[None]:
    """A connection may be closed or reset at any moment; but it is not left open."""
    try:
        yield
    except TimeoutError:
        raise AssertionError("a peer has seen no end of its connection") from None
    except OSError:
        pass


class Peers:
    """Those who connect to one server, and take whatever becomes of it."""

    def __init__(self, server: Server, remote: Remote, way: Way) -> None:
        self.server = server
        self.remote = remote
        self.way = way
        self._strangers = 0

    def connect(self, host: str | None = None) -> socket.socket:
        """A connection, perhaps from a loopback address of one's own."""
        if self.way.unix:
            return connect(str(self.server.folder / "socket"))
        if host is None:
            return self.server.connect()
        return socket.create_connection(self.server.address, DEADLINE, source_address=(host, 0))

    def stranger(self) -> str:
        """A loopback address that nobody has connected from."""
        self._strangers += 1
        return f"127.65.{self._strangers // 250}.{self._strangers % 250 + 1}"

    def ask(self, question: bytes, host: str | None = None) -> bytes:
        """Send, end one's side, and read until the end."""
        with self.connect(host) as connection:
            return self.finish(connection, question)

    def finish(self, connection: socket.socket, question: bytes = b"") -> bytes:
        """Likewise, on a connection that there is."""
        answer = b""
        with whatever_comes():
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def ask_in_secret(self, question: bytes) -> bytes:
        """Likewise over TLS, and leave when everything is answered."""
        assert self.way.tls is not None
        answer = b""
        connect = self.way.tls.wrap_socket
        with (
            whatever_comes(),
            self.connect() as plain,
            connect(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(question)
            while len(answer) < len(self.way.answer) and (piece := connection.recv(65536)):
                answer += piece
        return answer

    def expire(self, connection: socket.socket) -> None:
        """The time of all connections is over, again and again, until this one has ended."""

        def over() -> bool:
            self.remote.expire()
            return bool(select.select([connection], [], [], 0)[0])

        wait_until(over, "the end of a connection whose time is over")

    def wait_until_served(self) -> None:
        """No connection is being served any more, and nobody waits to be."""
        self.remote.wait_for({"busy": 0, "waiting": 0}, most=MOST)


def served(peers: Peers) -> bytes:
    """A connection that is served."""
    ask = peers.ask if peers.way.tls is None else peers.ask_in_secret
    return ask(peers.way.question)


OBEYS = ".faults.handlers:obeys"


@dataclass(frozen=True, kw_only=True)
class Way:
    """
    A server, and what its peers do.

    :ivar options: of the plugin.
    :ivar handler: what serves, or *program* does; see Server.
    :ivar doings: what is recorded, and done again while a call raises.
    :ivar question: what is answered with *answer*.
    :ivar unix: it listens on a Unix socket.
    :ivar tls: what clients check certificates with; None for plain connections.
    """

    options: Sequence[str] = ()
    handler: str = OBEYS
    program: Sequence[str] = ()
    spares: int = 0
    launcher: str = "fork"
    doings: Sequence[Callable[[Peers], object]] = (served,)
    question: bytes = b"question"
    answer: bytes = b"QUESTION"
    unix: bool = False
    tls: ssl.SSLContext | None = None
