"""Tests for how pieces of standard error become lines of the log."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import journal_of
from twisted_fork.kernel.tap import Tap


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
        self.assertEqual(self.texts(), ["7 text=one", "7 text=two", "8 text=three"])

    def test_pieces_of_a_line_are_put_together_for_each_writer(self) -> None:
        for pid, piece in [(1, b"a"), (2, b"x"), (1, b"b\nc"), (2, b"y\n"), (1, b"d\n")]:
            self.tap.wrote(pid, piece)
        self.assertEqual(self.texts(), ["1 text=ab", "2 text=xy", "1 text=cd"])
        self.clock.advance(10)
        self.assertEqual((len(self.lines), self.clock.getDelayedCalls()), (3, []))

    def test_an_unfinished_line_waits_but_not_for_long(self) -> None:
        self.tap.wrote(7, b"prompt> ")
        self.assertEqual(self.lines, [])
        self.clock.advance(1)
        self.assertEqual(self.texts(), ["7 text='prompt> '"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_of_a_child_finishes_its_line_only(self) -> None:
        self.tap.wrote(7, b"last words")
        self.tap.wrote(8, b"not yet")
        self.tap.flush(7)
        self.tap.flush(7)
        self.assertEqual(self.texts(), ["7 text='last words'"])

    def test_a_line_that_is_too_long_is_cut_into_several(self) -> None:
        for piece in (b"x" * 10_000 + b"\n", b"x" * 6_000, b"x" * 4_000 + b"\n"):
            self.tap.wrote(7, piece)
        sizes = [len(text.removeprefix("7 text=")) for text in self.texts()]
        self.assertLessEqual(max(sizes), 4096)
        self.assertEqual(sum(sizes), 20_000)

    def test_a_line_without_end_does_not_grow_in_memory(self) -> None:
        for _ in range(100):
            self.tap.wrote(7, b"x" * 1000)
        self.assertGreater(len(self.lines), 20)

    def test_control_characters_and_bad_bytes_are_escaped(self) -> None:
        self.tap.wrote(7, "grün\x1b[2J\r\xff".encode("latin-1") + "✓\n".encode())
        self.assertEqual(self.texts(), ["7 text='gr\\\\xfcn\\x1b[2J\\r\\\\xff✓'"])

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
            mine = [text for text in self.texts() if text.startswith(f"{pid} text=")]
            self.assertEqual(len(mine), len(wanted))

    def test_more_than_a_second_holds_is_dropped_and_reported(self) -> None:
        self.tap.wrote(7, b"0123456789\n" * 600)
        self.assertEqual(len(self.lines), 500)
        self.clock.advance(1)
        self.assertEqual(self.lines[-1], "standard error dropped bytes=1100")
        self.tap.wrote(7, b"again\n")
        self.assertEqual(self.texts()[-1], "7 text=again")
        self.clock.advance(1)
        self.assertEqual((len(self.lines), self.clock.getDelayedCalls()), (502, []))

    def test_long_lines_do_not_get_around_the_limit(self) -> None:
        for _ in range(400):
            self.tap.wrote(7, b"x" * 65_000 + b"\n")
        self.assertLessEqual(len(self.lines), 500)

    def test_long_lines_count_as_many_short_ones(self) -> None:
        for _ in range(400):
            self.tap.wrote(7, b"x" * 4000 + b"\n")
        self.assertLessEqual(sum(map(len, self.texts())), 130_000)
        self.assertGreater(len(self.lines), 20)

    def test_a_line_that_is_dropped_leaves_room_for_shorter_ones(self) -> None:
        self.tap.wrote(7, b"x" * 1_000_000 + b"\nshort\n")
        self.assertEqual(self.texts(), ["7 text=short"])

    def peak(self, call: Callable[[], object]) -> int:
        """Bytes of memory that *call* takes at most."""
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_ends_of_lines_beyond_the_limit_are_counted_as_bytes_and_not_split(self) -> None:
        flood = b"\n" * 1_000_000
        self.assertLess(self.peak(lambda: self.tap.wrote(7, flood)), 4 * len(flood))
        self.assertEqual(len(self.lines), 500)
        self.clock.advance(1)
        self.assertEqual(self.lines[-1], "standard error dropped bytes=999500")

    def test_unfinished_lines_of_very_many_writers_take_little_memory(self) -> None:
        def bomb() -> None:
            for pid in range(20_000):
                self.tap.wrote(pid, b"%04x" % pid * 1000)

        self.assertLess(self.peak(bomb), 5_000_000)

    def test_of_very_many_unfinished_lines_the_oldest_is_logged(self) -> None:
        for pid in range(300):
            self.tap.wrote(pid, b"x")
        self.assertEqual(self.texts(), [f"{pid} text=x" for pid in range(300 - 256)])
        self.tap.close()
        self.assertEqual(self.texts(), [f"{pid} text=x" for pid in range(300)])

    def test_closing_says_what_there_is_still_to_say(self) -> None:
        self.tap.wrote(7, b"x\n" * 501 + b"unfinished")
        self.tap.close()
        self.assertIn("standard error dropped", self.lines[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
