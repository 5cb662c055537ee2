"""
The log of refusals: at most one line about each source in any second, however many come.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.timers import Later

__all__ = ["Refusals"]

_PAUSE = 1.0
"""Seconds between two lines about a source."""

_MOST_SOURCES = 100
"""Sources that have lines of their own within a second: a flood from a million addresses
shall not fill the disk."""

_OTHERS = "others"
"""Who has no line of its own."""


class Refusals:
    """
    Refusals on their way into the log.

    Theory of operation.  A source that a line was written about is remembered until there
    may be another, and its refusals are only counted until then.  If there were any, one
    line tells them and the source is remembered anew; if there were none it is forgotten.
    Since all pauses are of the same length, sources are due in the order in which they are
    remembered, and one delayed call, for the first, is enough.
    """

    def __init__(self, clock: IReactorTime, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._later = Later(clock, self._go_on)
        self._sources: dict[str, _Source] = {}

    def refused(self, source: str, peer: str, reason: str) -> None:
        """A connection of *source* has been refused."""
        if source not in self._sources and len(self._sources) >= _MOST_SOURCES:
            source = _OTHERS
        if source in self._sources or source == _OTHERS:
            known = self._sources.get(source) or self._remember(source)
            known.count(reason)
        else:
            self._journal.given_up(peer, reason)
            self._remember(source)
        self._later.arm(_PAUSE)

    def close(self) -> None:
        """Tell at once what there is still to tell."""
        self._later.cancel()
        for name, source in self._sources.items():
            if source.more:
                self._journal.given_up_more(name, source.more, source.reason)
        self._sources.clear()

    def _remember(self, name: str) -> _Source:
        """There may be no line about *name* for a while."""
        source = self._sources[name] = _Source(self._clock.seconds() + _PAUSE)
        return source

    def _go_on(self) -> None:
        """The first source is due, and perhaps more."""
        now = self._clock.seconds()
        for name, source in list(self._sources.items()):
            if source.due > now:
                break
            del self._sources[name]
            if source.more:
                self._journal.given_up_more(name, source.more, source.reason)
                self._remember(name)
        if self._sources:
            first = next(iter(self._sources.values()))
            self._later.arm(max(0.0, first.due - now))


class _Source:
    """
    What there is to tell of a source.

    :ivar due: when there may be a line about it (seconds).
    :ivar more: refusals that no line has told yet.
    :ivar reason: of the latest of them.
    """

    __slots__ = ("due", "more", "reason")

    def __init__(self, due: float) -> None:
        self.due = due
        self.more = 0
        self.reason = ""

    def count(self, reason: str) -> None:
        """One more, for *reason*."""
        self.more += 1
        self.reason = reason
