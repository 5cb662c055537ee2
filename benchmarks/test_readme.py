"""Tests of what the pages have of the results: ``python -m unittest benchmarks.test_readme``."""

import shutil
import tempfile
import unittest
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.readme import (
    BEGIN,
    COLUMNS,
    END,
    HERE,
    ROWS,
    NoPlace,
    comparison,
    included,
    machine,
    main,
    medians,
    summary,
)

FILLED = f"above\n\n{BEGIN}\n\ntables\n\n{END}\n\nbelow\n"
FRESH = next(case for case in CASES if case.name == "fresh")
RESULTS = f"""Measured on something.

The method.

| goals |

#### {FRESH.title} ({FRESH.unit})

| server | median | lowest to highest | remark |
| --- | --- | --- | --- |
| Twisted Fork | 1,847 | 1,580 to 1,947 |  |
| C | 7,130 | 6,360 to 7,392 |  |

#### Another case (ms)

| server | median | lowest to highest | remark |
| --- | --- | --- | --- |
| tcpserver | 1 | 1 to 1 |  |
"""


class Summary(unittest.TestCase):
    def test_single_cases_are_left_out(self) -> None:
        self.assertEqual(
            summary("machine\n\n| goals |\n\n#### A case\n\n| one |\n"), "machine\n\n| goals |"
        )

    def test_without_cases_it_is_all(self) -> None:
        self.assertEqual(summary("machine\n"), "machine")

    def test_the_machine_is_the_first_paragraph(self) -> None:
        self.assertEqual(machine(RESULTS), "Measured on something.")


class Compared(unittest.TestCase):
    def test_medians_are_those_of_one_case(self) -> None:
        self.assertEqual(medians(RESULTS, FRESH.title), {"Twisted Fork": "1,847", "C": "7,130"})
        self.assertEqual(medians(RESULTS, "A case that was not measured"), {})

    def test_a_server_that_was_not_measured_has_an_empty_cell(self) -> None:
        head, _rule, first, *_others = comparison(RESULTS).splitlines()
        self.assertEqual(head, "| | Twisted Fork | ForkingTCPServer | tcpserver | xinetd | C |")
        self.assertEqual(first, f"| {ROWS[0].what} | 1,847 |  |  |  | 7,130 |")

    def test_every_row_has_a_case_and_every_column_a_server(self) -> None:
        cases = {case.name: case for case in CASES}
        used = set()
        for row in ROWS:
            labels = {contender.label for contender in cases[row.case].contenders}
            self.assertIn(COLUMNS[0] + row.behind, labels, row)
            used |= {server for server in COLUMNS if server + row.behind in labels}
        self.assertEqual(used, set(COLUMNS))


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


class Pages(unittest.TestCase):
    def test_the_pages_have_what_the_results_say(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            pages = ("README.md", "benchmarks/README.md")
            for name in (*pages, "benchmarks/results/results.md"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(HERE.parent / name, root / name)
            self.assertEqual(main(["--root", folder]), 0)
            for name in pages:
                self.assertEqual((root / name).read_text(), (HERE.parent / name).read_text(), name)


if __name__ == "__main__":
    unittest.main()
