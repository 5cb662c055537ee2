"""Tests for what a child tells of the connection that it has closed."""

from __future__ import annotations

import os
import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_fork import wire
from twisted_fork.inside.account import Account, stderr_now
from twisted_fork.inside.guest import Connection
from twisted_fork.tap import Tap

from .cases import Case
from .fakes import journal_of

numbers = st.integers(0, 2**64 - 1)


class AccountTests(Case):
    """A child's end of it."""

    def setUp(self) -> None:
        self.reading, writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        stderr = os.dup(2)
        os.dup2(writing, 2)
        os.close(writing)
        self.addCleanup(os.close, stderr)
        self.addCleanup(os.dup2, stderr, 2)

    def told(self, account: Account) -> bytes:
        account.tell()
        os.write(2, b".")
        return os.read(self.reading, 1000)[:-1]

    def test_what_it_saw_is_told(self) -> None:
        account = Account(stderr_now())
        with socket.create_server(("127.0.0.1", 0)) as port:
            client = socket.create_connection(port.getsockname(), timeout=10)
            ours, _ = port.accept()
        with client, ours:
            client.sendall(b"hello")
            ours.recv(5)
            account.look(ours)
        self.assertEqual(self.told(account), wire.account(5, 0))

    def test_of_what_is_no_tcp_connection_nothing_is_told(self) -> None:
        account = Account(stderr_now())
        for connection in socket.socketpair():
            with connection:
                account.look(connection)
        self.assertEqual(self.told(account), b"")

    def test_nothing_is_told_where_standard_error_is_something_else_now(self) -> None:
        account = Account(stderr_now() + 1)
        account.amount = (1, 2)
        self.assertEqual(self.told(account), b"")

    def test_a_socket_that_its_handler_closes_is_looked_at_first(self) -> None:
        account = Account(stderr_now())
        with socket.create_server(("127.0.0.1", 0)) as port:
            client = socket.create_connection(port.getsockname(), timeout=10)
            descriptor = port.accept()[0].detach()
        with client:
            connection = Connection(fileno=descriptor)
            connection.account = account
            connection.sendall(b"bye")
            lines = connection.makefile("rb")
            connection.close()
            self.assertIsNone(account.amount)  # it is open, as long as the file is
            lines.close()
            self.assertEqual(account.amount, (0, 3))


class ToldTests(Case):
    """The reactor process's end of it."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.clock = Clock()
        self.tap = Tap(self.clock, journal_of(self.lines))

    @given(numbers, numbers, st.data())
    def test_it_is_understood_however_it_was_cut(
        self, received: int, sent: int, data: st.DataObject
    ) -> None:
        said = b"a line\nunfinished" + wire.account(received, sent)
        cut = data.draw(st.integers(0, len(said)))
        del self.lines[:]
        self.tap.wrote(7, said[:cut])
        self.tap.wrote(7, said[cut:])
        self.assertEqual(self.tap.account_of(7), (received, sent))
        self.assertIsNone(self.tap.account_of(7), "once")
        self.tap.flush(7)
        self.assertEqual(self.lines, ["child wrote pid=7: a line", "child wrote pid=7: unfinished"])

    def test_nobody_tells_for_another(self) -> None:
        self.tap.wrote(7, wire.account(1, 2))
        self.assertIsNone(self.tap.account_of(8))

    def test_what_only_looks_like_it_is_a_line(self) -> None:
        for said in (b"\0account 1\n", b"account 1 2\n", b"\0account -1 2\n"):
            self.tap.wrote(7, said)
        self.assertIsNone(self.tap.account_of(7))
        self.assertEqual(len(self.lines), 3)

    def test_a_storm_of_processes_that_nobody_asks_for_is_forgotten(self) -> None:
        for pid in range(100_000):
            self.tap.wrote(pid, wire.account(1, 2))
        self.assertEqual(self.tap.account_of(99_999), (1, 2))
        self.assertIsNone(self.tap.account_of(1))

    @given(st.none() | st.tuples(numbers, numbers))
    def test_a_child_that_is_ready_tells_it_along(self, amount: tuple[int, int] | None) -> None:
        self.assertEqual(wire.amount(wire.unpack(wire.ready(amount))), amount)
