"""
Watching children: their pidfds and channels, in one epoll set that the reactor watches as a
whole.

So whichever reactor it is, and however many children there are, it has one descriptor more
to look at, and hears of many children in one turn; see "epoll file descriptor within another
epoll instance" in epoll(7).
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Watcher", "Watching"]

_MOST_AT_ONCE = 64
"""Descriptors that are read before anything else is done."""


class Watching(Protocol):
    """Whoever calls readers when there is something to read: a reactor, or a Watcher."""

    def addReader(self, reader: Any) -> object:
        """Call its doRead from now on."""

    def removeReader(self, reader: Any) -> object:
        """Do not any more."""


@implementer(IReadDescriptor)
class Watcher:
    """
    Calls readers, as a reactor would.

    :raises OSError: out of descriptors.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._readers: dict[int, IReadDescriptor] = {}
        self._epoll = select.epoll()
        reactor.addReader(self)

    def addReader(self, reader: IReadDescriptor) -> None:
        """
        Call the reader's doRead whenever there is something to read, or it has ended.

        :raises OSError: the kernel can watch no more (``ENOSPC``), or it is watched already.
        """
        fd = reader.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        self._readers[fd] = reader

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Do not any more; nothing happens if it is not watched.  Its descriptor is open."""
        fd = reader.fileno()
        if self._readers.get(fd) is reader:
            del self._readers[fd]
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nobody any more."""
        if not self._epoll.closed:
            self._reactor.removeReader(self)
            self._readers.clear()
            self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        return "children"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""

    def doRead(self) -> None:
        for fd, _ in self._epoll.poll(0, _MOST_AT_ONCE):
            reader = self._readers.get(fd)
            if reader is None:
                continue
            try:
                reader.doRead()
            except Exception:
                self._log.failure("a child could not be read")
                self.removeReader(reader)
                reader.connectionLost(Failure())
            if self._epoll.closed:
                return
