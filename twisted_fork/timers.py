"""
Doing things later: once, again and again with a growing delay, or when the last is over.

What is to be done later is never forgotten because it raised: it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Backoff", "Later", "OneAtATime"]

_SOON = 0.02
"""Seconds after which what raised is tried again; each further time doubles them."""

_MOST = 1.0
"""Seconds after which it is tried again at most."""


class Later:
    """
    One delayed call at most.

    :param what: is called when it is time.  If it raises, the clock tells what, and it is
        called again, soon at first, then each second.
    :ivar armed: a call is due.
    """

    _again = _SOON

    def __init__(self, clock: IReactorTime, what: Callable[[], object]) -> None:
        self.armed = False
        self._clock = clock
        self._what = what
        self._call: IDelayedCall

    def arm(self, delay: float) -> None:
        """Call *delay* seconds from now, unless a call is due already."""
        if not self.armed:
            self._call = self._clock.callLater(delay, self._due)
            self.armed = True

    def cancel(self) -> None:
        """Do not call."""
        if self.armed:
            self._call.cancel()
            self.armed = False

    def _due(self) -> None:
        self.armed = False
        try:
            self._what()
        except BaseException:
            self.arm(self._again)
            self._again = min(2 * self._again, _MOST)
            raise
        self._again = _SOON


class Backoff(Later):
    """
    A failing spell: how long it has lasted, and when to try again.

    :param clock: where time comes from.
    :param again: is called when it is time to try again.
    :param first: seconds until the first new try; each further failure doubles them.
    :param most: seconds that are waited at most.
    :ivar armed: a new try is due later, so that none should be made now.
    :ivar failures: of this spell.
    """

    def __init__(
        self,
        clock: IReactorTime,
        again: Callable[[], object],
        first: float = 0.05,
        most: float = 5.0,
    ) -> None:
        super().__init__(clock, again)
        self.failures = 0
        self._first = first
        self._most = most

    def failed(self) -> float:
        """
        Count a failure; try again later.

        :returns: the seconds until then.
        """
        delay = min(self._first * 2.0 ** min(self.failures, 60), self._most)
        self.failures += 1
        self.arm(delay)
        return delay

    def succeeded(self) -> int:
        """
        The spell is over.

        :returns: how many failures it had.
        """
        failures, self.failures = self.failures, 0
        return failures


class OneAtATime:
    """
    What takes a while, and must not be done twice at the same time.  Whoever asks while it is
    being done is given one more afterwards, all of them together.

    :param begin: begins; its Deferred fires when it is over.
    """

    def __init__(self, begin: Callable[[], Deferred[Any]]) -> None:
        self._begin = begin
        self._running = False
        self._asked: list[Deferred[Any]] = []

    def ask(self) -> Deferred[Any]:
        """
        Begin, now or as soon as what is being done is over.

        :returns: fires with what the Deferred of *begin* fires with.
        """
        asked: Deferred[Any] = Deferred()
        self._asked.append(asked)
        if not self._running:
            self._go()
        return asked

    def _go(self) -> None:
        self._running = True
        asked, self._asked = self._asked, []
        maybeDeferred(self._begin).addBoth(self._over, asked)

    def _over(self, result: Any, asked: list[Deferred[Any]]) -> None:
        self._running = False
        if self._asked:
            self._go()
        for each in asked:
            each.callback(result)
