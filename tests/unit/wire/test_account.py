"""Tests for what a child tells of the connection that it has closed."""

from __future__ import annotations

import os
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import journal_of
from twisted_fork.inside.handlers import linger
from twisted_fork.inside.handlers.custom import Connection
from twisted_fork.kernel.tap import Tap
from twisted_fork.wire import messages, tcpinfo

numbers = st.integers(0, 2**63)


def info(received: int, sent: int) -> bytes:
    """What the kernel tells of an open connection over which so much went."""
    found = struct.pack("=B119xQQ64xQQ", 1, sent, received, sent, 0)
    assert len(found) == messages.ACCOUNT_SIZE
    return found


class TellingTests(Case):
    """A child's end of it."""

    def setUp(self) -> None:
        self.reading, writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        stderr = os.dup(2)
        os.dup2(writing, 2)
        os.close(writing)
        self.addCleanup(os.close, stderr)
        self.addCleanup(os.dup2, stderr, 2)
        with socket.create_server(("127.0.0.1", 0)) as port:
            self.client = socket.create_connection(port.getsockname(), timeout=10)
            self.ours, _ = port.accept()
        self.addCleanup(self.client.close)
        self.addCleanup(self.ours.close)

    def told(self, info: bytes) -> bytes:
        linger.tell(info)
        os.write(2, b".")
        return os.read(self.reading, 1000)[:-1]

    def test_what_was_seen_is_told(self) -> None:
        self.client.sendall(b"hello")
        self.ours.recv(5)
        self.client.shutdown(socket.SHUT_WR)
        told = self.told(linger.close(self.ours))
        self.assertEqual(told[: len(messages.ACCOUNT)], messages.ACCOUNT)
        self.assertEqual(tcpinfo.amount(told[len(messages.ACCOUNT) :]), (5, 0))

    def test_of_what_is_no_tcp_connection_nothing_is_told(self) -> None:
        for connection in socket.socketpair():
            with connection:
                self.assertEqual(self.told(linger.look(connection)), b"")

    def test_where_standard_error_is_closed_nobody_minds(self) -> None:
        kept = os.dup(2)
        os.close(2)
        try:
            linger.tell(info(1, 2))
        finally:
            os.dup2(kept, 2)
            os.close(kept)

    def test_a_socket_that_its_handler_closes_is_looked_at_first(self) -> None:
        connection = Connection(fileno=self.ours.detach())
        connection.sendall(b"bye")
        lines = connection.makefile("rb")
        connection.close()
        self.assertEqual(connection.info, b"")  # it is open, as long as the file is
        lines.close()
        self.assertEqual(tcpinfo.amount(connection.info), (0, 3))


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
        said = b"a line\nunfinished" + messages.ACCOUNT + info(received, sent)
        cut = data.draw(st.integers(0, len(said)))
        del self.lines[:]
        self.tap.wrote(7, said[:cut])
        self.tap.wrote(7, said[cut:])
        self.assertEqual(self.tap.accounts.pop(7, None), (received, sent))
        self.tap.flush(7)
        self.assertEqual(
            self.lines, ["child wrote pid=7 text='a line'", "child wrote pid=7 text=unfinished"]
        )

    @given(
        st.lists(
            st.sampled_from([messages.ACCOUNT, messages.ACCOUNT[:5], b"x" * 216, b"y\n", b"z"])
        )
    )
    def test_whatever_looks_like_it_is_taken_as_it_or_logged(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.tap.wrote(7, piece)
        self.tap.close()

    def test_nobody_tells_for_another(self) -> None:
        self.tap.wrote(7, messages.ACCOUNT + info(1, 2))
        self.assertNotIn(8, self.tap.accounts)

    def test_one_that_is_never_finished_becomes_a_line(self) -> None:
        self.tap.wrote(7, messages.ACCOUNT + b"more")
        self.tap.flush(7)
        self.assertEqual(self.lines, ["child wrote pid=7 text='\\x00account more'"])

    def test_a_storm_of_processes_that_nobody_asks_for_is_forgotten(self) -> None:
        for pid in range(10_000):
            self.tap.wrote(pid, messages.ACCOUNT + info(1, 2))
        self.assertEqual(self.tap.accounts.pop(9_999, None), (1, 2))
        self.assertNotIn(1, self.tap.accounts)
