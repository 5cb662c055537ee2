"""Tests for admission where there is room, and where only some may connect."""

from __future__ import annotations

import socket

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.world import FakeConnection, World
from twisted_fork.entrance.admission import Admission, Judge
from twisted_fork.places.connection import Connection

V1 = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n"


class RoomTests(Case):
    """Whoever comes while there is room is served, whatever becomes of those who come later."""

    def test_where_those_who_come_later_are_refused(self) -> None:
        world = World(max_children=1, when_full="refuse")
        reactor = FakeReactor()
        admission = Admission(reactor, reactor, world.settings, world.pool)
        first, second = FakeConnection(1), FakeConnection(2)
        admission.accepted(first)
        admission.accepted(second)
        self.assertEqual([child.connection for child in world.launcher.launched], [first])
        self.assertEqual(
            world.lines, [f"connection refused peer={second.peer} reason=full"], "and no other"
        )

    def test_where_they_come_through_a_proxy_and_are_refused(self) -> None:
        world = World(max_children=1, when_full="refuse", proxy_protocol=True)
        reactor = FakeReactor()
        admission = Admission(reactor, reactor, world.settings, world.pool)
        self.addCleanup(admission.stop)
        proxy, accepted = socket.socketpair()
        self.addCleanup(proxy.close)
        connection = Connection(accepted.detach(), ("127.0.0.1", 1))
        self.addCleanup(connection.close)
        admission.accepted(connection)
        self.assertEqual((world.lines, world.pool.places.taken), ([], 1))
        proxy.sendall(V1)
        reactor.turn()
        self.assertEqual([child.connection for child in world.launcher.launched], [connection])


class AllowTests(Case):
    """Where some networks may connect, no other host may."""

    def test_whoever_is_in_none_of_them_may_not(self) -> None:
        world = World(allow=("198.51.100.0/24",))
        judge = Judge(world.settings, world.pool.places)
        verdicts = [
            judge.verdict(Connection(-1, (host, 1)), 0.0) for host in ("198.51.100.1", "192.0.2.1")
        ]
        self.assertEqual(verdicts, [None, "not allowed"])
