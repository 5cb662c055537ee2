"""
What the pool does later: order spares in quiet moments, let surplus children go,
notice those that are stuck.

Each of the three has a delayed call only while there is something to do, so an idle
server has none.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from twisted_fork.later import Backoff, Later
from twisted_fork.pool import policy
from twisted_fork.pool.child import State
from twisted_fork.pool.deadlines import end_group

if TYPE_CHECKING:
    from twisted_fork.pool.pool import Pool

__all__ = ["Upkeep"]

_QUIET = 0.001
"""Seconds without a new connection after which a spare may be forked: the time of
some two forks.  While it is not quiet the next look is later and later, up to
_BUSIEST."""

_BUSIEST = 0.05

_FORGIVEN = 60.0
"""Seconds after which the death of one that waited does not make the next worse."""

_SURPLUS = 10.0
"""Seconds without a new connection after which surplus children go."""

_STUCK = 5.0
"""Seconds for a child that lives to take its connection, or to go when it is told to: it
only has to be scheduled.  One that is not yet alive is the launcher's to judge."""

_PENDING = (State.ORDERED, State.BEARING, State.GIVEN, State.LEAVING)
"""In these a child shall not stay for long."""


class Upkeep:
    """
    The later duties of one pool.
    """

    def __init__(self, pool: Pool, clock: IReactorTime) -> None:
        self._pool = pool
        self._clock = clock
        self._last = clock.seconds()
        self._delay = _QUIET
        self._crashed = clock.seconds()
        self._refill = Later(clock, self._refill_if_quiet)
        self._trim = Later(clock, self._trim_if_quiet)
        self._stuck = Later(clock, self._look_for_stuck)
        self._crashes = Backoff(clock, self.look_after)

    def busy(self) -> None:
        """A connection has come just now."""
        self._last = self._clock.seconds()

    def look_after(self) -> None:
        """The pool has changed."""
        if self._pool.stopping:
            return
        if self._refill.armed:
            return
        if not self._crashes.armed and self._spares_missing():
            self._refill.arm(self._delay)
        elif self._surplus():
            self._trim.arm(_SURPLUS)

    def idle_child_ended(self) -> None:
        """One that waited has died: order others with a growing delay."""
        now = self._clock.seconds()
        if now - self._crashed > _FORGIVEN:
            self._crashes.succeeded()
        self._crashed = now
        self._crashes.failed()

    def watch(self) -> None:
        """A child is to come to life, or to take a connection."""
        self._stuck.arm(_STUCK)

    def stop(self) -> None:
        """Do nothing any more, but look for those that are stuck."""
        self._refill.cancel()
        self._trim.cancel()
        self._crashes.cancel()

    def stop_watching(self) -> None:
        """The last child has ended."""
        self._stuck.cancel()

    def _spares_missing(self) -> int:
        children = self._pool.children
        return policy.spares_missing(self._pool.settings, children.idle, children.ordered)

    def _surplus(self) -> int:
        return policy.surplus(self._pool.settings, self._pool.children.idle)

    def _refill_if_quiet(self) -> None:
        if not self._spares_missing():
            self.look_after()
            return
        if self._clock.seconds() - self._last < _QUIET:
            self._delay = min(2 * self._delay, _BUSIEST)
            self._refill.arm(self._delay)
            return
        self._delay = _QUIET
        look = self._pool.look()
        if look.can_launch and not look.ordered and not look.waiting:
            self._pool.order_spare()

    def _trim_if_quiet(self) -> None:
        quiet = self._clock.seconds() - self._last
        surplus = self._surplus()
        if not surplus:
            return
        if quiet < _SURPLUS:
            self._trim.arm(_SURPLUS - quiet)
        else:
            for child in self._pool.children.longest_idle(surplus):
                self._pool.dismiss(child)

    def _look_for_stuck(self) -> None:
        now = self._clock.seconds()
        pending = False
        for child in list(self._pool.children):
            waited = now - child.since
            if child.state is State.GIVEN and waited >= _STUCK:
                self._pool.journal.child_stuck(child.pid, child.peer, waited)
                child.kill()
            elif child.state is State.LEAVING and waited >= _STUCK:
                self._pool.journal.child_stays(child.pid, child.peer, waited)
                end_group(child, signal.SIGKILL)
            elif child.state in _PENDING:
                pending = True
                if waited >= _STUCK:
                    self._pool.launcher.stuck(child, waited)
        if pending:
            self._stuck.arm(_STUCK)
