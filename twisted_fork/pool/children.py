"""
The children of a service, and what is done with one of them: it becomes idle, is dismissed, given
up or forgotten.
"""

from __future__ import annotations

import signal

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.kernel.sweep import bury
from twisted_fork.pool.child import Child, Event, State
from twisted_fork.pool.deadlines import end_group
from twisted_fork.pool.launcher import Launcher
from twisted_fork.pool.roster import Roster
from twisted_fork.pool.watchdog import Watchdog

__all__ = ["Children"]


class Children(Roster):
    """
    The children that a launcher makes.

    :ivar generation: of those that are ordered from now on.  One of an older generation is
        dismissed when it becomes idle.
    :ivar watchdog: finds children that stay too long in a state.
    """

    def __init__(self, clock: IReactorTime, journal: Journal, launcher: Launcher) -> None:
        super().__init__()
        self.watchdog = Watchdog(clock, journal, launcher, self)
        self._clock = clock
        self._launcher = launcher

    def becomes_idle(self, child: Child, event: Event) -> None:
        """After *event*, *child* has no connection: it waits for another, or is dismissed."""
        self.move(child, event)
        child.since = self._clock.seconds()
        if child.generation != self.generation:
            self.dismiss(child)
        elif child.channel is None or (child.process is not None and child.process.over):
            self.loses_channel(child)

    def loses_channel(self, child: Child) -> None:
        """*child* has closed its channel: it cannot be given anything, and is killed."""
        if child.state is State.IDLE:
            self.move(child, Event.LOST)
            child.kill()
        elif child.state is State.GIVEN:
            child.kill()

    def dismiss(self, child: Child) -> None:
        """Tell *child*, which has no connection, to end."""
        self.move(child, Event.DISMISSED)
        child.close_channel()
        child.since = self._clock.seconds()
        self.watchdog.watch()

    def give_up(self, child: Child) -> None:
        """Kill *child*, whatever its state; remove it at once if nothing more can come from it."""
        child.over()
        child.close_channel()
        process = child.process
        if process is None and child.pid is not None:
            bury(self._clock, child.pid)
        if process.over if process is not None else not self._launcher.expects(child):
            self.remove(child)
            return
        self.move(child, Event.GIVEN_UP)
        child.since = self._clock.seconds()
        end_group(child, signal.SIGKILL)
        self.watchdog.watch()

    def forget(self, child: Child) -> None:
        """Remove *child*, which has ended or was never made."""
        self.remove(child)
        child.close_channel()
