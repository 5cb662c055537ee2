"""
The log of refusals: at most one line for each source and second, however many come.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.later import Later

__all__ = ["Refusals"]

_MOST_LINES = 100
"""Lines a second, of all sources together: a flood from a million addresses shall not
fill the disk."""


class Refusals:
    """Refusals on their way into the log."""

    def __init__(self, clock: IReactorTime, journal: Journal) -> None:
        self._journal = journal
        self._second = Later(clock, self._over)
        self._more: dict[str, int] = {}
        self._others = 0

    def refused(self, source: str, peer: str, reason: str) -> None:
        """A connection of *source* has been refused."""
        if source in self._more:
            self._more[source] += 1
        elif len(self._more) < _MOST_LINES:
            self._more[source] = 0
            self._journal.given_up(peer, reason)
        else:
            self._others += 1
        self._second.arm(1.0)

    def close(self) -> None:
        """Say what there is still to say."""
        self._second.cancel()
        self._over()

    def _over(self) -> None:
        repeated = {source: more for source, more in self._more.items() if more}
        others, self._others = self._others, 0
        self._more.clear()
        for source, more in repeated.items():
            self._journal.given_up_more(source, more)
        if others:
            self._journal.given_up_more("others", others)
