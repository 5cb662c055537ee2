"""
Finds children that stay too long in a state that should be short.
"""

from __future__ import annotations

import signal
from functools import partial

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.pool.child import State
from twisted_fork.pool.deadlines import end_group
from twisted_fork.pool.launcher import Launcher
from twisted_fork.pool.roster import Roster
from twisted_fork.timers import Later

__all__ = ["Watchdog"]

_PATIENCE = 5.0
"""Seconds for a child that lives to take its connection, or to end when it is told to: it only
has to be scheduled.  For one that does not live yet, the launcher decides."""

_PENDING = (State.ORDERED, State.BEARING, State.GIVEN, State.LEAVING)
"""A child must not stay long in one of these."""


class Watchdog(Later):
    """Looks for such children, as long as there are any in these states."""

    def __init__(
        self, clock: IReactorTime, journal: Journal, launcher: Launcher, children: Roster
    ) -> None:
        super().__init__(clock, self._look)
        self.watch = partial(self.arm, _PATIENCE)
        """watch(): a child is about to come to life, to take a connection, or to end."""
        self._journal = journal
        self._launcher = launcher
        self._children = children

    def _look(self) -> None:
        now = self._clock.seconds()
        pending = False
        for child in list(self._children):
            waited = now - child.since
            if child.state is State.GIVEN and waited >= _PATIENCE:
                self._journal.child_stuck(child.pid, child.peer, waited)
                child.kill()
            elif child.state is State.LEAVING and waited >= _PATIENCE:
                self._journal.child_stays(child.pid, child.peer, waited)
                end_group(child, signal.SIGKILL)
            elif child.state in _PENDING:
                pending = True
                if waited >= _PATIENCE:
                    self._launcher.stuck(child, waited)
        if pending:
            self.arm(_PATIENCE)
