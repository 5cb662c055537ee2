"""Tests for closing a connection so that no answer is lost."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from tests.unit.cases import Case
from twisted_fork.inside.handlers import linger


class FakeTime:
    """A clock that shows one time after the other, the last one for ever."""

    def __init__(self, *times: float) -> None:
        self._times = iter(times)
        self._now = 0.0

    def monotonic(self) -> float:
        self._now = next(self._times, self._now)
        return self._now


class CloseTests(Case):
    """Closing lingers, but not for ever."""

    def setUp(self) -> None:
        self.ours, self.theirs = next(self.connected())

    def connected(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Two ends of a TCP connection."""
        with socket.create_server(("127.0.0.1", 0)) as port:
            theirs = socket.create_connection(port.getsockname(), timeout=10)
            ours, _ = port.accept()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        yield ours, theirs

    def test_the_answer_outlives_what_was_left_unread(self) -> None:
        self.theirs.sendall(b"x" * 100_000)
        self.theirs.shutdown(socket.SHUT_WR)
        self.ours.sendall(b"the answer")
        linger.close(self.ours)
        self.assertEqual(self.theirs.recv(100), b"the answer")
        self.assertEqual(self.theirs.recv(100), b"", "there was a reset")
        self.assertEqual(self.ours.fileno(), -1)

    def test_a_peer_that_has_ended_its_side_is_not_waited_for(self) -> None:
        self.patch(linger, "time", None)
        linger.close(self.ours, peer_done=True)
        self.assertEqual(self.theirs.recv(1), b"")
        self.assertEqual(self.ours.fileno(), -1)

    def test_the_peer_sees_the_end_while_it_is_waited_for(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)

        seen: list[bytes] = []

        class Watching(FakeTime):
            def monotonic(self) -> float:
                if not seen:
                    seen.append(theirs.recv(1))
                    theirs.close()
                return 0.0

        self.patch(linger, "time", Watching())
        linger.close(ours)
        self.assertEqual(seen, [b""])

    def test_a_peer_that_sends_without_end_is_left_when_time_is_over(self) -> None:
        self.patch(linger, "time", FakeTime(0.0, 1.0, linger.LINGER))
        self.theirs.sendall(b"x" * 200_000)
        linger.close(self.ours)
        self.assertEqual(self.ours.fileno(), -1)

    def test_a_peer_that_does_nothing_is_left_when_time_is_over(self) -> None:
        self.patch(linger, "time", FakeTime(0.0, linger.LINGER - 0.01))
        linger.close(self.ours)
        self.assertEqual(self.ours.fileno(), -1)

    def test_a_peer_that_has_gone_is_no_error(self) -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        linger.close(ours)
        self.assertEqual(ours.fileno(), -1)

    def test_a_connection_that_the_handler_has_closed_is_no_error(self) -> None:
        self.ours.close()
        linger.close(self.ours)
        self.assertEqual(self.theirs.recv(1), b"")
