"""Tests for the life of a child."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tests.unit.cases import Case
from tests.unit.fakes import channel_pair
from tests.unit.processes import descriptors_before, forked, status_of
from twisted_fork.handler import Echo
from twisted_fork.inside import worker
from twisted_fork.inside.handlers import exits
from twisted_fork.launchers.orders import orders_for
from twisted_fork.settings import Settings
from twisted_fork.wire import messages


def echo_work(connections_per_child: int = 1) -> worker.Work:
    """Work as the orders for the echo make it."""
    settings = Settings(connections_per_child=connections_per_child)
    return worker.Work(orders_for(Echo(), settings, listened_to=False))


def work_of(serve: Callable[[socket.socket], object]) -> worker.Work:
    """Work with a handler of the test's own."""

    def serve_descriptor(descriptor: int, *_: object) -> bytes:
        with socket.socket(fileno=descriptor) as connection:
            serve(connection)
        return b""

    work = echo_work()
    work.serve = serve_descriptor
    return work


def raises(what: BaseException) -> Callable[[socket.socket], None]:
    """A handler that answers something, and raises."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"something")
        raise what

    return serve


class ReportTests(Case):
    """What a handler raised becomes an exit status and a text."""

    def setUp(self) -> None:
        self.stderr = io.StringIO()
        self.patch(sys, "stderr", self.stderr)

    def test_exit_codes_are_kept_without_a_word(self) -> None:
        statuses = [exits.report(SystemExit(code)) for code in (None, 0, 1, 77)]
        self.assertEqual((statuses, self.stderr.getvalue()), ([0, 0, 1, 77], ""))

    def test_an_exit_message_is_written(self) -> None:
        self.assertEqual(exits.report(SystemExit("no such user")), 1)
        self.assertEqual(self.stderr.getvalue(), "no such user\n")

    def test_anything_else_is_written_with_its_traceback(self) -> None:
        try:
            raise ValueError("what a handler\nmay say")
        except ValueError as raised:
            self.assertEqual(exits.report(raised), 1)
        text = self.stderr.getvalue()
        self.assertIn("Traceback (most recent call last)", text)
        self.assertIn("ValueError: what a handler\nmay say\n", text)


class RehearsalTests(Case):
    """What is done before a peer waits for it."""

    def test_rehearsals_leave_nothing_open(self) -> None:
        before = descriptors_before()
        worker.rehearse(echo_work(), 3)
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class ProcessTests(Case):
    """A child's whole life, in a process of its own."""

    def setUp(self) -> None:
        self.ours, self.theirs = channel_pair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.output = Path(self.mktemp())

    def live(self, work: worker.Work, connection: socket.socket | None = None) -> int:
        """Fork a child that waits for work, or serves the one connection."""

        def run() -> None:
            self.ours.close()
            sys.stderr = self.output.open("w", buffering=1)
            if connection is None:
                exits.exit_now(worker.live(work, self.theirs, None))
            message = messages.Message(messages.pack(messages.FORK), [connection.detach()])
            exits.exit_now(worker.live(work, None, message))

        pid = forked(run)
        self.theirs.close()
        return pid

    def hand_over(self) -> socket.socket:
        """Give the child a connection, and wait until it has taken it; the peer's side."""
        served, peer = socket.socketpair()
        self.addCleanup(peer.close)
        peer.settimeout(10)
        with served:
            messages.send(self.ours, messages.pack(messages.CONNECTION), (served.fileno(),))
        self.assertEqual(self.heard(), messages.TAKEN)
        return peer

    def heard(self) -> bytes | None:
        message = messages.receive(self.ours)
        return None if message is None else message.kind

    def echo_over(self, peer: socket.socket) -> None:
        peer.sendall(b"hello\n")
        self.assertEqual(peer.recv(100), b"HELLO\n")
        peer.close()

    def test_it_takes_serves_and_asks_for_more_until_there_were_enough(self) -> None:
        pid = self.live(echo_work(connections_per_child=2))
        self.echo_over(self.hand_over())
        self.assertEqual(self.heard(), messages.READY)
        last = self.hand_over()
        self.assertIsNone(self.heard(), "its channel is closed while it serves its last")
        self.echo_over(last)
        self.assertEqual(status_of(pid), 0)

    def test_it_ends_well_when_its_channel_is_closed(self) -> None:
        pid = self.live(echo_work(connections_per_child=5))
        self.echo_over(self.hand_over())
        self.assertEqual(self.heard(), messages.READY)
        self.ours.close()
        self.assertEqual((status_of(pid), self.output.read_text()), (0, ""))

    def test_it_ends_well_when_nobody_has_heard_that_it_is_ready(self) -> None:
        pid = self.live(echo_work(connections_per_child=5))
        self.echo_over(self.hand_over())
        self.ours.recv(1, socket.MSG_PEEK)
        self.ours.close()
        self.assertEqual((status_of(pid), self.output.read_text()), (0, ""))

    def test_it_ends_well_when_its_channel_is_closed_while_it_serves(self) -> None:
        pid = self.live(echo_work(connections_per_child=5))
        peer = self.hand_over()
        self.ours.close()
        self.echo_over(peer)
        self.assertEqual((status_of(pid), self.output.read_text()), (0, ""))

    def test_its_exit_status_is_what_the_handler_says(self) -> None:
        for raised, status in [(SystemExit(3), 3), (SystemExit(-1), 255), (ValueError("x"), 1)]:
            self.setUp()
            pid = self.live(work_of(raises(raised)))
            self.assertEqual(self.hand_over().recv(100), b"something")
            self.assertEqual(status_of(pid), status)
            self.assertEqual("ValueError: x" in self.output.read_text(), status == 1)

    def test_it_serves_one_connection_without_a_channel(self) -> None:
        def serve(connection: socket.socket) -> None:
            sys.stderr.write("for the log\n")
            connection.sendall(b"served")

        served, peer = socket.socketpair()
        self.addCleanup(peer.close)
        pid = self.live(work_of(serve), served)
        served.close()
        self.assertEqual((peer.recv(100), peer.recv(100)), (b"served", b""))
        self.assertEqual(status_of(pid), 0)
        self.assertEqual(self.output.read_text(), "for the log\n")

    def test_a_handler_that_has_closed_standard_error_still_ends(self) -> None:
        def serve(connection: socket.socket) -> None:
            sys.stderr.close()
            raise ValueError

        served, peer = socket.socketpair()
        self.addCleanup(peer.close)
        pid = self.live(work_of(serve), served)
        served.close()
        self.assertEqual((peer.recv(100), status_of(pid)), (b"", 1))
