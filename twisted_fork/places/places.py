"""
Places for connections: how many are taken, which connections wait, and how a connection that is
not served is closed.
"""

from __future__ import annotations

import _socket
import os
from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from twisted_fork import policy
from twisted_fork.journal import Journal
from twisted_fork.places.connection import Connection
from twisted_fork.places.refusals import Refusals
from twisted_fork.places.sources import Sources
from twisted_fork.settings import Settings

__all__ = ["Places"]


class Counts(Protocol):
    """How many children there are."""

    busy: int
    """Those that serve a connection, have been given one, or are ordered for one."""


class Places:
    """
    Places for connections: as many as there may be children.

    :param children: how many children there are.
    :param room: is called when there is room again, if *wanted* is set.
    :ivar can_place: returns whether a child could be given one more connection now.
    :ivar waiting: connections that no child could be given yet.
    :ivar refuses: connections are refused when all places are taken (--when-full).
    :ivar sources: counts the connections that are alive.
    :ivar wanted: *room* has to be called when there is room: may_accept found none, or has
        not been called yet.
    :ivar closed: nothing is accepted any more.
    """

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        journal: Journal,
        children: Counts,
        room: Callable[[], object],
    ) -> None:
        self.refuses = settings.when_full == "refuse"
        self.waiting: deque[Connection] = deque()
        self.sources = Sources()
        self.closed = False
        self._settings = settings
        self._journal = journal
        self._children = children
        self.can_place: Callable[[], bool] = lambda: False
        self._room = room
        self.wanted = True
        self._reserved: set[Connection] = set()
        self._refusals = Refusals(clock, journal)
        self._banner = os.fsencode(settings.banner_refused or "")

    def may_accept(self) -> bool:
        """Whether to accept one more, to serve or refuse it; sets *wanted* if there is no room."""
        busy = self._children.busy + len(self._reserved)
        look = policy.Look(busy, len(self.waiting), self.can_place(), self.closed)
        if policy.may_accept(self._settings, look):
            return True
        self.wanted = True
        return self.refuses and self.is_full()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._children.busy + len(self._reserved)

    def is_full(self) -> bool:
        """Whether all places are taken; never when closed."""
        return self.taken >= self._settings.max_children and not self.closed

    def let_in(self) -> None:
        """Call *room*, if there is room now."""
        if not self.closed and self.may_accept():
            self._room()
            self.wanted = False  # not before: if room raises, it has to be called again

    def reserve(self, connection: Connection) -> None:
        """Keep a place for *connection*, which cannot be served yet."""
        self._reserved.add(connection)

    def unreserve(self, connection: Connection) -> None:
        """Give up the place that is kept for *connection*, if there is one."""
        self._reserved.discard(connection)

    def refuse(self, connection: Connection, reason: str) -> None:
        """Close *connection*, which was not admitted, with the banner and a line in the log."""
        self._refusals.refused(connection.source, connection.peer, reason)
        if self._banner:
            _say_goodbye(connection, self._banner)
        self.release(connection)

    def give_up(self, connection: Connection, reason: str) -> None:
        """Close *connection*, which was admitted but not served, with a line in the log."""
        self._journal.given_up(connection.peer, reason)
        self.release(connection)

    def release(self, connection: Connection) -> None:
        """Close *connection* here, and stop counting it.  A second call does nothing."""
        if connection.descriptor >= 0:
            connection.close()
        if connection.counted:
            self.sources.ended(connection)

    def forget(self, connection: Connection) -> None:
        """Remove *connection* from all that this object has, and close it."""
        self._reserved.discard(connection)
        if connection in self.waiting:
            self.waiting.remove(connection)
        self.release(connection)

    def close(self) -> None:
        """Log the refusals that have been counted, at once."""
        self._refusals.close()


def _say_goodbye(connection: Connection, banner: bytes) -> None:
    """Send as much of *banner* as the kernel takes at once, and end this side."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection.descriptor)
    try:
        socket.send(banner, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        socket.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    finally:
        socket.detach()
