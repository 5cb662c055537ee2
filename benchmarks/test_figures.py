"""Tests of the arithmetic: ``python -m unittest benchmarks.test_figures``."""

import unittest

from benchmarks.figures import Comparison, best, judge, middle, ratios, rotated, spread


class Medians(unittest.TestCase):
    def test_rounds_without_a_figure_are_left_out(self) -> None:
        self.assertEqual(middle([3.0, None, 1.0, 2.0]), 2.0)

    def test_no_figure_at_all(self) -> None:
        self.assertIsNone(middle([None, None]))
        self.assertIsNone(spread([None]))

    def test_spread(self) -> None:
        self.assertEqual(spread([3.0, None, 1.0]), (1.0, 3.0))


class Ratios(unittest.TestCase):
    def test_within_the_round(self) -> None:
        self.assertEqual(ratios([10.0, 40.0], [5.0, 10.0]), [2.0, 4.0])

    def test_a_missing_or_zero_side_gives_no_ratio(self) -> None:
        self.assertEqual(ratios([None, 1.0, 1.0], [1.0, None, 0.0]), [None, None, None])

    def test_best_of_each_round(self) -> None:
        rivals = [[1.0, 5.0, None], [2.0, 4.0, None]]
        self.assertEqual(best(rivals, more_is_better=True), [2.0, 5.0, None])
        self.assertEqual(best(rivals, more_is_better=False), [1.0, 4.0, None])

    def test_best_of_nobody(self) -> None:
        self.assertEqual(best([], more_is_better=True), [])


class Judgement(unittest.TestCase):
    def test_median_of_ratios_is_not_ratio_of_medians(self) -> None:
        comparison = Comparison("ours", ("theirs",), at_least=2.0)
        table = {"ours": [2.0, 12.0, 10.0], "theirs": [1.0, 4.0, 10.0]}
        verdict = judge(comparison, table, more_is_better=True)
        self.assertEqual((verdict.figure, verdict.word, verdict.rounds), (2.0, "reached", 3))
        self.assertEqual((verdict.ours, verdict.theirs), (10.0, 4.0))

    def test_floor_missed(self) -> None:
        comparison = Comparison("ours", ("a", "b"), at_least=2.0)
        table = {"ours": [3.0], "a": [1.0], "b": [2.0]}
        self.assertEqual(judge(comparison, table, more_is_better=True).word, "MISSED")

    def test_ceiling(self) -> None:
        comparison = Comparison("ours", at_most=0.6)
        self.assertEqual(judge(comparison, {"ours": [0.5]}, more_is_better=False).word, "reached")
        self.assertEqual(judge(comparison, {"ours": [0.7]}, more_is_better=False).word, "MISSED")

    def test_without_a_rival_nothing_is_claimed(self) -> None:
        comparison = Comparison("ours", ("absent",), at_least=1.0)
        verdict = judge(comparison, {"ours": [9.0]}, more_is_better=True)
        self.assertEqual((verdict.word, verdict.reached), ("not measured", None))

    def test_without_a_goal_there_is_no_verdict(self) -> None:
        verdict = judge(Comparison("a", ("b",)), {"a": [1.0], "b": [2.0]}, more_is_better=True)
        self.assertEqual((verdict.figure, verdict.word, verdict.reached), (0.5, "", None))

    def test_goal_in_words(self) -> None:
        self.assertEqual(Comparison("ours", at_most=0.6).goal("MiB"), "<= 0.6 MiB")
        self.assertEqual(Comparison("ours", ("a",), at_least=1.5).goal("/s"), ">= 1.5 x")
        self.assertEqual(Comparison("ours", ("a", "b"), rival="both").other, "both")


class Order(unittest.TestCase):
    def test_everyone_has_a_turn_and_the_first_place_moves(self) -> None:
        orders = [rotated(4, number) for number in range(4)]
        self.assertEqual(orders, [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])


if __name__ == "__main__":
    unittest.main()
