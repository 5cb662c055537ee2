"""
Placement: which child a connection is given to, and how.  If a child fails to take a connection,
another one gets it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from twisted_fork.ending import Ending
from twisted_fork.journal import Journal
from twisted_fork.places.connection import Connection
from twisted_fork.places.places import Places
from twisted_fork.pool.child import Child, ChildProtocol, Event
from twisted_fork.pool.children import Children
from twisted_fork.pool.faults import Faults
from twisted_fork.pool.launcher import Impossible, Launcher
from twisted_fork.settings import Settings
from twisted_fork.timers import Backoff
from twisted_fork.wire import messages

__all__ = ["Placement"]

_MOST_TRIES = 3
"""Children that may end before they take a connection, until it is refused: perhaps the
connection itself ends them."""

_FULL = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)
"""Errors of sendmsg(2) that concern all channels; see unix(7) about descriptors in flight."""


class Placement:
    """
    Gives connections to children.

    :param protocol: the class of the children's ProcessProtocols.
    :param settle: is called when something that failed can be tried again.
    :ivar launches: the spell in which no child can be made.
    :ivar sends: the spell in which no connection can be sent.
    :ivar placing: connections that waited are being placed.
    """

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        journal: Journal,
        protocol: type[ChildProtocol],
        launcher: Launcher,
        children: Children,
        places: Places,
        faults: Faults,
        settle: Callable[[], object],
    ) -> None:
        self.launches = Backoff(clock, settle)
        self.sends = Backoff(clock, settle, most=0.5)
        self.placing = False
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._protocol = protocol
        self._launcher = launcher
        self._children = children
        self._places = places
        self._faults = faults
        self._failed = 0.0

    def can_launch(self) -> bool:
        """Whether another child may be ordered now."""
        return not self.launches.armed and self._launcher.ready()

    def can_place(self) -> bool:
        """Whether a child is idle and can be sent a connection, or another may be ordered."""
        return (self._children.idle > 0 and not self.sends.armed) or self.can_launch()

    def place(self, connection: Connection) -> None:
        """Give a connection to a child, or let it wait until that is possible."""
        child = None if self.sends.armed else self._children.latest_idle()
        if child is not None:
            try:
                self._children.move(child, Event.HAND_OVER)
                child.given(connection)
                self.send(child, connection)
            except BaseException:
                self._faults.fault(child)
                self._places.forget(connection)
        elif self.can_launch():
            self.launch(connection)
        else:
            self._places.waiting.append(connection)

    def place_waiting(self) -> bool:
        """
        Give the connections that wait to children.

        :returns: whether none waits any more.
        """
        waiting = self._places.waiting
        self.placing = True
        try:
            while waiting:
                if not self.can_place():
                    return False
                self._place_guarded(waiting.popleft())
        finally:
            self.placing = False
        return True

    def _place_guarded(self, connection: Connection) -> None:
        try:
            self.place(connection)
        except BaseException:
            self._faults.abandon(connection)

    def launch(self, connection: Connection | None) -> None:
        """Order a child, for a connection or (None) as a spare."""
        child = self._children.new(
            self._protocol(),
            self._clock.seconds(),
            self._settings.connections_per_child,
            bearing=connection is not None,
        )
        try:
            self._children.add(child)
            if connection is not None:
                child.given(connection)
            self._launcher.launch(child)
            self._children.watchdog.watch()
        except Impossible as impossible:
            self._children.forget(child)
            assert connection is not None
            self._places.give_up(connection, str(impossible))
            child.connection = None
        except OSError as failure:
            self.failed(child, failure.errno or 0)
        except BaseException:
            self._faults.fault(child)
            if connection is not None:
                self._places.release(connection)

    def send(self, child: Child, connection: Connection) -> None:
        """
        Send *connection* to the child that was given it.  If that fails, the child is killed; when
        it has ended, another one gets the connection.  If nothing can be sent to any child, the
        child is idle again, and the connection waits.
        """
        child.since = self._clock.seconds()
        try:
            if child.channel is None:
                raise BrokenPipeError
            data = messages.pack(messages.CONNECTION, payload=connection.details())
            child.channel.send(data, (connection.descriptor,))
        except OSError as failure:
            if failure.errno in _FULL:
                self._fails(self.sends, self._journal.hand_over_failing, failure.errno)
                self._children.becomes_idle(child, Event.UNSENT)
                self._take_back(child, connection)
                return
            child.kill()
        else:
            if self.sends.failures:
                self._journal.hand_over_recovered(self.sends.succeeded())
        self._children.watchdog.watch()

    def failed(self, child: Child, number: int) -> None:
        """An ordered child could not be made: *number* is the errno."""
        self.never_was(child)
        self._failed = self._clock.seconds()
        self._fails(self.launches, self._journal.launch_failing, number)

    def launched(self, child: Child) -> None:
        """A child lives.  If it was ordered since the last failure, the spell is over."""
        if child.since >= self._failed:
            self._journal.launch_recovered(self.launches.succeeded())

    def never_was(self, child: Child) -> None:
        """An ordered child was not made, but nothing has failed: place its connection again."""
        self._children.forget(child)
        if child.connection is not None:
            self._take_back(child, child.connection)

    def again(self, child: Child, ending: Ending) -> None:
        """A child has ended before it took its connection: give that to another child."""
        connection = child.connection
        assert connection is not None
        connection.tries += 1
        self._journal.ended_unserved(connection.peer, child.pid, ending, connection.tries)
        if connection.tries < _MOST_TRIES and not self._places.closed:
            self._places.waiting.append(connection)
        else:
            self._places.give_up(connection, "no child took it")
        child.connection = None

    def stop(self) -> None:
        """Retry nothing, and refuse the connections that wait."""
        self.launches.cancel()
        self.sends.cancel()
        waiting = self._places.waiting
        while waiting:
            connection = waiting.popleft()
            try:
                self._places.give_up(connection, "shutting down")
            except BaseException:
                self._faults.abandon(connection)

    def _take_back(self, child: Child, connection: Connection) -> None:
        """*child* does not get *connection* after all: it is the next to be placed."""
        child.connection = None
        if self._places.closed:
            self._places.give_up(connection, "shutting down")
        else:
            self._places.waiting.appendleft(connection)

    def _fails(self, spell: Backoff, say: Callable[[int, float], object], number: int) -> None:
        """Something fails now: retry later.  For the first failure of a spell, call *say*."""
        if self._places.closed or spell.armed:
            return
        retry = spell.failed()
        if spell.failures == 1:
            say(number, retry)
