"""
``python -m benchmarks.readme``: put what was measured between the markers of two pages: the
comparison into the README, goals and verdicts into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.cases import CASES
from benchmarks.cases.labels import C_PROGRAM, FORKING, OURS

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
PICTURE = "![Twisted Fork beside other servers]({path})"
ALL = "Every figure, with its range over the rounds: [{path}]({path})."

COLUMNS = (OURS, FORKING, "tcpserver", "xinetd", C_PROGRAM)
"""Servers of the comparison."""


class Row(NamedTuple):
    """
    A row of the comparison.

    :ivar what: what its figures are.
    :ivar case: the name of the case that has them.
    :ivar behind: what stands behind the servers' names in that case.
    """

    what: str
    case: str
    behind: str = ""


ROWS = (
    Row("connections/s, a fresh child for each", "fresh"),
    Row("the same beside a crowd of idle connections", "crowd", ", crowd"),
    Row("connections/s, the same program executed for each", "program"),
    Row("connections/s, a handler with 100 MiB of objects", "heavy"),
    Row("connections/s, children that serve 1,000 each", "reuse"),
    Row("connections/s, TLS, full handshakes", "tls"),
    Row("ms from connect to reply, 200 connections/s", "latency"),
    Row("MiB/s there and back over one connection", "bulk"),
    Row("MiB of private memory, an idle child", "memory"),
    Row("µs of CPU, the accepting process, each connection", "parent-cpu"),
)


class NoPlace(Exception):
    """The text has no place for the results, or more than one; the message says what."""


def included(text: str, content: str) -> str:
    """The text with that content between its markers; a lone first marker gets a second."""
    if text.count(BEGIN) != 1:
        raise NoPlace(f"there has to be one line {BEGIN}, and there are {text.count(BEGIN)}")
    before, rest = text.split(BEGIN)
    after = rest.partition(END)[2] if END in rest else rest
    if END in before or END in after:
        raise NoPlace(f"there has to be one line {END} at most, after {BEGIN}")
    return f"{before}{BEGIN}\n\n{content.strip()}\n\n{END}{after}"


def summary(results: str) -> str:
    """What stands before the tables of single cases: the machine, the method, the goals."""
    return results.partition("\n#### ")[0].strip()


def machine(results: str) -> str:
    """The paragraph that says what was measured on, and when."""
    return results.partition("\n\n")[0].strip()


def medians(results: str, title: str) -> dict[str, str]:
    """The median of each server in the table of the case with that title; empty without one."""
    table = results.partition(f"\n#### {title} (")[2].partition("\n#### ")[0]
    rows: list[tuple[str, str]] = re.findall(r"^\| (.+?) \| (.+?) \|", table, re.MULTILINE)
    return dict(rows[2:])  # without the head and the rule


def comparison(results: str) -> str:
    """A table of medians: a row for each question, a column for each server."""
    titles = {case.name: case.title for case in CASES}
    lines = [f"| | {' | '.join(COLUMNS)} |", "|---|" + "---:|" * len(COLUMNS)]
    for row in ROWS:
        told = medians(results, titles[row.case])
        figures = (told.get(server + row.behind, "") for server in COLUMNS)
        lines.append(f"| {row.what} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("--root", type=Path, default=HERE.parent, metavar="DIR")
    root = parser.parse_args(arguments).root
    pages = {
        root / "README.md": (comparison, "benchmarks/results/results"),
        root / "benchmarks" / "README.md": (summary, "results/results"),
    }
    try:
        results = (root / "benchmarks" / "results" / "results.md").read_text()
        written = {}
        for page, (tables, path) in pages.items():
            parts = [tables(results), ALL.format(path=f"{path}.md")]
            if tables is comparison:
                picture = PICTURE.format(path=f"{path}.png")
                parts = [picture, machine(results), *parts]
            written[page] = included(page.read_text(), "\n\n".join(parts))
        for page, text in written.items():
            page.write_text(text)
    except (OSError, NoPlace) as failure:
        print(f"nothing was written: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
