"""
Twisted protocol factories as handlers: a reactor in the child, for one connection.

Twisted's reactor is imported in the child.  A template that loads a factory has imported other
parts of Twisted, but never a reactor.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted_fork.inside.handlers import api

__all__ = ["serving"]


def serving(handler: Any) -> Callable[[socket.socket], None]:
    """
    Make a function that serves a socket with a protocol of *handler*: a factory, its class, or
    the class of a protocol.  It returns when the connection has been lost.
    """

    def serve(connection: socket.socket) -> None:
        from twisted.internet import default
        from twisted.internet.protocol import Factory

        if "twisted.internet.reactor" not in sys.modules:
            # this is all that importing it does; this user may not be allowed to read its file
            default.install()
        from twisted.internet import reactor

        factory = _factory(handler, Factory)
        one = _OneConnection(factory, reactor)
        _log_to_stderr()
        factory.noisy = False  # the server logs its connections
        factory.doStart()
        descriptor = os.dup(connection.fileno())
        os.set_blocking(descriptor, False)
        reactor.callWhenRunning(_adopt, reactor, descriptor, connection.family, one)
        reactor.run()
        factory.doStop()
        connection.setblocking(True)
        if one.failure is not None:
            one.failure.raiseException()

    return serve


def _factory(handler: Any, maker: Any) -> Any:
    from twisted.internet.interfaces import IProtocolFactory

    if not isinstance(handler, type):
        return handler
    makes_protocols: bool = IProtocolFactory.implementedBy(handler)
    return handler() if makes_protocols else maker.forProtocol(handler)


def _adopt(reactor: Any, descriptor: int, family: int, one: _OneConnection) -> None:
    try:
        reactor.adoptStreamConnection(descriptor, family, one)
    except BaseException as failure:
        if isinstance(failure, OSError) and failure.errno == errno.ENOTCONN:
            one.peer_has_gone()
        else:
            one.failed()
    finally:
        os.close(descriptor)


def _log_to_stderr() -> None:
    """What the protocol logs goes to standard error, and so into the server's log."""
    from twisted.logger import (
        FileLogObserver,
        FilteringLogObserver,
        LogLevel,
        LogLevelFilterPredicate,
        eventAsText,
        globalLogBeginner,
    )

    def text(event: Any) -> str:
        return eventAsText(event, includeTimestamp=False) + "\n"

    # for each connection, what Twisted logs about starting and stopping is too much
    worth_it = LogLevelFilterPredicate()
    worth_it.setLogLevelForNamespace("twisted.internet", LogLevel.warn)
    observer = FilteringLogObserver(FileLogObserver(sys.stderr, text), [worth_it])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


class _OneConnection:
    """
    Wraps the factory: gives the protocol the real address of its peer, and stops the reactor
    when the connection is lost, or when the factory refuses it.
    """

    noisy = False

    def __init__(self, factory: Any, reactor: Any) -> None:
        self._factory = factory
        self._reactor = reactor
        self.failure: Any = None

    def buildProtocol(self, address: Any) -> Any:
        real = _address(api.connection().peer, address)
        protocol = self._factory.buildProtocol(real)
        if protocol is None:
            self._reactor.callLater(0, self._stop)
            return None
        lost = protocol.connectionLost

        def connection_lost(*reason: Any) -> Any:
            try:
                return lost(*reason)
            finally:
                self._reactor.callLater(0, self._stop)

        protocol.connectionLost = connection_lost
        if real != address:
            connect = protocol.makeConnection

            def make_connection(transport: Any) -> Any:
                transport.getPeer = lambda: real
                return connect(transport)

            protocol.makeConnection = make_connection
        return protocol

    def doStart(self) -> None:
        """Does nothing: the factory has been started."""

    doStop = doStart

    def peer_has_gone(self) -> None:
        """There is no peer to build a protocol for."""
        self._stop()

    def failed(self) -> None:
        """The protocol could not be built, or raised when it was connected."""
        from twisted.python.failure import Failure

        self.failure = Failure()
        self._stop()

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()


def _address(peer: Any, seen: Any) -> Any:
    """The real peer as an address of Twisted's; *seen* unless a proxy has told another."""
    from twisted.internet.address import IPv4Address, IPv6Address

    if not isinstance(peer, tuple):
        return seen
    made = IPv6Address if ":" in peer[0] else IPv4Address
    real = made("TCP", peer[0], peer[1])
    return seen if (getattr(seen, "host", None), getattr(seen, "port", None)) == peer[:2] else real
