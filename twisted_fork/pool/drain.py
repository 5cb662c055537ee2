"""
Draining: from the stop to the end of the last child, with SIGTERM and SIGKILL where they are
needed.  It ends, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_fork.journal import Journal
from twisted_fork.pool.pool import Pool
from twisted_fork.timers import Later

__all__ = ["Drain"]

_REPORT = 10.0
"""Seconds between two log lines about how many children still serve."""

_PATIENCE = 0.45
"""Seconds after SIGKILL in which at least one child has to end.  If none has ended in two such
periods, the rest is not waited for: the kernel holds them, or there is a fault here.  Two periods,
because time may pass in which the ends of children are not looked at."""


class Drain:
    """
    Stops a pool: busy children get *grace* seconds to finish, then SIGTERM, and after *grace*
    more seconds SIGKILL.
    """

    def __init__(self, reactor: Any, pool: Pool, journal: Journal, grace: float) -> None:
        self._pool = pool
        self._journal = journal
        self._grace = grace
        self._steps: list[Callable[[], None]] = [self._terminate, self._kill]
        self._left = 0
        self._moved = True
        self._over: Deferred[None] = Deferred()
        self._step = Later(reactor, self._next_step)
        self._last = Later(reactor, self._look_whether_it_moves)
        self._report = Later(reactor, self._say_how_many)

    def begin(self) -> Deferred[None]:
        """
        Begin.

        :returns: a Deferred that fires when the last child has been waited for, or when those that
            are left cannot be ended.
        """
        empty = None
        for _ in range(2):  # if it raises, that is logged, and it is tried once more
            try:
                empty = self._pool.stop()
                break
            except BaseException:
                self._journal.fault()
        if empty is None:
            self._kill()
            return self._over
        if not empty.called:
            self._journal.stopping(self._pool.children.busy, self._grace)
            self._step.arm(self._grace)
            self._report.arm(_REPORT)
        empty.addBoth(self._done).addErrback(self._done_anyway)
        return self._over

    def hurry(self) -> None:
        """Do not wait for the rest of the grace: do the next step now."""
        if self._step.armed:
            self._step.cancel()
            self._next_step()

    def _next_step(self) -> None:
        self._steps.pop(0)()
        if self._steps:
            self._step.arm(self._grace)

    def _terminate(self) -> None:
        self._journal.signalled("SIGTERM", self._pool.signal("TERM"))

    def _kill(self) -> None:
        self._left = len(self._pool.children)
        self._last.arm(_PATIENCE)
        self._journal.signalled("SIGKILL", self._pool.signal("KILL"))
        self._pool.launcher.kill()

    def _look_whether_it_moves(self) -> None:
        left = len(self._pool.children)
        moves = left < self._left
        if moves or self._moved:
            self._left, self._moved = left, moves
            self._last.arm(_PATIENCE)
        else:
            self._journal.left_behind(left)
            self._done(None)

    def _say_how_many(self) -> None:
        self._journal.draining(self._pool.children.busy)
        self._report.arm(_REPORT)

    def _done_anyway(self, failure: Failure) -> None:
        self._journal.raised(failure)
        self._done(None)

    def _done(self, result: object) -> None:
        for later in (self._step, self._last, self._report):
            later.cancel()
        if not self._over.called:
            self._over.callback(None)
