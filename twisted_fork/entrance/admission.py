"""
Admission: from the gate to the pool, past all that may keep a connection out, and by
way of the PROXY header where one is expected.
"""

from __future__ import annotations

import _socket
import math
import os
from typing import Any

from twisted.internet.interfaces import IReactorTime

from twisted_fork.entrance.networks import Guard, Prefixes
from twisted_fork.entrance.refusals import Refusals
from twisted_fork.entrance.sources import Penalties, Rate
from twisted_fork.journal import Journal
from twisted_fork.kernel.connection import Connection
from twisted_fork.kernel.watcher import Watching
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings

__all__ = ["Admission", "Judge"]


class Judge:
    """
    Says whether a connection may be served, and if not, why: a function of what is
    remembered of its source.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._guard = Guard(settings.allow, settings.deny)
        self._prefixes = Prefixes(*settings.source_prefix)
        self._rate = Rate(*settings.rate) if settings.rate else None
        self.penalties = Penalties(settings.penalty) if settings.penalty else None

    def identify(self, connection: Connection) -> None:
        """Find out whose connection it is."""
        if isinstance(connection.address, tuple):
            connection.source = self._prefixes.source(connection.address[0])

    def verdict(self, connection: Connection, now: float) -> str | None:
        """
        Why *connection* may not be served at *now* (seconds); None if it may.

        :raises: nothing; but a token of its source is taken where there is a rate.
        """
        source, most = connection.source, self._settings.max_per_source
        if isinstance(connection.address, tuple) and not self._guard.admits(connection.address[0]):
            return "not allowed"
        if self.penalties is not None and (left := self.penalties.left(source, now)):
            return f"penalty, {math.ceil(left)} seconds left"
        if most is not None and self._pool.sources.alive(source) >= most:
            return f"has {most} connections"
        if self._rate is not None and not self._rate.admits(source, now):
            return "too many new connections"
        return None


class Admission:
    """
    Takes each connection that was accepted, and either gives it to the pool or refuses it
    with a line in the log.
    """

    def __init__(
        self,
        clock: IReactorTime,
        watcher: Watching,
        settings: Settings,
        pool: Pool,
        journal: Journal,
    ) -> None:
        self._clock = clock
        self._watcher = watcher
        self._settings = settings
        self._pool = pool
        self.judge = Judge(settings, pool)
        self._refusals = Refusals(clock, journal)
        self._banner = os.fsencode(settings.banner_refused or "")
        self._readers: dict[Connection, Any] = {}
        if settings.proxy_protocol:
            from twisted_fork.entrance import proxy

            self._trusted = proxy.Trusted(settings.proxy_from)
            self._reader = proxy.HeaderReader

    def may_accept(self) -> bool:
        """Whether to accept one more connection: there is room, or it is to be refused."""
        return self._pool.may_accept() or self._full()

    def accepted(self, connection: Connection) -> None:
        """A connection has been accepted."""
        if not self._settings.proxy_protocol:
            self._admit(connection)
        elif connection not in self._trusted:
            self._refuse(connection, "not allowed to send a PROXY header, see --proxy-from")
        elif self._full():
            self._refuse(connection, "full")
        else:
            self._pool.reserve(connection)
            reader = self._readers[connection] = self._reader(
                self._clock,
                self._watcher,
                connection,
                self._settings.handshake_timeout,
                self._header_read,
                self._header_failed,
            )
            reader.start()

    def fault(self, connection: Connection) -> None:
        """Something was raised on the way of *connection*, and is being handled."""
        reader = self._readers.pop(connection, None)
        if reader is not None:
            reader.let_go()
        self._pool.abandon(connection)

    def stop(self) -> None:
        """Refuse those whose header is still awaited."""
        for connection, reader in list(self._readers.items()):
            try:
                reader.stop()
            except BaseException:
                self.fault(connection)
        self._refusals.close()

    def _full(self) -> bool:
        return self._settings.when_full == "refuse" and self._pool.is_full()

    def _admit(self, connection: Connection) -> None:
        self.judge.identify(connection)
        reason = self.judge.verdict(connection, self._clock.seconds())
        if reason is None and self._full():
            reason = "full"
        if reason is None:
            self._pool.serve(connection)
        else:
            self._refuse(connection, reason)

    def _refuse(self, connection: Connection, reason: str) -> None:
        self._refusals.refused(connection.source, connection.peer, reason)
        if self._banner:
            _say_goodbye(connection, self._banner)
        connection.close()

    def _header_read(self, connection: Connection) -> None:
        try:
            del self._readers[connection]
            self._pool.unreserve(connection)
            self._admit(connection)
        except BaseException:
            self.fault(connection)

    def _header_failed(self, connection: Connection, reason: str) -> None:
        try:
            del self._readers[connection]
            self._refuse(connection, reason)
            self._pool.unreserve(connection)
        except BaseException:
            self.fault(connection)


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
