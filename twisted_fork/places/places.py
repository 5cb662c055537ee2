"""
Places: which connections there are, and which wait; who comes in, and the one door by which a
connection leaves that nobody has served.
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
    """They serve a connection, or have been given one, or are to be made for one."""


class Places:
    """
    Places for connections: as many as there may be children.

    :param children: how many there are.
    :param room: is called when there is room for a connection after may_accept said no,
        or has not been asked.
    :ivar can_place: is asked whether a child could be given one more connection now.
    :ivar waiting: connections that no child could be given yet.
    :ivar refuses: whoever comes when all places are taken is refused.
    :ivar sources: whose connections are alive.
    :ivar wanted: somebody may have been kept out: there is to be told when there is room.
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
        """Whether to accept one more connection: there is room, or it is to be refused."""
        busy = self._children.busy + len(self._reserved)
        look = policy.Look(busy, len(self.waiting), self.can_place(), self.closed)
        if policy.may_accept(self._settings, look):
            return True
        self.wanted = True
        return self.refuses and self.is_full()

    @property
    def taken(self) -> int:
        """How many there are that no other connection can have."""
        return self._children.busy + len(self._reserved)

    def is_full(self) -> bool:
        """Whether as many connections are being served as may be."""
        return self.taken >= self._settings.max_children and not self.closed

    def let_in(self) -> None:
        """Something has changed, and somebody was kept out: perhaps there is room now."""
        if not self.closed and self.may_accept():
            self._room()
            self.wanted = False  # not before: if that raised, they are still to be let in

    def reserve(self, connection: Connection) -> None:
        """Keep a place for *connection*, which is not ready to be served."""
        self._reserved.add(connection)

    def unreserve(self, connection: Connection) -> None:
        """Keep none for it any more."""
        self._reserved.discard(connection)

    def refuse(self, connection: Connection, reason: str) -> None:
        """*connection* is not to be served, and is over."""
        self._refusals.refused(connection.source, connection.peer, reason)
        if self._banner:
            _say_goodbye(connection, self._banner)
        self.release(connection)

    def give_up(self, connection: Connection, reason: str) -> None:
        """*connection* was to be served, and could not be: it is over."""
        self._journal.given_up(connection.peer, reason)
        self.release(connection)

    def release(self, connection: Connection) -> None:
        """*connection* is over: closed here, and not counted any more.  Twice does no harm."""
        if connection.descriptor >= 0:
            connection.close()
        if connection.counted:
            self.sources.ended(connection)

    def forget(self, connection: Connection) -> None:
        """Something went wrong about *connection*, wherever it was."""
        self._reserved.discard(connection)
        if connection in self.waiting:
            self.waiting.remove(connection)
        self.release(connection)

    def close(self) -> None:
        """Tell at once what there is still to tell of refusals."""
        self._refusals.close()


def _say_goodbye(connection: Connection, banner: bytes) -> None:
    """Send *banner*, if the kernel takes it at once."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection.descriptor)
    try:
        socket.send(banner, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        socket.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    finally:
        socket.detach()
