"""
The roster: every child of a service, each in its state, and how many are in which.

Its costs do not grow with the number of children.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from twisted_fork.pool.child import NEXT, Breach, Child, ChildProtocol, Event, State

__all__ = ["Roster"]


class _Counts(NamedTuple):
    """How many children are of a kind; or how many more, after an event."""

    busy: int = 0
    idle: int = 0
    ordered: int = 0


_ONE = {
    State.ORDERED: _Counts(ordered=1),
    State.BEARING: _Counts(busy=1),
    State.IDLE: _Counts(idle=1),
    State.GIVEN: _Counts(busy=1),
    State.SERVING: _Counts(busy=1),
    State.OVERDUE: _Counts(busy=1),
}
"""What a child in a state counts as, where it counts as anything."""


def _change(state: State, then: State) -> _Counts:
    before, after = _ONE.get(state, _Counts()), _ONE.get(then, _Counts())
    return _Counts(*(each - was for each, was in zip(after, before, strict=True)))


_CHANGES = {(state, event): (then, *_change(state, then)) for (state, event), then in NEXT.items()}
"""The next state, and how many more are busy, idle and ordered then."""


class Roster:
    """
    Children, from when they are ordered until they have been waited for.

    :ivar busy: how many serve a connection, or were given or ordered for one.
    :ivar idle: how many wait for one.
    :ivar ordered: how many will wait for one as soon as they live.
    :ivar changed: how many wait, or will, is not what it was when somebody last saw to it.
    :ivar generation: of the children that are added.
    """

    def __init__(self) -> None:
        self.changed = True
        self.busy = 0
        self.idle = 0
        self.ordered = 0
        self.generation = 0
        self._children: dict[int, Child] = {}
        self._idle: dict[Child, None] = {}
        self._tickets = itertools.count(1)

    def new(self, protocol: ChildProtocol, since: float, left: int, bearing: bool = False) -> Child:
        """
        A child that is to be ordered, and that nobody counts on before it is added.

        :param bearing: for a connection that waits for it.
        """
        child = Child(next(self._tickets), protocol, since, left)
        child.generation = self.generation
        child.state = State.BEARING if bearing else State.ORDERED
        return child

    def add(self, child: Child) -> None:
        """A new child is being ordered."""
        counts = _ONE[child.state]
        self._children[child.ticket] = child
        self.busy += counts.busy
        self.ordered += counts.ordered
        self.changed = self.changed or counts.ordered > 0

    def move(self, child: Child, event: Event) -> None:
        """
        Something has happened to *child*: it has another state now.

        :raises Breach: it cannot happen in the state that it has.
        """
        try:
            state, busy, idle, ordered = _CHANGES[child.state, event]
        except KeyError:
            raise Breach(f"{event.value} while {child.state.value}") from None
        self.busy += busy
        if ordered:
            self.ordered += ordered
            self.changed = True
        if idle:
            self.changed = True
            self.idle += idle
            if idle > 0:
                self._idle[child] = None
            else:
                del self._idle[child]
        child.state = state

    def remove(self, child: Child) -> None:
        """*child* has ended, or never was; nothing happens if it is not here."""
        if child.ticket in self._children:
            if child.state is not State.ENDED:
                self.move(child, Event.ENDED)
            del self._children[child.ticket]

    def latest_idle(self) -> Child | None:
        """Who has begun to wait last, and whose memory is warm; None if nobody waits."""
        return next(reversed(self._idle), None)

    def longest_idle(self, most: int) -> list[Child]:
        """Up to *most* of those who have waited longest."""
        return list(itertools.islice(self._idle, most))

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def __len__(self) -> int:
        return len(self._children)
