"""
A chat room: an application whose children tell things to its reactor process.

Visitors come to port 8000, each served by a process of its own.  What they say is counted
in the reactor process, over all of them, and can be read from port 8001, which is served
by the reactor itself.

    $ PYTHONPATH=. twistd -ny chatroom.tac

Then: nc localhost 8000, and nc localhost 8001

SIGHUP loads chatroom.py anew, SIGTERM lets visitors finish, and systemd is told.
"""

from __future__ import annotations

from collections import deque

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_fork import ChildProtocol, ForkingService, Settings, take_signals

log = Logger()


class Room:
    """What is known over all children."""

    def __init__(self) -> None:
        self.messages = 0
        self.latest: deque[str] = deque(maxlen=10)


class Visit(ChildProtocol):
    """One child, as the reactor process sees it."""

    peer = ""

    def connection_taken(self, peer: str) -> None:
        self.peer = peer

    def message_received(self, message: bytes) -> None:
        # whatever comes from a child is as trustworthy as its peer
        text = message.decode("utf-8", "backslashreplace")
        room.messages += 1
        room.latest.append(f"{self.peer}: {text}")
        log.info("messages={count}", count=room.messages)

    def processEnded(self, reason: Failure) -> None:
        if self.peer:  # it was no spare
            log.info("left: {peer}", peer=self.peer)


class Board(Protocol):
    """Writes down what was said, and hangs up."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        lines = [
            f"{len(visits.children())} processes, {room.messages} messages",
            *room.latest,
        ]
        self.transport.write("".join(f"{line}\n" for line in lines).encode())
        self.transport.loseConnection()


room = Room()
visits = ForkingService(
    "tcp:8000",
    "chatroom:Visitor",
    Settings(max_children=100, spare_children=2),
    protocol=Visit,
)
board = StreamServerEndpointService(
    serverFromString(reactor, "tcp:8001"), Factory.forProtocol(Board)
)

application = Application("chat room")
visits.setServiceParent(application)
board.setServiceParent(application)
take_signals(visits)
