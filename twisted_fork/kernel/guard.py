"""
The guard: everything that the reactor watches for this package is called through here.

If a reader raises, Twisted stops watching it permanently: an exception about one connection would
close a port, or hide the ends of all children.  So every exception that comes up to here is
logged, and the reader is watched again.  Most exceptions are caught before: they cost one
connection (Gate.fault, Pool.fault) or one descriptor (Watcher).  Delayed calls that raise are
repeated by Later.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_fork.journal import Journal
from twisted_fork.timers import Backoff

__all__ = ["GuardedReader"]


class _Reader(Protocol):
    def fileno(self) -> int: ...

    def logPrefix(self) -> str: ...

    def doRead(self) -> object: ...


@implementer(IReadDescriptor)
class GuardedReader:
    """
    What the reactor watches in place of a reader that must not be lost.

    :param reader: its doRead may raise anything.
    :ivar wanted: it has to be watched.
    """

    def __init__(
        self, reactor: Any, clock: IReactorTime, reader: _Reader, journal: Journal
    ) -> None:
        self.wanted = False
        self._reactor = reactor
        self._reader = reader
        self._name = name = reader.logPrefix()
        # Twisted asks these at each event, so they are the bare functions
        self.fileno = reader.fileno
        self.logPrefix = name.__str__
        self._journal = journal
        # soon after the first exception; with growing delays after more, to spare the reactor
        self._again = Backoff(clock, self._watch, first=0.001, most=1.0)

    def watch(self) -> None:
        """Have the reactor watch it; a second call does nothing."""
        if not self.wanted:
            if not self._again.armed:
                self._watch()
            self.wanted = True

    def ignore(self) -> None:
        """Stop watching it; a second call does nothing."""
        self.wanted = False
        self._again.cancel()
        self._reactor.removeReader(self)

    def _watch(self) -> None:
        self._reactor.addReader(self)

    def doRead(self) -> None:
        try:
            self._reader.doRead()
        except BaseException:
            self._journal.fault()
            self._reactor.removeReader(self)
            self._again.failed()
        else:
            if self._again.failures:
                self._again.succeeded()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped watching it, without a call of ignore: watch it again."""
        if self.wanted:
            self._journal.port_dropped(self._name)
            self._again.failed()
