"""
Admission: from the gate to the pool.  It reads the PROXY header where one is expected, and
refuses connections that may not be served.
"""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.interfaces import IReactorTime

from twisted_fork.entrance.networks import Guard, Prefixes
from twisted_fork.kernel.watcher import Watching
from twisted_fork.places.connection import Connection
from twisted_fork.places.places import Places
from twisted_fork.places.sources import Penalties, Rate
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings

__all__ = ["Admission", "Judge"]


class Judge:
    """
    Decides whether a connection may be served, by what is remembered of its source.
    """

    def __init__(self, settings: Settings, places: Places) -> None:
        self._settings = settings
        self._places = places
        self._guard = Guard(settings.allow, settings.deny)
        self._all_may = not settings.allow and not settings.deny
        self._prefixes = Prefixes(*settings.source_prefix)
        self._rate = Rate(*settings.rate) if settings.rate else None
        self.penalties = Penalties(settings.penalty) if settings.penalty else None

    def verdict(self, connection: Connection, now: float) -> str | None:
        """
        Set the source of *connection*, and decide whether it may be served at *now* (seconds).
        With --rate, this takes a token of its source.

        :returns: the reason why it may not; None if it may.
        """
        address, most = connection.address, self._settings.max_per_source
        if isinstance(address, tuple):
            connection.source = self._prefixes.source(address[0])
            if not self._all_may and not self._guard.admits(address[0]):
                return "not allowed"
        source = connection.source
        if self.penalties is not None and (left := self.penalties.left(source, now)):
            return f"penalty, {math.ceil(left)} seconds left"
        if most is not None and self._places.sources.alive(source) >= most:
            return f"has {most} connections"
        if self._rate is not None and not self._rate.admits(source, now):
            return "too many new connections"
        return None


class Admission:
    """
    Gives each accepted connection to the pool, or refuses it with a line in the log.
    """

    def __init__(
        self,
        clock: IReactorTime,
        watcher: Watching,
        settings: Settings,
        pool: Pool,
    ) -> None:
        self._clock = clock
        self._watcher = watcher
        self._settings = settings
        self._pool = pool
        self._places = pool.places
        self.judge = Judge(settings, pool.places)
        self._readers: dict[Connection, Any] = {}
        self.accepted = self._admit
        """accepted(connection): a connection has been accepted."""
        if settings.proxy_protocol:
            self.accepted = self._await_header
            from twisted_fork.entrance import proxy

            self._trusted = proxy.Trusted(settings.proxy_from)
            self._reader = proxy.HeaderReader

    def _await_header(self, connection: Connection) -> None:
        if connection not in self._trusted:
            self._places.refuse(connection, "not allowed to send a PROXY header, see --proxy-from")
        elif self._places.refuses and self._places.is_full():
            self._places.refuse(connection, "full")
        else:
            self._places.reserve(connection)
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
        """An exception about *connection* is being handled: log it, and close the connection."""
        reader = self._readers.pop(connection, None)
        if reader is not None:
            reader.let_go()
        self._pool.abandon(connection)

    def stop(self) -> None:
        """Refuse the connections whose header has not come yet."""
        for connection, reader in list(self._readers.items()):
            try:
                reader.stop()
            except BaseException:
                self.fault(connection)
        self._places.close()

    def _admit(self, connection: Connection) -> None:
        reason = self.judge.verdict(connection, self._clock.seconds())
        if reason is None and self._places.refuses and self._places.is_full():
            reason = "full"
        if reason is None:
            self._pool.serve(connection)
        else:
            self._places.refuse(connection, reason)

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
            self._places.refuse(connection, reason)
            self._pool.unreserve(connection)
        except BaseException:
            self.fault(connection)
