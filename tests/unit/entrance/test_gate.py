"""Tests for the gate: accepting from ports, only while there is room."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of
from twisted_fork.entrance.gate import Gate
from twisted_fork.entrance.ports import Port, endpoint_from, open_port
from twisted_fork.places.connection import Connection


class GateTests(Case):
    """A gate over a real port, and a reactor that turns when it is told to."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.admitted: list[Connection] = []
        self.room = 1000
        self.ports = [self.open_port(), self.open_port()]
        self.gate = Gate(
            self.reactor,
            self.ports,
            journal_of(self.lines),
            lambda: len(self.admitted) < self.room,
            self.admitted.append,
            lambda connection: None,
        )
        self.finished = False
        self.addCleanup(self.finish)

    def open_port(self) -> Port:
        description = "tcp:0:interface=127.0.0.1"
        return open_port(endpoint_from(self.reactor, description), description)

    def finish(self) -> None:
        for connection in self.admitted:
            connection.close()
        if not self.finished:
            self.finished = True
            done = self.gate.finish()
            self.reactor.advance(0)
            self.successResultOf(done)

    def connect(self, connections: int = 1, port: int = 0) -> list[socket.socket]:
        """Connections that wait in the backlog of a port."""
        address = self.ports[port].socket.getsockname()
        made = [socket.create_connection(address, timeout=10) for _ in range(connections)]
        for connection in made:
            self.addCleanup(connection.close)
        return made

    def turn_to_the_end(self) -> None:
        while self.reactor.turn():
            pass

    def failing(self, number: int, times: int = 1000, port: int = 0) -> list[int]:
        """Let accept fail so many times; what is returned counts down."""
        left = [times]
        accept = self.ports[port].socket._accept  # type: ignore[attr-defined]

        class Failing:
            fileno = self.ports[port].socket.fileno
            close = self.ports[port].socket.close

            def _accept(self) -> tuple[int, object]:
                if left[0]:
                    left[0] -= 1
                    raise OSError(number, os.strerror(number))
                result: tuple[int, object] = accept()
                return result

        for guarded in self.gate._readers:
            acceptor: Any = guarded._reader
            if acceptor._socket is self.ports[port].socket:
                acceptor._socket = Failing()
        return left

    def test_closed_it_accepts_nothing(self) -> None:
        self.connect()
        self.turn_to_the_end()
        self.assertEqual((self.admitted, self.lines), ([], []))

    def test_open_it_accepts_from_every_port_and_says_so_once(self) -> None:
        self.gate.open()
        self.gate.open()
        self.connect(2, port=0)
        self.connect(3, port=1)
        self.turn_to_the_end()
        self.assertEqual(len(self.admitted), 5)
        self.gate.close()
        self.gate.open()
        told = [f"accepting connections address={port.address!r}" for port in self.ports]
        self.assertEqual(self.lines, told)

    def test_a_connection_is_passed_on_blocking_and_not_inheritable(self) -> None:
        self.gate.open()
        (peer,) = self.connect()
        self.turn_to_the_end()
        (connection,) = self.admitted
        host, port = peer.getsockname()
        self.assertEqual(connection.peer, f"{host}:{port}")
        self.assertTrue(os.get_blocking(connection.descriptor))
        self.assertFalse(os.get_inheritable(connection.descriptor))

    def test_it_accepts_no_more_than_there_is_room_for_and_the_rest_later(self) -> None:
        self.room = 3
        self.gate.open()
        self.connect(5)
        self.turn_to_the_end()
        self.assertEqual((len(self.admitted), self.reactor.readers), (3, []))
        self.room = 4
        self.gate.open()
        self.turn_to_the_end()
        self.assertEqual(len(self.admitted), 4)
        self.room = 5
        self.gate.open()
        self.turn_to_the_end()
        self.assertEqual(len(self.admitted), 5)

    def test_one_port_does_not_keep_the_reactor_to_itself(self) -> None:
        self.gate.open()
        self.connect(100, port=0)
        self.connect(1, port=1)
        peers: set[str] = set()
        while len(self.admitted) < 101:
            before = len(self.admitted)
            self.assertTrue(self.reactor.turn(10))
            self.assertLessEqual(len(self.admitted) - before, 65)
            peers.update(connection.peer for connection in self.admitted)
        self.assertEqual(len(peers), 101)

    CANNOT = "accept failing errno=EMFILE reason='Too many open files' retry=0.050"

    def test_without_descriptors_it_says_so_once_waits_and_loses_nothing(self) -> None:
        left = self.failing(errno.EMFILE, times=4)
        self.gate.open()
        self.connect(3)
        waits = []
        while not self.admitted:
            self.turn_to_the_end()
            if calls := self.reactor.getDelayedCalls():
                self.assertEqual(self.reactor.readers, [])
                waits.append(calls[0].getTime() - self.reactor.seconds())
                self.gate.open()
                self.assertEqual(self.reactor.readers, [], "it opens in its own time")
                self.reactor.advance(waits[-1])
        self.assertEqual(left, [0])
        self.assertEqual([round(wait / waits[0], 3) for wait in waits], [1, 2, 4, 8])
        self.turn_to_the_end()
        self.assertEqual(len(self.admitted), 3)
        self.assertEqual(self.lines[2:], [self.CANNOT])
        self.reactor.advance(1)
        self.connect(1)
        self.turn_to_the_end()
        self.assertEqual(self.lines[3:], ["accept recovered failures=4"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_succeeds_now_and_then_is_one_spell(self) -> None:
        left = self.failing(errno.EMFILE, times=0)
        self.gate.open()
        waits = set()
        for number in range(10):
            self.connect(1)
            left[0] = 1
            self.turn_to_the_end()
            (call,) = self.reactor.getDelayedCalls()
            waits.add(round(call.getTime() - self.reactor.seconds(), 3))
            self.reactor.advance(0.5)
            self.turn_to_the_end()
            self.assertEqual(len(self.admitted), number + 1)
        self.assertEqual(self.lines[2:], [self.CANNOT])
        self.assertEqual(len(waits), 1, "who succeeds does not wait longer and longer")

    def test_a_peer_that_has_gone_is_passed_over(self) -> None:
        for number in (errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN):
            self.failing(number, times=2)
            self.gate.open()
            before = len(self.admitted)
            self.connect(2)
            self.turn_to_the_end()
            self.assertEqual(len(self.admitted), before + 2)
        self.assertEqual((len(self.lines), self.reactor.getDelayedCalls()), (2, []))

    def test_finished_it_is_closed_for_good(self) -> None:
        self.gate.open()
        self.finish()
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        self.gate.open()
        self.assertEqual(self.reactor.readers, [])

    def test_finishing_ends_a_failing_spell(self) -> None:
        self.failing(errno.ENFILE)
        self.gate.open()
        self.connect()
        self.turn_to_the_end()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.finish()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
