"""
Watching children: their pidfds and channels are in one epoll set, which the reactor watches as a
whole.

So with any reactor, and with any number of children, the reactor has one descriptor more to
look at, and learns of many children in one turn; see "epoll file descriptor within another epoll
instance" in epoll(7).
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.kernel.guard import GuardedReader

__all__ = ["Readable", "Watcher", "Watching"]

_MOST_AT_ONCE = 64
"""Most descriptors that are read in one turn of the reactor."""

_LONGEST = 0.01
"""Seconds after which no further descriptor is read in this turn."""


class Readable(Protocol):
    """What is watched."""

    def doRead(self) -> object:
        """There is something to read, or the other side has ended."""

    def raised(self) -> object:
        """
        doRead has raised, and that has been logged: repair what it was about.  It is watched on,
        unless this raises too.
        """


class Watching(Protocol):
    """Calls readers when there is something to read: a Watcher, or a test's reactor."""

    def watch(self, descriptor: int, reader: Readable) -> object:
        """Call the reader's doRead from now on whenever there is something to read."""

    def ignore(self, descriptor: int, reader: Readable) -> object:
        """Stop calling it."""


class Watcher:
    """
    Calls readers as a reactor would, and goes on when one raises.

    :raises OSError: out of descriptors.
    """

    def __init__(self, reactor: Any, clock: IReactorTime, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._readers: dict[int, Readable] = {}
        self._epoll = select.epoll()
        self.fileno = self._epoll.fileno
        self._guarded = GuardedReader(reactor, clock, self, journal)
        self._guarded.watch()

    def watch(self, descriptor: int, reader: Readable) -> None:
        """
        Call the reader's doRead whenever there is something to read, or the other side has ended.

        :raises OSError: the kernel can watch no more (``ENOSPC``), or it is watched already.
        """
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def ignore(self, descriptor: int, reader: Readable) -> None:
        """Stop calling it, if it is watched.  The descriptor has to be open."""
        if self._readers.get(descriptor) is reader:
            del self._readers[descriptor]
            try:
                self._epoll.unregister(descriptor)
            except OSError:
                pass

    def close(self) -> None:
        """Stop watching everything."""
        if not self._epoll.closed:
            self._guarded.ignore()
            self._readers.clear()
            self._epoll.close()

    def logPrefix(self) -> str:
        return "children"

    def doRead(self) -> None:
        """Call the readers that have something to read; the rest is called in the next turn."""
        end = self._clock.seconds() + _LONGEST
        for fd, _ in self._epoll.poll(0, _MOST_AT_ONCE):
            reader = self._readers.get(fd)
            if reader is None:
                continue
            try:
                reader.doRead()
            except BaseException:
                self._tell(reader)
                self._raised(fd, reader)
            if self._epoll.closed or self._clock.seconds() > end:
                return

    def _raised(self, fd: int, reader: Readable) -> None:
        try:
            reader.raised()
        except BaseException:
            # it would be called again at once, and without end
            self._tell(reader)
            self.ignore(fd, reader)

    def _tell(self, reader: Readable) -> None:
        self._journal.fault(getattr(reader, "peer", ""), getattr(reader, "pid", None))
