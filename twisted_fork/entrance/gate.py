"""
The gate: accepting from ports, one connection at a time and only when there is room.

All other connections stay in the kernel's listen backlog.  Twisted's own port would accept up to
a hundred in a row; when the process is out of descriptors, it accepts connections in order to
drop them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.python.failure import Failure

from twisted_fork.entrance.ports import Port
from twisted_fork.journal import Journal
from twisted_fork.kernel.guard import GuardedReader
from twisted_fork.places.connection import Connection
from twisted_fork.timers import Backoff

__all__ = ["Gate"]

_PEER_IS_GONE = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)
"""Errors of accept(2) about one connection, not about the port: accept the next."""

_MOST_AT_ONCE = 64
"""Most connections accepted from a port in one turn of the reactor."""


class _Acceptor:
    """Accepts from one port; what the reactor watches while the gate is open."""

    def __init__(self, gate: Gate, port: Port) -> None:
        self._gate = gate
        self._socket = port.socket
        self.fileno = port.socket.fileno
        self._name = f"port {port.address}"
        self._family = int(port.socket.family)
        self._limit = 1

    def logPrefix(self) -> str:
        return self._name

    def doRead(self) -> None:
        """
        Accept up to four more connections than last time: so a single one costs one call of
        accept, not two.

        socket._accept is what socket.accept calls.  It returns a bare descriptor, close-on-exec
        and blocking, and makes no socket object.
        """
        accepted = 0
        while accepted < self._limit:
            if not self._gate.may_accept():
                self._gate.close()
                return
            try:
                descriptor, address = self._socket._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                break
            except OSError as failure:
                if failure.errno in _PEER_IS_GONE:
                    accepted += 1  # these count too, so a turn ends
                    continue
                self._gate.trouble(failure)
                return
            accepted += 1
            try:
                connection = Connection(descriptor, address, self._family)
            except BaseException:
                self._gate.lost(descriptor)
                continue
            try:
                if self._gate.troubles:
                    self._gate.recovers()
                self._gate.admit(connection)
            except BaseException:
                self._gate.fault(connection)
        self._limit = (
            min(accepted + 4, _MOST_AT_ONCE) if accepted == self._limit else max(1, accepted)
        )


_CALM = 1.0
"""Seconds without a failure that end a spell.  While descriptors become free one by one and are
used at once, successes and failures alternate."""


class Gate:
    """
    All ports of a service, open for connections or closed together.

    :param may_accept: is called before each connection is accepted; returns whether to.
    :param short: is called when no descriptors are left to accept with.
    :ivar admit: is called with each connection.
    :ivar troubles: failures in the present spell.
    :ivar fault: is called with a connection while an exception about it is being handled; has
        to close the connection.
    """

    def __init__(
        self,
        reactor: Any,
        ports: Sequence[Port],
        journal: Journal,
        may_accept: Callable[[], bool],
        admit: Callable[[Connection], object],
        fault: Callable[[Connection], object],
        short: Callable[[], object] = lambda: None,
    ) -> None:
        self.may_accept = may_accept
        self._reactor = reactor
        self._journal = journal
        self.admit = admit
        self.fault = fault
        self._short = short
        self._ports = ports
        self._readers = [
            GuardedReader(reactor, reactor, _Acceptor(self, port), journal) for port in ports
        ]
        self._open = False
        self._announced = False
        self._finished = False
        self.troubles = 0
        self._troubled = 0.0
        self._backoff = Backoff(reactor, self.open)

    def open(self) -> bool:
        """
        Accept connections from now on; does nothing while a retry is due, or after finish.

        :returns: whether connections are accepted for the first time.
        """
        if self._open or self._finished or self._backoff.armed:
            return False
        for reader in self._readers:
            reader.watch()
        first = not self._announced
        if first:
            for port in self._ports:
                self._journal.accepting(port.address)
            self._announced = True
        self._open = True  # last: if something raises, all of it is done again
        return first

    def close(self) -> None:
        """Accept nothing until open is called."""
        self._open = False
        for reader in self._readers:
            reader.ignore()

    def lost(self, descriptor: int) -> None:
        """Close an accepted descriptor, while the exception that makes it useless is handled."""
        self._journal.fault()
        os.close(descriptor)

    def recovers(self) -> None:
        """A connection has been accepted after failures."""
        self._backoff.succeeded()
        if self._reactor.seconds() - self._troubled >= _CALM:
            self._journal.accept_recovered(self.troubles)
            self.troubles = 0

    def trouble(self, failure: OSError) -> None:
        """accept(2) has failed, mostly for lack of descriptors or memory: close, retry later."""
        self.close()
        if failure.errno in (errno.EMFILE, errno.ENFILE):
            self._short()
        self.troubles += 1
        self._troubled = self._reactor.seconds()
        retry = self._backoff.failed()
        if self.troubles == 1:
            self._journal.accept_failing(failure.errno or 0, retry)

    def finish(self) -> Deferred[Any]:
        """Close the ports permanently.

        :returns: a Deferred that fires when they are closed.
        """
        self.close()
        self._finished = True
        self._backoff.cancel()
        return gatherResults(
            maybeDeferred(port.close).addErrback(self._not_closed, port) for port in self._ports
        )

    def _not_closed(self, failure: Failure, port: Port) -> None:
        self._journal.port_trouble(port.address, str(failure.value))
