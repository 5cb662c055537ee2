"""Tests for admission: who may be served, why not, and what becomes of the others."""

from __future__ import annotations

import os
import socket
from typing import Any

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, pass_time
from tests.unit.world import World
from twisted_fork.entrance.admission import Admission, Judge
from twisted_fork.places.connection import Connection
from twisted_fork.settings import Settings

SOMEBODY = "192.0.2.1"


class JudgeCase(Case):
    """A judge over a pool among fakes."""

    def make(self, **given: Any) -> Judge:
        self.world = World(quiet=True, **given)  # no accounts of what is no socket
        self.judge = Judge(self.world.settings, self.world.pool.places)
        return self.judge

    def connection(self, host: str = SOMEBODY, port: int = 5000) -> Connection:
        made = Connection(-1, (host, port))
        return made

    def serve(self, host: str) -> None:
        connection = self.connection(host)
        self.assertIsNone(self.judge.verdict(connection, 0.0))
        self.world.pool.serve(connection)

    def verdict(self, host: str = SOMEBODY, now: float = 0.0) -> str | None:
        return self.judge.verdict(self.connection(host), now)


class JudgeTests(JudgeCase):
    """What it says, and why."""

    def test_by_default_everybody_may_be_served(self) -> None:
        self.make()
        self.assertIsNone(self.verdict())
        self.assertIsNone(self.verdict("2001:db8::1"))

    def test_whose_network_is_denied_is_not_allowed(self) -> None:
        self.make(deny=("192.0.2.0/24",))
        self.assertEqual(self.verdict(), "not allowed")
        self.assertIsNone(self.verdict("198.51.100.1"))

    def test_a_unix_peer_is_in_no_network(self) -> None:
        self.make(allow=("192.0.2.0/24",))
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        connection = Connection(ours.fileno(), b"")
        self.assertEqual(connection.source, f"unix:uid={os.getuid()}")
        self.assertIsNone(self.judge.verdict(connection, 0))

    def test_a_source_has_so_many_connections_at_most(self) -> None:
        self.make(max_per_source=2)
        for port in (1, 2):
            connection = self.connection(port=port)
            self.assertIsNone(self.judge.verdict(connection, 0))
            self.world.pool.serve(connection)
        self.assertEqual(self.verdict(), "has 2 connections")
        self.assertIsNone(self.verdict("192.0.2.2"))
        child = self.world.launcher.launched[0]
        self.world.live(child)
        self.world.end(child)
        self.assertIsNone(self.verdict())

    def test_hosts_of_one_network_are_one_source(self) -> None:
        self.make(max_per_source=1, source_prefix=(24, 48))
        self.serve("192.0.2.1")
        self.assertEqual(self.verdict("192.0.2.200"), "has 1 connections")
        self.assertIsNone(self.verdict("192.0.3.1"))
        self.serve("2001:db8:1:2::1")
        self.assertEqual(self.verdict("2001:db8:1:3::1"), "has 1 connections")
        self.assertIsNone(self.verdict("2001:db8:2::1"))

    def test_who_comes_too_fast_is_refused_until_there_is_a_token(self) -> None:
        self.make(rate=(2, 10.0))
        self.assertEqual([self.verdict(), self.verdict()], [None, None])
        self.assertEqual(self.verdict(now=4.9), "too many new connections")
        self.assertIsNone(self.verdict(now=5.1))

    def test_who_is_refused_for_another_reason_loses_no_token(self) -> None:
        self.make(rate=(1, 1000.0), max_per_source=1)
        self.world.pool.serve(self.connection())
        for _ in range(5):
            self.assertEqual(self.verdict(), "has 1 connections")
        child = self.world.launcher.launched[0]
        self.world.live(child)
        self.world.end(child)
        self.assertIsNone(self.verdict())

    def test_a_penalty_is_told_with_its_rest(self) -> None:
        self.make(penalty=60.0)
        assert self.judge.penalties is not None
        self.judge.penalties.offended(SOMEBODY, 0.0)
        self.assertEqual(self.verdict(now=10.0), "penalty, 50 seconds left")
        self.assertEqual(self.verdict(now=58.5), "penalty, 2 seconds left")
        self.assertEqual(self.verdict(now=59.999), "penalty, 1 seconds left")
        self.assertIsNone(self.verdict("192.0.2.2", now=10.0))
        self.assertIsNone(self.verdict(now=60.0))


class AdmissionTests(Case):
    """What becomes of connections; they are real ones."""

    def make(self, **given: Any) -> Admission:
        self.world = World(quiet=True, **given)  # no accounts of what is no socket
        self.reactor = FakeReactor()
        self.lines = self.world.lines
        self.admission = Admission(self.reactor, self.reactor, self.world.settings, self.world.pool)
        self.addCleanup(self.admission.stop)
        return self.admission

    def come(self, host: str = SOMEBODY, port: int = 5000) -> socket.socket:
        """Somebody's connection is accepted; returns their end."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        self.addCleanup(theirs.close)
        connection = Connection(ours.detach(), (host, port))
        self.addCleanup(connection.close)
        self.admission.accepted(connection)
        return theirs

    def test_who_may_be_served_is(self) -> None:
        self.make()
        self.come()
        self.assertEqual(len(self.world.launcher.launched), 1)
        self.assertEqual(self.lines, [])

    def test_who_may_not_is_told_so_and_closed(self) -> None:
        self.make(deny=("192.0.2.0/24",), banner_refused="no\n")
        self.assertEqual(self.come().recv(100), b"no\n")
        self.assertEqual(self.world.launcher.launched, [])
        self.assertEqual(
            self.lines, [f"connection refused peer={SOMEBODY}:5000 reason='not allowed'"]
        )

    def test_it_is_the_end_whoever_else_has_the_connection(self) -> None:
        self.make(deny=("192.0.2.0/24",), banner_refused="no\n")
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        with theirs, socket.socket(fileno=os.dup(ours.fileno())):
            self.admission.accepted(Connection(ours.detach(), (SOMEBODY, 5000)))
            self.assertEqual((theirs.recv(100), theirs.recv(100)), (b"no\n", b""))

    def test_without_a_banner_nothing_is_said(self) -> None:
        self.make(deny=("192.0.2.0/24",))
        self.assertEqual(self.come().recv(100), b"")

    def test_who_is_gone_before_the_banner_does_no_harm(self) -> None:
        self.make(deny=("192.0.2.0/24",), banner_refused="no\n")
        ours, theirs = socket.socketpair()
        theirs.close()
        self.admission.accepted(Connection(ours.detach(), (SOMEBODY, 5000)))
        self.assertEqual(len(self.lines), 1)

    def test_who_reads_nothing_does_not_keep_the_server(self) -> None:
        self.make(deny=("192.0.2.0/24",), banner_refused="no\n")
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                ours.send(b"x" * 65536)
        ours.setblocking(True)
        self.admission.accepted(Connection(ours.detach(), (SOMEBODY, 5000)))
        self.assertEqual(len(self.lines), 1)

    def test_who_comes_from_the_same_network_is_the_same_source(self) -> None:
        self.make(max_per_source=1, source_prefix=(24, 64))
        self.come("192.0.2.1")
        self.come("192.0.2.2")
        self.assertIn("reason='has 1 connections'", self.lines[-1])

    def test_when_full_wait_leaves_others_in_the_backlog(self) -> None:
        self.make(max_children=1)
        self.assertTrue(self.world.pool.places.may_accept())
        self.come()
        self.assertFalse(self.world.pool.places.may_accept())

    def test_when_full_refuse_accepts_and_closes_them(self) -> None:
        self.make(max_children=1, when_full="refuse", banner_refused="full\n")
        self.come()
        self.assertTrue(self.world.pool.places.may_accept())
        self.assertEqual(self.come("192.0.2.2").recv(100), b"full\n")
        self.assertIn("reason=full", self.lines[-1])

    def test_when_full_refuse_accepts_nothing_while_no_child_can_be_made(self) -> None:
        self.make(max_children=2, when_full="refuse")
        self.world.launcher.is_ready = False
        self.assertFalse(self.world.pool.places.may_accept())

    def test_the_same_settings_refuse_whether_full_or_not(self) -> None:
        self.make(max_children=1, when_full="refuse", deny=("192.0.2.0/24",))
        self.come("198.51.100.1")
        self.come()
        self.assertIn("reason='not allowed'", self.lines[-1])

    def test_refusals_of_one_second_are_one_line(self) -> None:
        self.make(deny=("192.0.2.0/24",))
        for port in range(5):
            self.come(port=port)
        self.assertEqual(len(self.lines), 1)
        pass_time(self.world.clock, 1)
        told = f"connections refused source={SOMEBODY} more=4 reason='not allowed'"
        self.assertEqual(self.lines[1:], [told])


class SettingsTests(Case):
    """Defaults."""

    def test_nothing_is_limited_by_default(self) -> None:
        settings = Settings()
        for name in ("max_per_source", "rate", "penalty", "banner_refused"):
            self.assertIsNone(getattr(settings, name), name)
        self.assertEqual((settings.allow, settings.deny), ((), ()))
        self.assertEqual((settings.when_full, settings.source_prefix), ("wait", (32, 64)))
