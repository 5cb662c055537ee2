"""Tests for the log of refusals: few lines, however many are refused."""

from __future__ import annotations

import math
import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import journal_of, pass_time
from twisted_fork.places.refusals import Refusals

MORE = re.compile(r"connections refused source=(\S+) more=(\d+) reason=full")
ONE = re.compile(r"connection refused peer=(\S+):\d+ reason=full")


class TimedLines(list[str]):
    """
    Lines, and when each was written.

    :ivar times: as many as there are lines.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.times: list[float] = []
        self._clock = clock

    def append(self, line: str) -> None:
        super().append(line)
        self.times.append(self._clock.seconds())

    def told(self) -> list[tuple[str, int, float]]:
        """Of each line, whom it is about, how many refusals it tells, and when."""
        found = []
        for line, when in zip(self, self.times, strict=True):
            if one := ONE.fullmatch(line):
                found.append((one[1], 1, when))
            elif more := MORE.fullmatch(line):
                found.append((more[1], int(more[2]), when))
            else:
                raise AssertionError(line)
        return found

    def counted(self) -> Counter[str]:
        """How many refusals all lines tell, by source."""
        counted: Counter[str] = Counter()
        for source, refusals, _ in self.told():
            counted[source] += refusals
        return counted

    def shortest_pause(self) -> float:
        """Seconds between two lines about the same source, but for rounding."""
        last: dict[str, float] = {}
        pauses = [math.inf]
        for source, _, when in self.told():
            pauses.append(when - last.get(source, -math.inf))
            last[source] = when
        return round(min(pauses), 6)


class RefusalsTests(Case):
    """Under a clock that the test moves."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines = TimedLines(self.clock)
        self.refusals = Refusals(self.clock, journal_of(self.lines))

    def refuse(
        self, source: str = "192.0.2.1", times: int = 1, port: int = 1, reason: str = "full"
    ) -> None:
        for number in range(times):
            self.refusals.refused(source, f"{source}:{port + number}", reason)

    def test_the_first_is_told_at_once_with_its_reason(self) -> None:
        self.refuse(port=7)
        self.assertEqual(self.lines, ["connection refused peer=192.0.2.1:7 reason=full"])

    def test_a_lone_one_is_told_once(self) -> None:
        self.refuse()
        pass_time(self.clock, 100)
        self.assertEqual(len(self.lines), 1)

    def test_further_ones_of_a_second_are_counted(self) -> None:
        self.refuse(times=5)
        self.assertEqual(len(self.lines), 1)
        pass_time(self.clock, 1)
        self.assertEqual(
            self.lines[1:], ["connections refused source=192.0.2.1 more=4 reason=full"]
        )

    def test_the_count_comes_with_the_latest_reason(self) -> None:
        for reason in ("full", "not allowed", "it's\nforged"):
            self.refuse(reason=reason)
        pass_time(self.clock, 1)
        self.assertEqual(
            self.lines[1:],
            ['connections refused source=192.0.2.1 more=2 reason="it\'s\\nforged"'],
        )

    def test_the_count_begins_another_second(self) -> None:
        self.refuse(times=2)
        pass_time(self.clock, 1.5)
        self.refuse(times=3)
        self.assertEqual(len(self.lines), 2)
        pass_time(self.clock, 0.5)
        self.assertEqual(
            self.lines[2:], ["connections refused source=192.0.2.1 more=3 reason=full"]
        )
        pass_time(self.clock, 1)
        self.refuse(port=9)
        self.assertEqual(self.lines[3:], ["connection refused peer=192.0.2.1:9 reason=full"])

    def test_each_source_has_its_own_second(self) -> None:
        for source in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            self.refuse(source, 2)
            pass_time(self.clock, 0.25)
        pass_time(self.clock, 10)
        self.assertEqual(self.lines.times, [0, 0.25, 0.5, 1, 1.25, 1.5])

    def test_each_source_has_its_own_line(self) -> None:
        self.refuse("192.0.2.1", 2)
        self.refuse("192.0.2.2", 3)
        pass_time(self.clock, 1)
        self.assertEqual(
            self.lines[2:],
            [
                "connections refused source=192.0.2.1 more=1 reason=full",
                "connections refused source=192.0.2.2 more=2 reason=full",
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
        self.assertEqual(
            self.lines[100:], ["connections refused source=others more=9900 reason=full"]
        )

    def test_a_lasting_flood_from_many_sources_is_remembered_in_little_room(self) -> None:
        flood = 3000
        for number in range(flood):
            self.refuse(f"10.0.{number % 500 >> 8}.{number % 500 & 255}")
            self.assertLessEqual(len(self.refusals._sources), 101)
            self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)
            pass_time(self.clock, 0.002)
        pass_time(self.clock, 2)
        counted = self.lines.counted()
        self.assertEqual(counted.total(), flood)
        self.assertGreater(counted["others"], 0)
        self.assertGreaterEqual(self.lines.shortest_pause(), 1)

    def test_what_was_left_out_is_told_at_the_end(self) -> None:
        self.refuse(times=3)
        self.refusals.close()
        self.assertEqual(
            self.lines[1:], ["connections refused source=192.0.2.1 more=2 reason=full"]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_idle_server_has_nothing_to_do_later(self) -> None:
        self.refuse()
        pass_time(self.clock, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_steady_flood_is_a_line_a_second_that_counts_them_all(self) -> None:
        refused = 0
        while self.clock.seconds() < 20:
            self.refuse()
            refused += 1
            pass_time(self.clock, 0.03)
        pass_time(self.clock, 2)
        self.assertEqual(self.lines.counted(), {"192.0.2.1": refused})
        self.assertGreaterEqual(self.lines.shortest_pause(), 1)
        self.assertTrue(20 <= len(self.lines) <= 22, len(self.lines))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 1.5)), max_size=60))
    def test_all_are_accounted_for_and_no_source_fills_the_log(
        self, comings: list[tuple[int, float]]
    ) -> None:
        self.setUp()
        refused: Counter[str] = Counter()
        for last, pause in comings:
            pass_time(self.clock, pause)
            source = f"192.0.2.{last}"
            self.refuse(source)
            refused[source] += 1
        pass_time(self.clock, 2)
        self.assertEqual(self.lines.counted(), refused)
        self.assertGreaterEqual(self.lines.shortest_pause(), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
