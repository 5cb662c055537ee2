"""Tests for what a child tells of the connection that it has closed."""

from __future__ import annotations

import os
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_fork import tcpinfo, wire
from twisted_fork.inside.account import Account, Rehearsal, stderr_now
from twisted_fork.inside.guest import Connection
from twisted_fork.tap import Tap

from .cases import Case
from .fakes import journal_of

numbers = st.integers(0, 2**63)


def info(received: int, sent: int) -> bytes:
    """What the kernel tells of an open connection over which so much went."""
    found = struct.pack("=B119xQQ64xQQ", 1, sent, received, sent, 0)
    assert len(found) == wire.ACCOUNT_SIZE
    return found


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
        told = self.told(account)
        self.assertEqual(told[: len(wire.ACCOUNT)], wire.ACCOUNT)
        self.assertEqual(tcpinfo.amount(told[len(wire.ACCOUNT) :]), (5, 0))

    def test_of_what_is_no_tcp_connection_nothing_is_told(self) -> None:
        account = Account(stderr_now())
        for connection in socket.socketpair():
            with connection:
                account.look(connection)
        self.assertEqual(self.told(account), b"")

    def test_a_rehearsal_tells_nothing(self) -> None:
        account = Rehearsal()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            account.look(ours)
        self.assertEqual(len(account.info), wire.ACCOUNT_SIZE)
        self.assertEqual(self.told(account), b"")

    def test_nothing_is_told_where_standard_error_is_something_else_now(self) -> None:
        account = Account(stderr_now() + 1)
        account.info = info(1, 2)
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
            self.assertEqual(account.info, b"")  # it is open, as long as the file is
            lines.close()
            self.assertEqual(tcpinfo.amount(account.info), (0, 3))


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
        said = b"a line\nunfinished" + wire.ACCOUNT + info(received, sent)
        cut = data.draw(st.integers(0, len(said)))
        del self.lines[:]
        self.tap.wrote(7, said[:cut])
        self.tap.wrote(7, said[cut:])
        self.assertEqual(self.tap.account_of(7), (received, sent))
        self.assertIsNone(self.tap.account_of(7), "once")
        self.tap.flush(7)
        self.assertEqual(self.lines, ["child wrote pid=7: a line", "child wrote pid=7: unfinished"])

    @given(st.lists(st.sampled_from([wire.ACCOUNT, wire.ACCOUNT[:5], b"x" * 216, b"y\n", b"z"])))
    def test_whatever_looks_like_it_is_taken_as_it_or_logged(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.tap.wrote(7, piece)
        self.tap.close()

    def test_nobody_tells_for_another(self) -> None:
        self.tap.wrote(7, wire.ACCOUNT + info(1, 2))
        self.assertIsNone(self.tap.account_of(8))

    def test_one_that_is_never_finished_becomes_a_line(self) -> None:
        self.tap.wrote(7, wire.ACCOUNT + b"more")
        self.tap.flush(7)
        self.assertEqual(self.lines, ["child wrote pid=7: \\x00account more"])

    def test_a_storm_of_processes_that_nobody_asks_for_is_forgotten(self) -> None:
        for pid in range(10_000):
            self.tap.wrote(pid, wire.ACCOUNT + info(1, 2))
        self.assertEqual(self.tap.account_of(9_999), (1, 2))
        self.assertIsNone(self.tap.account_of(1))
