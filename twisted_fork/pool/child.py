"""
A child as the reactor process sees it: one object, one state.

A child is ORDERED from the launcher to be a spare, or BEARING: ordered for a connection that
waits for it.  A child that lives and has nothing to do is IDLE, a spare.  When a connection is
sent to it, it is GIVEN.  The reactor process keeps its own descriptor until the child says that
it has taken the connection: from then on the connection cannot get lost, and the child is
SERVING.  If the connection could not be sent, because the kernel's queues are full, the child is
IDLE again.  A forked child takes the connection that it was ordered for when it comes to life; a
spawned one is sent it then.  A child that is ready again is IDLE, or LEAVING if it is dismissed.
A child that has reached a time limit is OVERDUE: it is being ended, whatever it says.  An idle
child that has closed its channel is BROKEN: it is killed and not counted.  A child that was given
up, because of a fault in the reactor process, is LEAVING too: its connection is closed, and it is
killed.  Only the kernel says that a child has ENDED.

NEXT has all transitions.  Anything that is not in it is a breach of the protocol by the child.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol

if TYPE_CHECKING:
    from twisted_fork.kernel.channels import Channel
    from twisted_fork.kernel.processes import ForkedProcess
    from twisted_fork.kernel.traffic import Traffic
    from twisted_fork.places.connection import Connection

__all__ = ["NEXT", "Breach", "Child", "ChildProtocol", "Event", "State"]


class State(Enum):
    """The state of a child."""

    ORDERED = "ordered"
    BEARING = "bearing"
    IDLE = "idle"
    GIVEN = "given"
    SERVING = "serving"
    OVERDUE = "overdue"
    BROKEN = "broken"
    LEAVING = "leaving"
    ENDED = "ended"

    __hash__ = object.__hash__  # Enum's own is written in Python, and NEXT is looked up often


class Event(Enum):
    """What happens to a child, or what it says."""

    ALIVE = "alive"
    HAND_OVER = "hand over"
    UNSENT = "unsent"
    TAKEN = "taken"
    READY = "ready"
    OVERDUE = "overdue"
    LOST = "lost"
    DISMISSED = "dismissed"
    GIVEN_UP = "given up"
    ENDED = "ended"

    __hash__ = object.__hash__


NEXT: dict[tuple[State, Event], State] = {
    (State.ORDERED, Event.ALIVE): State.IDLE,
    (State.BEARING, Event.ALIVE): State.GIVEN,
    (State.BEARING, Event.TAKEN): State.SERVING,
    (State.IDLE, Event.HAND_OVER): State.GIVEN,
    (State.GIVEN, Event.UNSENT): State.IDLE,
    (State.GIVEN, Event.TAKEN): State.SERVING,
    (State.SERVING, Event.READY): State.IDLE,
    (State.SERVING, Event.OVERDUE): State.OVERDUE,
    (State.IDLE, Event.LOST): State.BROKEN,
    (State.ORDERED, Event.DISMISSED): State.LEAVING,
    (State.IDLE, Event.DISMISSED): State.LEAVING,
    **{(state, Event.GIVEN_UP): State.LEAVING for state in State if state is not State.ENDED},
    **{(state, Event.ENDED): State.ENDED for state in State if state is not State.ENDED},
}


class Breach(Exception):
    """A child said something that is not possible in its state."""


class ChildProtocol(ProcessProtocol):
    """
    The ProcessProtocol of a child: override the methods that you need.

    All methods are called in the reactor process: ``makeConnection`` when the child lives;
    ``processExited`` and ``processEnded`` (ProcessDone or ProcessTerminated) when it has been
    waited for.
    """

    @classmethod
    def listens(cls) -> bool:
        """Whether the service wants messages of handlers: message_received is overridden."""
        return cls.message_received is not ChildProtocol.message_received

    def connection_taken(self, peer: str) -> None:
        """The child has taken the connection from *peer*, as the log shows it, and serves it."""

    def message_received(self, message: bytes) -> None:
        """The handler has sent *message*; do not trust it, the child may be hostile."""


class Limiting(Protocol):
    """
    The time limits of a connection; see deadlines.Deadline.

    :ivar limit: the option of the limit that was reached; None if none was.
    """

    limit: str | None

    def cancel(self) -> object:
        """The connection is over."""


class Child:
    """
    A child, from when it is ordered until it has been waited for.

    :ivar ticket: its number, unique in this service.
    :ivar state: is changed only by Roster.
    :ivar generation: of the children when it was ordered; see Pool.renew.
    :ivar left: connections that it may still be given.
    :ivar since: when it was ordered, given its connection, became idle or was dismissed (seconds
        of the clock).
    :ivar process: its transport; None until it lives.
    :ivar pid: None until it lives.  It is set before *process*, so that Pool.fault can kill it.
    :ivar peer: of its connection, or of its last one; empty before the first.
    :ivar source: of that connection.
    :ivar connection: that it was given or ordered for, until it is over.
    :ivar deadline: of its connection; None if there are no time limits.
    :ivar traffic: of the connection that it serves; None without time limits, or if it is not TCP.
    :ivar amount: bytes received and sent when a time limit was reached; None if none was, or if
        the kernel did not tell.
    :ivar channel: None if it has none, or it is closed.
    """

    __slots__ = (
        "amount",
        "channel",
        "connection",
        "deadline",
        "generation",
        "left",
        "peer",
        "pid",
        "process",
        "protocol",
        "since",
        "source",
        "state",
        "ticket",
        "traffic",
    )

    def __init__(self, ticket: int, protocol: ChildProtocol, since: float, left: int) -> None:
        self.ticket = ticket
        self.protocol = protocol
        self.since = since
        self.left = left
        self.generation = 0
        self.state = State.ORDERED
        self.process: ForkedProcess | None = None
        self.pid: int | None = None
        self.peer = ""
        self.source = ""
        self.connection: Connection | None = None
        self.channel: Channel | None = None
        self.deadline: Limiting | None = None
        self.traffic: Traffic | None = None
        self.amount: tuple[int, int] | None = None

    def lives(self, process: ForkedProcess) -> None:
        """It has a process.  The pid is kept when that has ended."""
        self.process = process
        self.pid = process.pid

    def given(self, connection: Connection) -> None:
        """It is given *connection*."""
        self.connection = connection
        self.peer = connection.peer
        self.source = connection.source

    def over(self) -> None:
        """Its connection is over: cancel the time limits, forget what was counted."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        self.traffic = None
        self.amount = None

    def kill(self) -> None:
        """Send SIGKILL, if it lives."""
        self.signal("KILL")

    def signal(self, name: str) -> None:
        """Send a signal, such as ``TERM``, if it lives."""
        if self.process is not None and not self.process.over:
            try:
                self.process.signalProcess(name)
            except ProcessExitedAlready:
                pass

    def close_channel(self) -> None:
        """Close the channel, which tells the child that nothing more will come."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
