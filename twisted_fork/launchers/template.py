"""
A template as the reactor process sees it: one object, one state.

A template is STARTING until it says that it is ready.  Then it is READY, and forks children.  If
another one takes over, or the service stops, it is DISMISSED: it gets no more requests, and
carries out those that it has.  Then its channel is closed, and it is LEAVING, as is one that is
dismissed while it starts.  A template that does not answer is STUCK, and has been killed.  One
whose channel has ended or is broken is MUTE, and is killed.

Its process and its channel may end in any order: a child that it has just forked has the channel
too.  If the process is the first, it has ENDED: children of it may still come to life.  When both
have ended it is GONE, and requests that are not answered were not carried out.

NEXT has all transitions.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.error import ProcessExitedAlready

if TYPE_CHECKING:
    from twisted_fork.kernel.channels import Channel
    from twisted_fork.kernel.processes import ForkedProcess
    from twisted_fork.pool.child import Child
    from twisted_fork.timers import Later
    from twisted_fork.wire.orders import Orders

__all__ = ["NEXT", "Event", "State", "Template"]


class State(Enum):
    """The state of a template."""

    STARTING = "starting"
    READY = "ready"
    DISMISSED = "dismissed"
    LEAVING = "leaving"
    STUCK = "stuck"
    MUTE = "mute"
    ENDED = "ended"
    GONE = "gone"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to a template."""

    READY = "ready"
    DISMISSED = "dismissed"
    DONE = "done"
    STUCK = "stuck"
    BROKEN = "broken"
    CHANNEL_ENDED = "channel ended"
    PROCESS_ENDED = "process ended"

    __hash__ = object.__hash__


_LISTENS = (State.STARTING, State.READY, State.DISMISSED, State.STUCK)
"""States in which both its process and its channel exist."""

NEXT = {
    (State.STARTING, Event.READY): State.READY,
    (State.STARTING, Event.DISMISSED): State.LEAVING,
    (State.READY, Event.DISMISSED): State.DISMISSED,
    (State.DISMISSED, Event.DONE): State.LEAVING,
    (State.READY, Event.STUCK): State.STUCK,
    (State.DISMISSED, Event.STUCK): State.STUCK,
    (State.READY, Event.BROKEN): State.MUTE,
    (State.ENDED, Event.STUCK): State.GONE,
    (State.ENDED, Event.DISMISSED): State.GONE,
    **{(state, Event.CHANNEL_ENDED): State.MUTE for state in _LISTENS},
    (State.ENDED, Event.CHANNEL_ENDED): State.GONE,
    **{(state, Event.PROCESS_ENDED): State.ENDED for state in _LISTENS},
    (State.MUTE, Event.PROCESS_ENDED): State.GONE,
    (State.LEAVING, Event.PROCESS_ENDED): State.GONE,
}
"""The next state; an event that is not in here changes nothing."""


class Template:
    """
    A template process, its channel, and its requests.

    :ivar orders: that it was given; its successors get them if it takes over.
    :ivar process: None until it is started.
    :ivar served: a child that it forked has come to life.
    :ivar deadline: kills it if it is not ready, or has not ended, in time.
    :ivar requests: children that were asked for and are not known to live, by their tickets.
    """

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.requests: dict[int, Child] = {}
        self.state = State.STARTING
        self.served = False
        self.process: ForkedProcess | None = None
        self.channel: Channel
        self.deadline: Later

    def happens(self, event: Event) -> bool:
        """
        Change the state, as NEXT says.

        :returns: whether the state has changed.
        """
        then = NEXT.get((self.state, event), self.state)
        changed = then is not self.state
        self.state = then
        return changed

    @property
    def pid(self) -> int | None:
        """None until it is started."""
        return None if self.process is None else self.process.pid

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        try:
            if self.process is not None:
                self.process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
