"""
Draining: from "stop" to the last child, by way of SIGTERM and SIGKILL where they are needed.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from twisted_fork.journal import Journal
from twisted_fork.later import Later
from twisted_fork.pool import Pool

__all__ = ["Drain"]

_REPORT = 10.0
"""Seconds between lines that say how many children are left."""


class Drain:
    """
    Stops a pool: busy children get *grace* seconds to finish in, then SIGTERM, and after
    as long again SIGKILL.
    """

    def __init__(self, reactor: Any, pool: Pool, journal: Journal, grace: float) -> None:
        self._pool = pool
        self._journal = journal
        self._grace = grace
        self._terminated = False
        self._step = Later(reactor, self._next_step)
        self._report = Later(reactor, self._say_how_many)

    def begin(self) -> Deferred[None]:
        """
        Begin.

        :returns: fires when the last child has been waited for.
        """
        empty = self._pool.stop()
        if not empty.called:
            self._journal.stopping(len(self._pool.children), self._grace)
            self._step.arm(self._grace)
            self._report.arm(_REPORT)
        return empty.addBoth(self._done)

    def hurry(self) -> None:
        """Do not wait for the grace to pass."""
        if self._step.armed:
            self._step.cancel()
            self._next_step()

    def _next_step(self) -> None:
        if not self._terminated:
            self._terminated = True
            self._journal.signalled("SIGTERM", self._pool.signal("TERM"))
            self._step.arm(self._grace)
        else:
            self._journal.signalled("SIGKILL", self._pool.signal("KILL"))
            self._pool.launcher.kill()

    def _say_how_many(self) -> None:
        self._journal.draining(len(self._pool.children))
        self._report.arm(_REPORT)

    def _done(self, result: Any) -> Any:
        self._step.cancel()
        self._report.cancel()
        return result
