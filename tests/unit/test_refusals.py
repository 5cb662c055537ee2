"""Tests for the log of refusals: few lines, however many are refused."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twisted_fork.refusals import Refusals

from .cases import Case
from .fakes import journal_of, pass_time

MORE = re.compile(r"connections refused source=(\S+) more=(\d+)")
ONE = re.compile(r"connection refused peer=(\S+):\d+ reason='full'")


class RefusalsTests(Case):
    """Under a clock that the test moves."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.clock = Clock()
        self.refusals = Refusals(self.clock, journal_of(self.lines))

    def refuse(self, source: str = "192.0.2.1", times: int = 1, port: int = 1) -> None:
        for number in range(times):
            self.refusals.refused(source, f"{source}:{port + number}", "full")

    def test_the_first_is_told_at_once_with_its_reason(self) -> None:
        self.refuse(port=7)
        self.assertEqual(self.lines, ["connection refused peer=192.0.2.1:7 reason='full'"])

    def test_a_lone_one_is_told_once(self) -> None:
        self.refuse()
        pass_time(self.clock, 100)
        self.assertEqual(len(self.lines), 1)

    def test_further_ones_of_a_second_are_counted(self) -> None:
        self.refuse(times=5)
        self.assertEqual(len(self.lines), 1)
        pass_time(self.clock, 1)
        self.assertEqual(self.lines[1:], ["connections refused source=192.0.2.1 more=4"])

    def test_each_source_has_its_own_line(self) -> None:
        self.refuse("192.0.2.1", 2)
        self.refuse("192.0.2.2", 3)
        pass_time(self.clock, 1)
        self.assertEqual(
            self.lines[2:],
            [
                "connections refused source=192.0.2.1 more=1",
                "connections refused source=192.0.2.2 more=2",
            ],
        )

    def test_the_next_second_is_another(self) -> None:
        self.refuse()
        pass_time(self.clock, 1.5)
        self.refuse()
        pass_time(self.clock, 1.5)
        self.assertEqual(len(self.lines), 2)

    def test_a_flood_from_many_sources_is_told_in_so_many_lines(self) -> None:
        for number in range(10_000):
            self.refuse(f"10.0.{number >> 8}.{number & 255}")
        self.assertEqual(len(self.lines), 100)
        pass_time(self.clock, 1)
        self.assertEqual(self.lines[100:], ["connections refused source=others more=9900"])

    def test_what_was_left_out_is_told_at_the_end(self) -> None:
        self.refuse(times=3)
        self.refusals.close()
        self.assertEqual(self.lines[1:], ["connections refused source=192.0.2.1 more=2"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_idle_server_has_nothing_to_do_later(self) -> None:
        self.refuse()
        pass_time(self.clock, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 0.7)), max_size=60))
    def test_all_are_accounted_for_and_no_source_fills_the_log(
        self, comings: list[tuple[int, float]]
    ) -> None:
        self.setUp()
        refused: Counter[str] = Counter()
        told: list[tuple[str, float]] = []
        for last, pause in comings:
            pass_time(self.clock, pause)
            source = f"192.0.2.{last}"
            before = len(self.lines)
            self.refuse(source)
            refused[source] += 1
            told += [(source, self.clock.seconds())] * (len(self.lines) - before)
        self.refusals.close()
        counted: Counter[str] = Counter()
        for line in self.lines:
            if found := ONE.fullmatch(line):
                counted[found[1]] += 1
            elif found := MORE.fullmatch(line):
                counted[found[1]] += int(found[2])
        self.assertEqual(counted, refused)
        seconds = Counter((source, int(when)) for source, when in told)
        self.assertLessEqual(max(seconds.values(), default=0), 2)
