"""
The guard: what the reactor calls, it calls through here.

Twisted takes a reader that raises out of the reactor, and it does so for good: an exception on
the way of one connection would close a port, or leave the ends of all children unseen.  So
whatever is raised below ends here at the latest, is told in the log, and the reader is watched
on.  Closer to where it happens it costs one connection (Gate.passed, Pool.fault) or one
descriptor (Watcher); what is called later is guarded by Later and the service's clock.
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
    What a reactor watches in the place of a reader that it must never lose.

    :param reader: its doRead may raise whatever it likes.
    :ivar wanted: it shall be watched.
    """

    def __init__(
        self, reactor: Any, clock: IReactorTime, reader: _Reader, journal: Journal
    ) -> None:
        self.wanted = False
        self._reactor = reactor
        self._reader = reader
        self._name = name = reader.logPrefix()
        # asked by Twisted at each event, hence nothing of ours around them
        self.fileno = reader.fileno
        self.logPrefix = name.__str__
        self._journal = journal
        # the first time at once; one that raises again and again shall not keep the reactor busy
        self._again = Backoff(clock, self._watch, first=0.001, most=1.0)

    def watch(self) -> None:
        """Have the reactor watch it; watching twice does no harm."""
        if not self.wanted:
            if not self._again.armed:
                self._watch()
            self.wanted = True

    def ignore(self) -> None:
        """Do not watch it any more; twice does no harm."""
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
        """The reactor has dropped it, which only ignore may make it do."""
        if self.wanted:
            self._journal.port_dropped(self._name)
            self._again.failed()
