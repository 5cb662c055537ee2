"""``python -m benchmarks.readme``: put what was measured into the README, between its markers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
PICTURE = "![Twisted Fork beside other servers]({path})"


ALL = "Every figure, and ratios without a goal: [{path}]({path})."


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("readme", type=Path, nargs="?", default=HERE.parent / "README.md")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="DIR")
    options = parser.parse_args(arguments)
    readme, results = options.readme.resolve(), options.results.resolve()
    try:
        tables = results / "results.md"
        path = tables.relative_to(readme.parent).as_posix()
        parts = [summary(tables.read_text()), ALL.format(path=path)]
        picture = results / "results.png"
        if picture.exists():
            parts.insert(0, PICTURE.format(path=picture.relative_to(readme.parent).as_posix()))
        readme.write_text(included(readme.read_text(), "\n\n".join(parts)))
    except (OSError, ValueError, NoPlace) as failure:
        print(f"nothing was written: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
