"""
Upkeep: orders spares when there is little to do, and dismisses surplus children.

Both have a delayed call only while they have something to do, so an idle server has none.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from twisted_fork.places.places import Places
from twisted_fork.policy import spares_due
from twisted_fork.pool.children import Children
from twisted_fork.pool.placement import Placement
from twisted_fork.settings import Settings
from twisted_fork.timers import Backoff, Later

__all__ = ["Upkeep"]

_QUIET = 0.001
"""Seconds without a new connection after which a spare may be forked: about the time of two
forks.  Until then it looks again with growing delays, up to _BUSIEST."""

_BUSIEST = 0.05

_FORGIVEN = 60.0
"""Seconds after which the end of an idle child does not make the delay longer."""

_SURPLUS = 10.0
"""Seconds without a new connection after which surplus children are dismissed."""


class Upkeep:
    """
    Keeps as many spares as the settings say.

    :ivar last: when the last connection came (seconds of the clock).
    """

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        children: Children,
        places: Places,
        placement: Placement,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._children = children
        self._places = places
        self._placement = placement
        self.last = clock.seconds()
        self._delay = _QUIET
        self._crashed = clock.seconds()
        self._refill = Later(clock, self._refill_if_quiet)
        self._trim = Later(clock, self._trim_if_quiet)
        self._crashes = Backoff(clock, self.look_after)

    def look_after(self) -> None:
        """The number of children that are idle or ordered has changed."""
        children = self._children
        if not self._places.closed and not self._refill.armed:
            due = spares_due(self._settings, children.idle, children.ordered)
            if due > 0 and not self._crashes.armed:
                self._refill.arm(self._delay)
            elif due < 0:
                self._trim.arm(_SURPLUS)
        children.changed = False  # last: if something raises, all of it is done again

    def idle_child_ended(self) -> None:
        """An idle child has ended on its own: order others with a growing delay."""
        now = self._clock.seconds()
        if now - self._crashed > _FORGIVEN:
            self._crashes.succeeded()
        self._crashed = now
        self._crashes.failed()

    def stop(self) -> None:
        """Order and dismiss nothing more."""
        self._refill.cancel()
        self._trim.cancel()
        self._crashes.cancel()

    def _due(self) -> int:
        children = self._children
        return spares_due(self._settings, children.idle, children.ordered)

    def _refill_if_quiet(self) -> None:
        if self._due() <= 0:
            self.look_after()
            return
        if self._clock.seconds() - self.last < _QUIET:
            self._delay = min(2 * self._delay, _BUSIEST)
            self._refill.arm(self._delay)
            return
        self._delay = _QUIET
        waiting = self._places.waiting
        if not self._children.ordered and not waiting and self._placement.can_launch():
            self._placement.launch(None)
        else:
            self._children.changed = True  # look again later

    def _trim_if_quiet(self) -> None:
        quiet = self._clock.seconds() - self.last
        surplus = -self._due()
        if surplus <= 0:
            return
        if quiet < _SURPLUS:
            self._trim.arm(_SURPLUS - quiet)
        else:
            for child in self._children.longest_idle(surplus):
                self._children.dismiss(child)
