"""
Delayed calls: a single one, one that is retried with growing delays, and work that must not run
twice at the same time.  A delayed call that raises is repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Backoff", "Later", "OneAtATime"]

_SOON = 0.02
"""Seconds until a call that raised is repeated; doubled each further time."""

_MOST = 1.0
"""The longest of these delays (seconds)."""


class Later:
    """
    At most one delayed call.

    :param what: is called when the delay is over.  If it raises, the reactor logs the error,
        and it is called again: after 0.02 seconds, doubled each time up to a second.
    :ivar armed: a call is due.
    """

    _again = _SOON

    def __init__(self, clock: IReactorTime, what: Callable[[], object]) -> None:
        self.armed = False
        self._clock = clock
        self._what = what
        self._call: IDelayedCall

    def arm(self, delay: float) -> None:
        """Call *delay* seconds from now; does nothing if a call is due already."""
        if not self.armed:
            self._call = self._clock.callLater(delay, self._due)
            self.armed = True

    def cancel(self) -> None:
        """Cancel the call, if one is due."""
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
    Retries with growing delays, for a spell of failures.

    :param clock: for the delays.
    :param again: is called when the delay is over.
    :param first: seconds of the first delay; each further failure doubles it.
    :param most: seconds of the longest delay.
    :ivar armed: a retry is due; do not try before.
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
        Count a failure, and retry after a delay.

        :returns: the delay in seconds.
        """
        delay = min(self._first * 2.0 ** min(self.failures, 60), self._most)
        self.failures += 1
        self.arm(delay)
        return delay

    def succeeded(self) -> int:
        """
        End the spell.

        :returns: how many failures it had.
        """
        failures, self.failures = self.failures, 0
        return failures


class OneAtATime:
    """
    Work that takes time and must not run twice at the same time.  All calls of ask while it
    runs together cause one more run afterwards.

    :param begin: begins a run; its Deferred fires when the run is over.
    """

    def __init__(self, begin: Callable[[], Deferred[Any]]) -> None:
        self._begin = begin
        self._running = False
        self._asked: list[Deferred[Any]] = []

    def ask(self) -> Deferred[Any]:
        """
        Begin a run, now or when the present one is over.

        :returns: a Deferred that fires with the result of that run.
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
