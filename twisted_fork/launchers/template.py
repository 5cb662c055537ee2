"""
A template as the reactor process sees it: one object, one state.

Theory of operation.  A template is STARTING until it says that it is ready; then it is READY,
and forks children.  One that another has taken over from, or whose service stops, is DISMISSED:
it does what it has been asked for, and asked for nothing more it is LEAVING, its channel closed,
as is one that is dismissed while it starts.  One that does not answer is STUCK, and has been
killed.  One whose channel has ended, or broken, is MUTE, and is killed.

Two things come to an end, in any order: its process, and its channel, which a child that it
forked just now holds too.  When its process has ended first it has ENDED: children may still be
heard of.  When both have, it is GONE, and what it was asked for and has not been heard of was not
done.

NEXT is all of it.
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
    """Where a template is in its life."""

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
"""Its process and its channel are there."""

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
    (State.MUTE, Event.CHANNEL_ENDED): State.MUTE,
    (State.ENDED, Event.CHANNEL_ENDED): State.GONE,
    **{(state, Event.PROCESS_ENDED): State.ENDED for state in _LISTENS},
    (State.MUTE, Event.PROCESS_ENDED): State.GONE,
    (State.LEAVING, Event.PROCESS_ENDED): State.GONE,
}
"""The next state; what is not in here changes nothing."""


class Template:
    """
    One template process, its channel, and what it has been asked for.

    :ivar orders: that it was given, and its successors get if it takes over.
    :ivar process: None until it is started.
    :ivar served: it has forked a child that has been heard of.
    :ivar deadline: until when it has to be ready, or to end.
    :ivar requests: children that it was asked for and that have not been heard of,
        by their tickets.
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
        *event* has happened.

        :returns: whether it has another state now.
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
        """SIGKILL, unless it has ended already."""
        try:
            if self.process is not None:
                self.process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
