"""Tests for the children's standard error, on its way into the log."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of
from tests.unit.processes import descriptors_before, forked, status_of
from twisted_fork.kernel.stderr import MOST_KEPT, StandardError, Stream


class StandardErrorTests(Case):
    """The sockets that are processes' standard error."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.stderr = StandardError(self.reactor, self.reactor, journal_of(self.lines))
        self.addCleanup(self.stderr.close)
        self.before = len(descriptors_before())

    def stream(self, give: Callable[[int], object] | None = None) -> tuple[Stream, socket.socket]:
        """A stream, and the socket for its process."""
        stream, theirs = self.stderr.stream(give)
        socket_of_it = socket.socket(fileno=theirs.detach())
        self.addCleanup(socket_of_it.close)
        return stream, socket_of_it

    def turn(self) -> None:
        """Turn, and let pauses pass, until nothing is there to be read."""
        while self.reactor.turn():
            self.reactor.advance(0.01)

    def open_descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def child_writes(self, theirs: socket.socket, text: bytes) -> int:
        """A child writes and ends; its pid."""

        def run() -> None:
            theirs.send(text)
            os._exit(0)

        pid = forked(run)
        self.assertEqual(status_of(pid), 0)
        return pid

    def holder(self, theirs: socket.socket) -> int:
        """A process whose standard error it is, until the test is over; its pid."""

        def run() -> None:
            os.dup2(theirs.fileno(), 2)
            theirs.close()
            os.write(2, b"here\n")
            signal.pause()

        pid = forked(run)
        theirs.close()
        self.addCleanup(status_of, pid)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        while not self.lines:
            self.assertTrue(self.reactor.turn(10), "it is not heard")
            self.reactor.advance(0.01)
        self.assertEqual(self.lines.pop(), f"child wrote pid={pid} text=here")
        return pid

    def test_the_kernel_says_who_wrote(self) -> None:
        _, theirs = self.stream()
        first = self.child_writes(theirs, b"I am 1\n")
        second = self.child_writes(theirs, b"and I am not\n")
        theirs.send(b"me too\n")
        self.turn()
        wanted = [(first, "I am 1"), (second, "and I am not"), (os.getpid(), "me too")]
        self.assertEqual(
            self.lines, [f"child wrote pid={pid} text={text!r}" for pid, text in wanted]
        )

    def test_the_last_words_of_a_child_are_in_its_templates_stream(self) -> None:
        _, theirs = self.stream(give=lambda descriptor: None)
        pid = self.child_writes(theirs, b"Traceback\nValueError")
        self.stderr.child_ended(pid)
        self.assertEqual(
            self.lines,
            [f"child wrote pid={pid} text={text}" for text in ("Traceback", "ValueError")],
        )

    def test_the_last_words_of_who_has_a_stream_of_its_own_are_read_when_it_ends(self) -> None:
        stream, theirs = self.stream()
        stream.pid = self.child_writes(theirs, b"Traceback\nValueError")
        theirs.close()
        stream.owner_ended()
        self.assertEqual(
            self.lines,
            [f"child wrote pid={stream.pid} text={text}" for text in ("Traceback", "ValueError")],
        )
        self.assertEqual(self.open_descriptors(), self.before)

    def test_flags_that_one_sets_are_not_anothers(self) -> None:
        sockets = [self.stream()[1] for _ in range(2)]
        os.set_blocking(sockets[0].fileno(), False)
        self.assertEqual([os.get_blocking(each.fileno()) for each in sockets], [False, True])

    def test_descendants_are_heard_until_all_have_closed_it(self) -> None:
        stream, theirs = self.stream()
        stream.owner_ended()
        theirs.send(b"still here\n")
        self.turn()
        self.assertEqual(self.lines, [f"child wrote pid={os.getpid()} text='still here'"])
        theirs.close()
        self.turn()
        self.assertEqual(self.open_descriptors(), self.before)

    def test_only_so_many_are_kept_for_descendants(self) -> None:
        sockets = []
        for number in range(MOST_KEPT + 3):
            stream, theirs = self.stream()
            stream.owner_ended()
            sockets.append(theirs)
            theirs.send(b"%d\n" % number)
        self.assertEqual(self.open_descriptors(), self.before + len(sockets) + MOST_KEPT)
        for theirs in sockets[:3]:
            self.assertRaises(BrokenPipeError, theirs.send, b"not heard")
        for theirs in sockets[3:]:
            theirs.send(b"heard\n")
        self.turn()
        texts = [line.partition("text=")[2] for line in self.lines]
        self.assertEqual(texts.count("heard"), MOST_KEPT)
        # also what those had written that had to go
        self.assertEqual({int(text) for text in texts if text != "heard"}, {*range(MOST_KEPT + 3)})

    def test_however_many_end_at_once_not_much_is_read(self) -> None:
        reads = []

        def endless(stream: Stream) -> bool:
            reads.append(stream)
            self.assertLess(len(reads), 1000, "it does not end")
            return True

        self.patch(Stream, "read", endless)
        streams = [self.stream(give)[0] for give in (None, lambda descriptor: None) * 10]
        for stream in streams:
            stream.owner_ended()
            self.stderr.child_ended(7)
        self.assertEqual(len(reads), 128)
        self.reactor.advance(0.01)
        self.stderr.child_ended(7)
        self.assertEqual(len(reads), 256)
        self.reactor.advance(-3600)
        self.stderr.close()
        self.assertEqual(len(reads), 384)

    def test_in_one_turn_not_much_is_read_then_nothing_for_a_moment(self) -> None:
        read: list[int] = []
        self.patch(self.stderr.tap, "wrote", lambda pid, data: read.append(len(data)))
        sockets = [self.stream()[1] for _ in range(40)]
        for theirs in sockets:
            theirs.setblocking(False)
            theirs.send(b"x" * 100_000)
        self.assertTrue(self.reactor.turn())
        self.assertEqual((len(read), max(read)), (128, 16 * 1024))
        self.assertFalse(self.reactor.turn())
        self.reactor.advance(0.01)
        self.turn()
        self.assertEqual(sum(read), 40 * 100_000)

    def test_a_stream_that_a_child_shuts_down_is_made_anew_for_those_to_come(self) -> None:
        given: list[int] = []
        failures = [OSError("not now"), None]

        def give(descriptor: int) -> None:
            if failure := failures.pop(0):
                raise failure
            given.append(os.dup(descriptor))

        stream, theirs = self.stream(give)
        kept = theirs.dup()
        self.addCleanup(kept.close)
        stream.pid = self.holder(theirs)
        kept.shutdown(socket.SHUT_RDWR)
        self.turn()
        wanted = ["standard error shut down"]
        self.assertEqual(self.lines, wanted)
        before = self.open_descriptors()
        self.reactor.advance(1)
        self.assertEqual((given, self.open_descriptors()), ([], before))
        self.reactor.advance(1)
        os.write(given[0], b"again\n")
        self.turn()
        self.assertEqual(self.lines[1:], [f"child wrote pid={os.getpid()} text=again"])
        os.close(given[0])

    def test_a_template_that_has_closed_it_is_left_alone(self) -> None:
        stream, theirs = self.stream(give=self.fail)
        stream.pid = os.getpid()  # whose standard error is another
        theirs.close()
        self.turn()
        self.assertEqual((self.lines, self.reactor.getDelayedCalls()), ([], []))

    def test_none_is_made_anew_for_a_template_that_has_ended(self) -> None:
        stream, theirs = self.stream(give=self.fail)
        kept = theirs.dup()
        self.addCleanup(kept.close)
        stream.pid = self.holder(theirs)
        kept.shutdown(socket.SHUT_RDWR)
        self.turn()
        stream.owner_ended()
        self.reactor.advance(1)
        self.assertEqual(len(self.lines), 1)

    def test_when_reading_raises_others_are_read_on_a_moment_later(self) -> None:
        sockets = [self.stream()[1] for _ in range(2)]
        for theirs in sockets:
            theirs.send(b"hello\n")
        logged: list[int] = []

        def log(pid: int, data: bytes) -> None:
            logged.append(pid)
            if len(logged) == 1:
                raise ZeroDivisionError

        self.patch(self.stderr.tap, "wrote", log)
        self.assertRaises(ZeroDivisionError, self.reactor.turn)
        self.stderr.raised()
        self.reactor.advance(0.01)
        self.turn()
        self.assertEqual(len(logged), 2)

    def test_closing_logs_what_is_there_and_leaves_nothing(self) -> None:
        pids = []
        for give in (None, self.fail):
            stream, theirs = self.stream(give)
            stream.pid = self.holder(theirs.dup())
            pids.append(self.child_writes(theirs, b"unfinished"))
            theirs.close()
        self.stderr.close()
        self.stderr.close()
        self.assertEqual(self.lines, [f"child wrote pid={pid} text=unfinished" for pid in pids])
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(self.open_descriptors(), self.before - 1)
