"""Tests of the README's part: ``python -m unittest benchmarks.test_readme``."""

import unittest

from benchmarks.readme import BEGIN, END, NoPlace, included, summary

FILLED = f"above\n\n{BEGIN}\n\ntables\n\n{END}\n\nbelow\n"


class Summary(unittest.TestCase):
    def test_single_cases_are_left_out(self) -> None:
        self.assertEqual(
            summary("machine\n\n| goals |\n\n#### A case\n\n| one |\n"), "machine\n\n| goals |"
        )

    def test_without_cases_it_is_all(self) -> None:
        self.assertEqual(summary("machine\n"), "machine")


class Inclusion(unittest.TestCase):
    def test_between_the_markers(self) -> None:
        self.assertEqual(included(f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n", "tables\n"), FILLED)

    def test_again_changes_nothing(self) -> None:
        self.assertEqual(included(FILLED, "tables"), FILLED)

    def test_a_lone_marker_gets_its_end(self) -> None:
        self.assertEqual(included(f"above\n\n{BEGIN}\n\nbelow\n", "tables"), FILLED)

    def test_no_place_for_it(self) -> None:
        for text in ("no marker", f"{BEGIN}\n{BEGIN}", f"{END}\n{BEGIN}", f"{BEGIN}{END}{END}"):
            with self.assertRaises(NoPlace):
                included(text, "tables")


if __name__ == "__main__":
    unittest.main()
