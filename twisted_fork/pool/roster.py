"""
The roster: every child of a service, each in its state, and how many are in which.

Its costs do not grow with the number of children.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from twisted_fork.pool.child import NEXT, Breach, Child, ChildProtocol, Event, State

__all__ = ["Roster"]

_BUSY = frozenset((State.BEARING, State.GIVEN, State.SERVING))


def _counts(state: State) -> tuple[int, int]:
    """What a child in *state* adds to those that are busy, and to those that are ordered."""
    return int(state in _BUSY), int(state is State.ORDERED)


def _change(state: State, event: Event) -> tuple[State, int, int]:
    (busy, ordered), (busy_then, ordered_then) = _counts(state), _counts(NEXT[state, event])
    return NEXT[state, event], busy_then - busy, ordered_then - ordered


_CHANGES = {(state, event): _change(state, event) for state, event in NEXT}
"""The next state, and how many more are busy and ordered then."""


class Roster:
    """
    Children, from when they are ordered until they have been waited for.

    :ivar busy: how many serve a connection, or were given or ordered for one.
    :ivar ordered: how many will wait for one as soon as they live.
    :ivar generation: of the children that are added.
    """

    def __init__(self) -> None:
        self.busy = 0
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
        busy, ordered = _counts(child.state)
        self._children[child.ticket] = child
        self.busy += busy
        self.ordered += ordered

    def move(self, child: Child, event: Event) -> None:
        """
        Something has happened to *child*: it has another state now.

        :raises Breach: it cannot happen in the state that it has.
        """
        try:
            state, busy, ordered = _CHANGES[child.state, event]
        except KeyError:
            raise Breach(f"{event.value} while {child.state.value}") from None
        self.busy += busy
        self.ordered += ordered
        if child.state is State.IDLE:
            self._idle.pop(child, None)
        if state is State.IDLE:
            self._idle[child] = None
        child.state = state

    def remove(self, child: Child) -> None:
        """*child* has ended, or never was; nothing happens if it is not here."""
        if child.ticket in self._children:
            if child.state is not State.ENDED:
                self.move(child, Event.ENDED)
            del self._children[child.ticket]

    @property
    def idle(self) -> int:
        """How many wait for a connection."""
        return len(self._idle)

    def latest_idle(self) -> Child | None:
        """Who has begun to wait last, and whose memory is warm; None if nobody waits."""
        return next(reversed(self._idle), None)

    def longest_idle(self, most: int) -> list[Child]:
        """Up to *most* of those who have waited longest."""
        return list(itertools.islice(self._idle, most))

    def unusable(self, child: Child) -> None:
        """*child* is as good as dead: do not count on it, if it waits."""
        self._idle.pop(child, None)

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def __len__(self) -> int:
        return len(self._children)
