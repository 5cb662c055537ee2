"""Tests for admission by way of the PROXY header; what else it judges by is in test_judge."""

from __future__ import annotations

import socket
from typing import Any, cast

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of
from twisted_fork.entrance.admission import Admission
from twisted_fork.journal import Journal
from twisted_fork.places.connection import Connection
from twisted_fork.places.places import Places
from twisted_fork.pool.pool import Pool
from twisted_fork.pool.roster import Roster
from twisted_fork.settings import Settings

V1 = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n"


class FakePool:
    """Takes whatever it is given."""

    def __init__(self, settings: Settings, reactor: FakeReactor, journal: Journal) -> None:
        self.served: list[Connection] = []
        self.places = Places(settings, reactor, journal, Roster(), lambda: None)
        self.places.can_place = lambda: True
        self.abandoned: list[Connection] = []
        self.broken = False

    @property
    def reserved(self) -> int:
        """How many places are kept."""
        return self.places.taken

    def serve(self, connection: Connection) -> None:
        if self.broken:
            raise ZeroDivisionError
        self.served.append(connection)

    def unreserve(self, connection: Connection) -> None:
        if self.broken:
            raise ZeroDivisionError
        self.places.unreserve(connection)

    def abandon(self, connection: Connection) -> None:
        self.abandoned.append(connection)
        self.places.unreserve(connection)


class ProxiedTests(Case):
    """A connection is served when its header has been read, and refused otherwise."""

    def admission(self, **given: Any) -> Admission:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        settings = Settings(proxy_protocol=True, handshake_timeout=3.0, **given)
        self.pool = FakePool(settings, self.reactor, journal_of(self.lines))
        made = Admission(self.reactor, self.reactor, settings, cast(Pool, self.pool))
        self.addCleanup(made.stop)
        return made

    def connect(self, host: str = "127.0.0.1") -> tuple[socket.socket, Connection]:
        """A client, and its connection as it was accepted."""
        client, accepted = socket.socketpair()
        self.addCleanup(client.close)
        connection = Connection(accepted.detach(), (host, 1))
        self.addCleanup(connection.close)
        return client, connection

    def test_it_takes_a_place_until_its_header_has_been_read(self) -> None:
        admission = self.admission()
        client, connection = self.connect()
        admission.accepted(connection)
        self.assertEqual((self.pool.served, self.pool.reserved), ([], 1))
        client.sendall(V1)
        self.reactor.turn()
        self.assertEqual((self.pool.served, self.pool.reserved), ([connection], 0))
        self.assertEqual(connection.peer, "198.51.100.7:4711")
        self.assertEqual(self.lines, [])

    def test_it_gives_its_place_back_when_there_is_no_header(self) -> None:
        admission = self.admission()
        client, connection = self.connect()
        admission.accepted(connection)
        client.sendall(b"hello")
        self.reactor.turn()
        self.assertEqual((self.pool.served, self.pool.reserved), ([], 0))
        self.assertEqual(connection.descriptor, -1)
        told = "connection refused peer=127.0.0.1:1 reason='bad PROXY header: it does not begin"
        self.assertTrue(self.lines[0].startswith(told), self.lines)

    def test_it_is_refused_when_its_header_takes_too_long(self) -> None:
        admission = self.admission()
        _, connection = self.connect()
        admission.accepted(connection)
        self.reactor.advance(3.1)
        self.assertEqual(connection.descriptor, -1)
        self.assertIn("reason='no PROXY header in time'", self.lines[0])

    def test_whoever_is_not_trusted_is_refused_unread(self) -> None:
        admission = self.admission(proxy_from=("192.0.2.0/24",))
        client, connection = self.connect()
        client.sendall(V1)
        admission.accepted(connection)
        self.assertEqual((self.pool.served, self.pool.reserved), ([], 0))
        self.assertEqual((connection.descriptor, self.reactor.readers), (-1, []))
        self.assertIn("not allowed to send a PROXY header, see --proxy-from", self.lines[0])

    def test_whoever_comes_when_all_are_busy_is_refused_unread_if_that_was_asked_for(self) -> None:
        admission = self.admission(when_full="refuse")
        self.patch(self.pool.places, "is_full", lambda: True)
        client, connection = self.connect()
        client.sendall(V1)
        admission.accepted(connection)
        self.assertEqual((self.pool.reserved, connection.descriptor), (0, -1))
        self.assertIn("reason=full", self.lines[0])

    def test_the_real_peer_is_judged_not_the_proxy(self) -> None:
        admission = self.admission(deny=("198.51.100.0/24",))
        client, connection = self.connect()
        admission.accepted(connection)
        client.sendall(V1)
        self.reactor.turn()
        self.assertEqual((self.pool.served, self.pool.reserved), ([], 0))
        told = "connection refused peer=198.51.100.7:4711 reason='not allowed'"
        self.assertEqual(self.lines, [told])

    def test_who_is_awaited_is_refused_when_it_stops(self) -> None:
        admission = self.admission()
        connections = [self.connect()[1] for _ in range(3)]
        for connection in connections:
            admission.accepted(connection)
        admission.stop()
        self.assertEqual([each.descriptor for each in connections], [-1] * 3)
        self.assertEqual((self.pool.reserved, self.reactor.readers), (0, []))
        self.assertIn("reason='shutting down'", self.lines[0])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_is_awaited_no_more_is_not_refused_when_it_stops(self) -> None:
        for header, served in ((V1, 1), (b"hello", 0)):
            admission = self.admission()
            client, connection = self.connect()
            admission.accepted(connection)
            client.sendall(header)
            self.reactor.turn()
            lines = list(self.lines)
            admission.stop()
            self.assertEqual((len(self.pool.served), self.lines), (served, lines))
            self.assertEqual((connection.descriptor >= 0, self.pool.abandoned), (bool(served), []))

    def awaited(self, count: int = 1) -> tuple[Admission, list[tuple[socket.socket, Connection]]]:
        """So many connections whose headers have not come."""
        admission = self.admission()
        pairs = [self.connect() for _ in range(count)]
        for _, connection in pairs:
            admission.accepted(connection)
        return admission, pairs

    def test_a_fault_on_its_way_is_told_to_the_pool_and_its_header_not_awaited(self) -> None:
        admission, [(_, connection)] = self.awaited()
        admission.fault(connection)
        self.assertEqual(self.pool.abandoned, [connection])
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_so_is_one_without_a_header(self) -> None:
        admission = self.admission()
        _, connection = self.connect()
        admission.fault(connection)
        self.assertEqual(self.pool.abandoned, [connection])

    def test_it_is_abandoned_when_something_raises_after_its_header(self) -> None:
        for header in (V1, b"hello"):
            _, [(client, connection)] = self.awaited()
            self.pool.broken = True
            client.sendall(header)
            self.reactor.turn()
            self.assertEqual(self.pool.abandoned, [connection])

    def test_when_it_stops_one_that_raises_costs_no_other(self) -> None:
        admission, pairs = self.awaited(3)
        broken = pairs[0][1]

        def raising() -> None:
            raise ZeroDivisionError

        self.patch(admission._readers[broken], "stop", raising)
        admission.stop()
        self.assertEqual(self.pool.abandoned, [broken])
        self.assertEqual([each.descriptor for _, each in pairs[1:]], [-1, -1])
        self.assertEqual((self.pool.reserved, self.reactor.readers), (0, []))
