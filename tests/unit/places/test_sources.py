"""Tests for what is remembered of sources: rates, penalties, how many are alive."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.places import sources
from twisted_fork.places.sources import MOST_REMEMBERED, Penalties, Rate, Sources

FLOOD = 1_000
"""Sources that are remembered in these tests, so that a flood of more is soon made."""

pauses = st.one_of(st.just(0.0), st.floats(0, 2, allow_nan=False), st.floats(0, 1000))
names = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::/64"])


class RateTests(Case):
    """A burst, refilled evenly."""

    @settings(max_examples=300)
    @given(
        st.integers(1, 20),
        st.floats(0.01, 1000),
        st.lists(st.tuples(names, pauses), max_size=80),
    )
    def test_never_more_than_the_burst_and_what_was_refilled(
        self, most: int, seconds: float, comings: list[tuple[str, float]]
    ) -> None:
        rate = Rate(most, seconds)
        admitted: dict[str, list[float]] = {}
        now = 0.0
        for name, pause in comings:
            now += pause
            if rate.admits(name, now):
                admitted.setdefault(name, []).append(now)
        for times in admitted.values():
            for first in range(len(times)):
                for last in range(first, len(times)):
                    refilled = (times[last] - times[first]) * most / seconds
                    self.assertLessEqual(last - first + 1, most + refilled + 1e-6)

    @given(st.integers(1, 50), st.floats(0.01, 1000))
    def test_a_whole_burst_is_admitted_and_not_one_more(self, most: int, seconds: float) -> None:
        rate = Rate(most, seconds)
        self.assertEqual([rate.admits("a", 5.0) for _ in range(most + 3)].count(True), most)

    @given(st.integers(1, 50), st.floats(0.01, 1000), st.integers(1, 30))
    def test_who_comes_no_faster_than_the_refill_is_never_refused(
        self, most: int, seconds: float, times: int
    ) -> None:
        rate = Rate(most, seconds)
        pace = seconds / most * 1.000001
        self.assertTrue(all(rate.admits("a", number * pace) for number in range(times + most)))

    def test_who_is_refused_again_and_again_is_admitted_as_soon_as_there_is_a_token(self) -> None:
        rate = Rate(1, 10)
        self.assertTrue(rate.admits("a", 0))
        self.assertFalse(any(rate.admits("a", tenth / 10) for tenth in range(1, 98)))
        self.assertTrue(rate.admits("a", 10.1))

    def test_sources_do_not_know_of_each_other(self) -> None:
        rate = Rate(1, 10)
        self.assertTrue(rate.admits("a", 0))
        self.assertTrue(rate.admits("b", 0))
        self.assertFalse(rate.admits("a", 0))

    def test_who_went_away_is_forgotten(self) -> None:
        rate = Rate(2, 10)
        for number in range(100):
            rate.admits(str(number), 0)
        rate.admits("a", 10.5)
        self.assertEqual(len(rate), 1)

    def test_a_flood_of_sources_costs_no_more_than_so_much(self) -> None:
        self.patch(sources, "MOST_REMEMBERED", FLOOD)
        rate = Rate(1, 1000)
        for number in range(3 * FLOOD):
            self.assertTrue(rate.admits(str(number), number / 1000))
            self.assertLessEqual(len(rate), FLOOD)
        self.assertFalse(rate.admits(str(3 * FLOOD - 1), 3.0), "the latest are remembered")

    def test_somebody_who_keeps_coming_is_remembered_through_a_flood(self) -> None:
        self.patch(sources, "MOST_REMEMBERED", FLOOD)
        rate = Rate(1, 1000)
        self.assertTrue(rate.admits("a", 0))
        for number in range(3 * FLOOD):
            rate.admits(str(number), 0)
            if number % (FLOOD // 2) == 0:
                self.assertFalse(rate.admits("a", 0))

    def test_what_is_remembered_is_some_megabytes(self) -> None:
        self.assertLessEqual(MOST_REMEMBERED, 100_000)


class PenaltiesTests(Case):
    """Doubled with each offence, up to 32-fold."""

    @settings(max_examples=300)
    @given(st.floats(0.01, 100), st.lists(st.tuples(names, st.floats(0, 4000)), max_size=40))
    def test_it_agrees_with_a_model(self, first: float, offences: list[tuple[str, float]]) -> None:
        penalties = Penalties(first)
        model: dict[str, tuple[float, float]] = {}
        now = 0.0
        for name, pause in offences:
            now += pause
            latest, until = model.get(name, (0.0, -1e9))
            self.assertAlmostEqual(penalties.left(name, now), max(0.0, until - now))
            behaved = now - until
            wanted = min(2 * latest, 32 * first) if latest and behaved < 32 * first else first
            self.assertEqual(penalties.offended(name, now), wanted)
            model[name] = wanted, now + wanted

    def test_who_has_done_nothing_is_not_refused(self) -> None:
        self.assertEqual(Penalties(10).left("a", 0), 0)

    def test_it_ends(self) -> None:
        penalties = Penalties(10)
        penalties.offended("a", 0)
        self.assertEqual(penalties.left("a", 4), 6)
        self.assertEqual(penalties.left("a", 10), 0)

    def test_each_offence_doubles_it_up_to_32_fold(self) -> None:
        penalties = Penalties(1)
        given_out = [penalties.offended("a", 0) for _ in range(8)]
        self.assertEqual(given_out, [1, 2, 4, 8, 16, 32, 32, 32])

    def test_who_has_behaved_for_as_long_as_the_longest_begins_anew(self) -> None:
        penalties = Penalties(1)
        penalties.offended("a", 0)
        self.assertEqual(penalties.offended("a", 1 + 31.9), 2)
        self.assertEqual(penalties.offended("a", 1 + 31.9 + 2 + 32), 1)

    def test_a_flood_of_sources_costs_no_more_than_so_much(self) -> None:
        self.patch(sources, "MOST_REMEMBERED", FLOOD)
        penalties = Penalties(1000)
        for number in range(3 * FLOOD):
            penalties.offended(str(number), 0)
            self.assertLessEqual(len(penalties), FLOOD)
        self.assertGreater(penalties.left(str(3 * FLOOD - 1), 0), 0, "the latest are remembered")

    def test_who_has_behaved_is_forgotten(self) -> None:
        penalties = Penalties(1)
        for number in range(100):
            penalties.offended(str(number), 0)
        penalties.offended("a", 34)
        self.assertEqual(len(penalties), 1)


class Connection:
    """As much of one as is counted."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.counted = False


class SourcesTests(Case):
    """How many connections of a source are alive."""

    @given(st.lists(st.tuples(names, st.booleans()), max_size=60))
    def test_it_counts_and_forgets_who_has_none(self, comings: list[tuple[str, bool]]) -> None:
        counted = Sources()
        alive: list[Connection] = []
        for name, comes in comings:
            of_that_name = [each for each in alive if each.source == name]
            if comes:
                alive.append(Connection(name))
                self.assertEqual(counted.began(alive[-1]), len(of_that_name) + 1)
            elif of_that_name:
                gone = of_that_name[0]
                alive.remove(gone)
                counted.ended(gone)
                counted.ended(gone)  # twice does no harm
            sources = [each.source for each in alive]
            self.assertEqual(counted.alive(name), sources.count(name))
            self.assertEqual(len(counted), len(set(sources)))
