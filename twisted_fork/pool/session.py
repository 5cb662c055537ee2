"""
A connection from when a child has taken it until it is over: its limits, its byte counts, its
lines in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime

from twisted_fork.ending import Ending
from twisted_fork.journal import Journal
from twisted_fork.kernel.traffic import Traffic
from twisted_fork.pool.child import Child, Event
from twisted_fork.pool.deadlines import Deadline, limit_of
from twisted_fork.pool.roster import Roster
from twisted_fork.settings import Settings

__all__ = ["Serving"]


class Serving:
    """
    Handles the connections that children have taken.

    :param crashed: is called with the source of a connection whose child a signal or a limit
        has ended.
    :param told: takes a pid, and returns what that child has reported at its end: bytes received
        and sent, or None.
    """

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        journal: Journal,
        children: Roster,
        crashed: Callable[[str], object],
        told: Callable[[int], tuple[int, int] | None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._children = children
        self._crashed = crashed
        self._told = told
        limits = (settings.idle_timeout, settings.session_timeout)
        self._limited = any(limit is not None for limit in limits)

    def began(self, child: Child) -> None:
        """
        *child* has taken its connection: close the reactor process's descriptor of it, and begin
        its time limits.
        """
        settings, connection = self._settings, child.connection
        assert connection is not None
        if self._limited and connection.is_tcp:
            with suppress(OSError):
                child.traffic = Traffic(connection.descriptor)
        connection.close()
        if self._limited:
            deadline = child.deadline = Deadline(
                self._clock,
                self._journal,
                child,
                self._overdue,
                settings.session_timeout,
                settings.idle_timeout,
                settings.grace,
            )
            deadline.begin()
        self._journal.handed_over(child.peer, child.pid)

    def over(self, child: Child, since: float, amount: tuple[int, int] | None) -> None:
        """
        The connection that *child* was given at *since* is over; the child lives on.

        :param amount: bytes received and sent, as the child says; None if it does not.
        """
        seconds = self._clock.seconds() - since
        child.over()
        self._journal.ready_again(child.peer, child.pid, seconds, amount)

    def ended(self, child: Child, ending: Ending, stopping: bool) -> None:
        """
        *child* has ended, and with it its connection.

        :param stopping: the service stops, which may be why: this is not a crash of the source.
        """
        limit = limit_of(child, ending, self._settings)
        amount = child.amount
        if child.pid is not None and ending.signal is None and not self._settings.quiet:
            # a child that was killed reports nothing; *amount* is set if a time limit was reached
            amount = self._told(child.pid) or amount
        if (ending.signal is not None or limit is not None) and not stopping:
            self._crashed(child.source)
        self._journal.ended(
            child.peer,
            child.pid,
            ending,
            self._clock.seconds() - child.since,
            amount,
            None if child.process is None else child.process.usage,
            limit,
        )

    def _overdue(self, child: Child) -> None:
        self._children.move(child, Event.OVERDUE)
