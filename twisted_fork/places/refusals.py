"""
The log of refusals: at most one line in a second about each source.
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
must not fill the disk."""

_OTHERS = "others"
"""The name for all further sources."""


class Refusals:
    """
    Writes refusals to the log.

    A source is remembered for a second after each line about it.  Its refusals in that time
    are counted.  Then, if there were any, one line reports them, and the source is remembered
    for another second; if not, it is forgotten.  All these times are equally long, so sources
    are due in the order in which they were remembered: one delayed call, for the first, is
    enough.
    """

    def __init__(self, clock: IReactorTime, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._later = Later(clock, self._go_on)
        self._sources: dict[str, _Source] = {}

    def refused(self, source: str, peer: str, reason: str) -> None:
        """Log, or count, a refused connection of *source*."""
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
        """Log at once what has been counted, and forget all sources."""
        self._later.cancel()
        for name, source in self._sources.items():
            if source.more:
                self._journal.given_up_more(name, source.more, source.reason)
        self._sources.clear()

    def _remember(self, name: str) -> _Source:
        """Write no line about *name* for a second."""
        source = self._sources[name] = _Source(self._clock.seconds() + _PAUSE)
        return source

    def _go_on(self) -> None:
        """The first source is due, and perhaps others."""
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
    What is known of a source.

    :ivar due: when there may be a line about it (seconds of the clock).
    :ivar more: refusals that are in no line yet.
    :ivar reason: of the latest of them.
    """

    __slots__ = ("due", "more", "reason")

    def __init__(self, due: float) -> None:
        self.due = due
        self.more = 0
        self.reason = ""

    def count(self, reason: str) -> None:
        """Count one more, refused for *reason*."""
        self.more += 1
        self.reason = reason
