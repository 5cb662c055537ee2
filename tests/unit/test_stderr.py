"""Tests for the children's standard error, on its way into the log."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_fork.stderr import StandardError, Tap

from .cases import Case
from .fakes import FakeReactor, journal_of
from .processes import forked, status_of


class TapTests(Case):
    """Pieces to lines."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.tap = Tap(self.clock, journal_of(self.lines))

    def texts(self) -> list[str]:
        """What was logged, without what is the same in every line."""
        return [line.removeprefix("child wrote pid=") for line in self.lines]

    def test_lines_are_logged_with_their_writer(self) -> None:
        self.tap.wrote(7, b"one\ntwo\n")
        self.tap.wrote(8, b"three\n")
        self.assertEqual(self.texts(), ["7: one", "7: two", "8: three"])

    def test_pieces_of_a_line_are_put_together_for_each_writer(self) -> None:
        for pid, piece in [(1, b"a"), (2, b"x"), (1, b"b\nc"), (2, b"y\n"), (1, b"d\n")]:
            self.tap.wrote(pid, piece)
        self.assertEqual(self.texts(), ["1: ab", "2: xy", "1: cd"])
        self.clock.advance(10)
        self.assertEqual((len(self.lines), self.clock.getDelayedCalls()), (3, []))

    def test_an_unfinished_line_waits_but_not_for_long(self) -> None:
        self.tap.wrote(7, b"prompt> ")
        self.assertEqual(self.lines, [])
        self.clock.advance(1)
        self.assertEqual(self.texts(), ["7: prompt> "])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_of_a_child_finishes_its_line_only(self) -> None:
        self.tap.wrote(7, b"last words")
        self.tap.wrote(8, b"not yet")
        self.tap.flush(7)
        self.tap.flush(7)
        self.assertEqual(self.texts(), ["7: last words"])

    def test_a_line_that_is_too_long_is_cut_into_several(self) -> None:
        for piece in (b"x" * 10_000 + b"\n", b"x" * 6_000, b"x" * 4_000 + b"\n"):
            self.tap.wrote(7, piece)
        sizes = [len(text) - 3 for text in self.texts()]
        self.assertLessEqual(max(sizes), 4096)
        self.assertEqual(sum(sizes), 20_000)

    def test_a_line_without_end_does_not_grow_in_memory(self) -> None:
        for _ in range(100):
            self.tap.wrote(7, b"x" * 1000)
        self.assertGreater(len(self.lines), 20)

    def test_control_characters_and_bad_bytes_are_escaped(self) -> None:
        self.tap.wrote(7, "grün\x1b[2J\r\xff".encode("latin-1") + "✓\n".encode())
        self.assertEqual(self.texts(), ["7: gr\\xfcn\\x1b[2J\\r\\xff✓"])

    @given(st.lists(st.tuples(st.integers(1, 3), st.binary(max_size=50)), max_size=20))
    def test_nothing_is_lost_and_nothing_is_mixed_up(
        self, written: list[tuple[int, bytes]]
    ) -> None:
        self.lines.clear()
        tap = Tap(self.clock, journal_of(self.lines))
        for pid, data in written:
            tap.wrote(pid, data)
        tap.close()
        for pid in (1, 2, 3):
            whole = b"".join(data for writer, data in written if writer == pid)
            wanted = whole.split(b"\n")
            if not wanted[-1]:
                wanted.pop()
            mine = [text for text in self.texts() if text.startswith(f"{pid}: ")]
            self.assertEqual(len(mine), len(wanted))

    def test_more_than_a_second_holds_is_dropped_and_reported(self) -> None:
        self.tap.wrote(7, b"0123456789\n" * 600)
        self.assertEqual(len(self.lines), 500)
        self.clock.advance(1)
        self.assertIn("1000 bytes of standard error not logged", self.lines[-1])
        self.tap.wrote(7, b"again\n")
        self.assertEqual(self.texts()[-1], "7: again")
        self.clock.advance(1)
        self.assertEqual((len(self.lines), self.clock.getDelayedCalls()), (502, []))

    def test_long_lines_do_not_get_around_the_limit(self) -> None:
        for _ in range(400):
            self.tap.wrote(7, b"x" * 65_000 + b"\n")
        self.assertLessEqual(len(self.lines), 500)

    def test_closing_says_what_there_is_still_to_say(self) -> None:
        self.tap.wrote(7, b"x\n" * 501 + b"unfinished")
        self.tap.close()
        self.assertIn("not logged", self.lines[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StandardErrorTests(Case):
    """The socket that is everybody's standard error."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.stderr = StandardError(self.reactor, self.reactor, journal_of(self.lines))
        self.addCleanup(self.stderr.close)

    def child_writes(self, text: bytes) -> int:
        """A child writes and ends; its pid."""

        def run() -> None:
            os.write(self.stderr.theirs, text)
            os._exit(0)

        pid = forked(run)
        self.assertEqual(status_of(pid), 0)
        return pid

    def test_the_kernel_says_who_wrote(self) -> None:
        first = self.child_writes(b"I am 1\n")
        second = self.child_writes(b"and I am not\n")
        os.write(self.stderr.theirs, b"me too\n")
        while self.reactor.turn():
            pass
        wanted = [(first, "I am 1"), (second, "and I am not"), (os.getpid(), "me too")]
        self.assertEqual(self.lines, [f"child wrote pid={pid}: {text}" for pid, text in wanted])

    def test_the_last_words_of_a_child_are_read_when_it_has_ended(self) -> None:
        pid = self.child_writes(b"Traceback\nValueError")
        self.stderr.child_ended(pid)
        self.assertEqual(
            self.lines, [f"child wrote pid={pid}: {text}" for text in ("Traceback", "ValueError")]
        )

    def test_closing_logs_what_is_there_and_leaves_nothing(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        pid = self.child_writes(b"unfinished")
        self.stderr.close()
        self.stderr.close()
        self.assertEqual(self.lines, [f"child wrote pid={pid}: unfinished"])
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 2)

    def test_closing_ends_though_somebody_writes_without_end(self) -> None:
        reads = []

        def endless() -> bool:
            reads.append(1)
            self.assertLess(len(reads), 100_000, "it does not end")
            return True

        self.patch(self.stderr, "_read", endless)
        self.stderr.close()
