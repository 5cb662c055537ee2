"""
A child as the reactor process sees it: one object, one state.

Theory of operation.  A child is ORDERED from the launcher to be a spare, or BEARING,
ordered for a connection that waits for it.  When it lives and has nothing to do it is
IDLE: a spare.  A connection that is sent to it makes it GIVEN, and the reactor process
keeps its own descriptor of the connection until the child says that it has taken it;
only then can the connection not be lost any more, and the child is SERVING.  Where it could
not be sent, the kernel being full, the child is IDLE as before.  A forked
child takes the connection that it was ordered for in the same moment that it comes to
life; a spawned one is sent it then.  A child that is ready again is IDLE, or, told that
no more will come, LEAVING.  One whose time is over is OVERDUE, and is being ended whatever it
says; one that was idle and has closed its channel is BROKEN: it is killed, and nobody counts on
it.  LEAVING is also one that was given up because something went wrong here:
whatever it had, it has lost, and it is killed.  The kernel, and nobody else, says that it
has ENDED.

NEXT is all of it.  Whatever is not in the table is a breach by the child.
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
    """Where a child is in its life."""

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
    """A child said what it cannot have meant in its state."""


class ChildProtocol(ProcessProtocol):
    """
    The ProcessProtocol of a child: override what you want to know.

    Everything is called in the reactor process.  ``makeConnection`` comes when the
    child lives, ``processEnded`` (ProcessDone or ProcessTerminated) when it has been
    waited for.
    """

    @classmethod
    def listens(cls) -> bool:
        """Whether messages of handlers matter: message_received is overridden."""
        return cls.message_received is not ChildProtocol.message_received

    def connection_taken(self, peer: str) -> None:
        """The child has taken the connection from *peer* and serves it."""

    def message_received(self, message: bytes) -> None:
        """The handler has sent *message*; it came from the child, who may be hostile."""


class Limiting(Protocol):
    """
    The time limits of a connection; see deadlines.Deadline.

    :ivar limit: the one that has been reached; None if none has.
    """

    limit: str | None

    def cancel(self) -> object:
        """The connection is over."""


class Child:
    """
    A child, from when it is ordered until it has been waited for.

    :ivar ticket: which child, among all that this service ever orders.
    :ivar state: changes only through Pool.
    :ivar generation: how often the handler had been loaded anew when it was ordered.
    :ivar left: connections that it may still be given.
    :ivar since: seconds of the clock when it was ordered, or given what it has.
    :ivar process: its transport; None until it lives.
    :ivar pid: of that; None until it lives.  Known without it, it is for Pool.fault alone.
    :ivar peer: of the connection that it has or had last; empty before the first.
    :ivar source: whose connection that is or was.
    :ivar connection: the one that it was given or ordered for, until that is over.
    :ivar deadline: of its connection; None if there are no time limits.
    :ivar traffic: what the kernel can be asked of the connection that it serves; None if there
        are no time limits, or it is not TCP.
    :ivar amount: bytes received and sent when a time limit came; None if none has, or nobody
        knows.
    :ivar channel: None if it has none, or none any more.
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
        """It has a process, hence a pid, which it keeps when the process has ended."""
        self.process = process
        self.pid = process.pid

    def given(self, connection: Connection) -> None:
        """It is to serve *connection*."""
        self.connection = connection
        self.peer = connection.peer
        self.source = connection.source

    def over(self) -> None:
        """Its connection is over: no time limit applies any more, and nothing is counted."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        self.traffic = None
        self.amount = None

    def kill(self) -> None:
        """SIGKILL, if it lives."""
        self.signal("KILL")

    def signal(self, name: str) -> None:
        """Send a signal, such as ``TERM``, if it lives."""
        if self.process is not None and not self.process.over:
            try:
                self.process.signalProcess(name)
            except ProcessExitedAlready:
                pass

    def close_channel(self) -> None:
        """The child sees that nothing more will come."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
