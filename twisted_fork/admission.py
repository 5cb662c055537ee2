"""
Admission: from the gate to the pool, by way of the PROXY header where one is expected.
"""

from __future__ import annotations

from typing import Any

from twisted_fork.accepted import Connection
from twisted_fork.journal import Journal
from twisted_fork.pool import Pool
from twisted_fork.settings import Settings

__all__ = ["Admission"]


class Admission:
    """
    Takes each connection that was accepted, and either gives it to the pool or refuses it
    with a line in the log.
    """

    def __init__(self, reactor: Any, settings: Settings, pool: Pool, journal: Journal) -> None:
        self._reactor = reactor
        self._settings = settings
        self._pool = pool
        self._journal = journal
        self._readers: dict[Connection, Any] = {}
        self._stopping = False
        if settings.proxy_protocol:
            from twisted_fork import proxied

            self._trusted = proxied.Trusted(settings.proxy_from)
            self._reader = proxied.HeaderReader

    def accepted(self, connection: Connection) -> None:
        """A connection has been accepted."""
        if not self._settings.proxy_protocol:
            self._pool.serve(connection)
        elif connection not in self._trusted:
            self.refuse(connection, "not allowed to send a PROXY header, see --proxy-from")
        else:
            self._pool.reserve(1)
            self._readers[connection] = self._reader(
                self._reactor,
                connection,
                self._settings.handshake_timeout,
                self._header_read,
                self._header_failed,
            )

    def refuse(self, connection: Connection, reason: str) -> None:
        """Close a connection, and say why."""
        self._journal.given_up(connection.peer, reason)
        connection.close()

    def stop(self) -> None:
        """Refuse those whose header is still awaited."""
        for reader in list(self._readers.values()):
            reader.stop()

    def _header_read(self, connection: Connection) -> None:
        del self._readers[connection]
        self._pool.reserve(-1)
        self._pool.serve(connection)

    def _header_failed(self, connection: Connection, reason: str) -> None:
        del self._readers[connection]
        self.refuse(connection, reason)
        self._pool.reserve(-1)
