"""
The roster: every child of a service with its state, and how many are in each state.

No operation takes longer with more children.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from twisted_fork.pool.child import NEXT, Breach, Child, ChildProtocol, Event, State

__all__ = ["Roster"]


class _Counts(NamedTuple):
    """Numbers of children; or by how much an event changes them."""

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
"""How a child in each state is counted; in other states it is not."""


def _change(state: State, then: State) -> _Counts:
    before, after = _ONE.get(state, _Counts()), _ONE.get(then, _Counts())
    return _Counts(*(each - was for each, was in zip(after, before, strict=True)))


_CHANGES = {(state, event): (then, *_change(state, then)) for (state, event), then in NEXT.items()}
"""The next state, and by how much busy, idle and ordered change."""


class Roster:
    """
    Children, from when they are ordered until they have been waited for.

    :ivar busy: how many serve a connection, or were given or ordered for one.
    :ivar idle: how many are IDLE.
    :ivar ordered: how many are ORDERED, to become spares.
    :ivar changed: *idle* or *ordered* has changed since Upkeep looked.
    :ivar generation: of the children that are made from now on.
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
        Make the object for a child.  It counts only after add.

        :param left: connections that it may be given.
        :param bearing: it is for a connection that waits.
        """
        child = Child(next(self._tickets), protocol, since, left)
        child.generation = self.generation
        child.state = State.BEARING if bearing else State.ORDERED
        return child

    def add(self, child: Child) -> None:
        """*child* is being ordered: count it."""
        counts = _ONE[child.state]
        self._children[child.ticket] = child
        self.busy += counts.busy
        self.ordered += counts.ordered
        self.changed = self.changed or counts.ordered > 0

    def move(self, child: Child, event: Event) -> None:
        """
        Change the state of *child*, as NEXT says.

        :raises Breach: *event* is not possible in its state.
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
        """Remove *child*, which has ended or was never made; nothing happens if it is not here."""
        if child.ticket in self._children:
            if child.state is not State.ENDED:
                self.move(child, Event.ENDED)
            del self._children[child.ticket]

    def latest_idle(self) -> Child | None:
        """The child that became idle last, whose memory is in the caches; None if none is idle."""
        return next(reversed(self._idle), None)

    def longest_idle(self, most: int) -> list[Child]:
        """Up to *most* children that have been idle longest."""
        return list(itertools.islice(self._idle, most))

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def __len__(self) -> int:
        return len(self._children)
