"""The arithmetic of the comparison: medians, ratios within a round, goals. No I/O.

A series holds one figure per round, ``None`` where the round gave none. Ratios are
taken within a round, where both sides met the same weather, and only then is the
median taken over the rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Series = Sequence[float | None]


@dataclass(frozen=True)
class Comparison:
    """A contender's figure, held against a bound or against the figures of others."""

    label: str
    """Whose figure."""
    against: tuple[str, ...] = ()
    """Whose figures it is divided by, the best of them; none: it stands for itself."""
    at_least: float | None = None
    """The goal, where it is a floor."""
    at_most: float | None = None
    """The goal, where it is a ceiling. With neither, the comparison is shown only."""
    rival: str = ""
    """What to call those in ``against``; if left out, their names."""

    @property
    def has_goal(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    @property
    def other(self) -> str:
        return self.rival or ", ".join(self.against)

    def goal(self, unit: str) -> str:
        if not self.has_goal:
            return ""
        sign, bound = (">=", self.at_least) if self.at_most is None else ("<=", self.at_most)
        return f"{sign} {bound:g} {'x' if self.against else unit}"


@dataclass(frozen=True)
class Verdict:
    """How a comparison came out; ``None`` where no round could tell."""

    comparison: Comparison
    figure: float | None
    """The median over the rounds of the ratio, or of the figure if there is no rival."""
    ours: float | None
    theirs: float | None
    rounds: int
    """How many rounds had a figure for both sides."""

    @property
    def reached(self) -> bool | None:
        """``None`` if there is no goal, or nothing to tell it by."""
        if self.figure is None or not self.comparison.has_goal:
            return None
        floor, ceiling = self.comparison.at_least, self.comparison.at_most
        return (floor is None or self.figure >= floor) and (
            ceiling is None or self.figure <= ceiling
        )

    @property
    def word(self) -> str:
        if not self.comparison.has_goal:
            return ""
        return {True: "reached", False: "MISSED", None: "not measured"}[self.reached]


def middle(series: Series) -> float | None:
    """The median of the rounds that gave a figure."""
    known = [figure for figure in series if figure is not None]
    return median(known) if known else None


def spread(series: Series) -> tuple[float, float] | None:
    """The lowest and the highest figure."""
    known = [figure for figure in series if figure is not None]
    return (min(known), max(known)) if known else None


def ratios(ours: Series, theirs: Series) -> list[float | None]:
    """Round by round, ours divided by theirs."""
    return [
        mine / other if mine is not None and other else None
        for mine, other in zip(ours, theirs, strict=False)
    ]


def best(rivals: Sequence[Series], more_is_better: bool) -> list[float | None]:
    """Round by round, the best figure of several contenders."""
    choose = max if more_is_better else min
    rounds = max((len(series) for series in rivals), default=0)
    found: list[float | None] = []
    for number in range(rounds):
        known = [series[number] for series in rivals if number < len(series)]
        figures = [figure for figure in known if figure is not None]
        found.append(choose(figures) if figures else None)
    return found


def judge(comparison: Comparison, table: Mapping[str, Series], more_is_better: bool) -> Verdict:
    """Work a comparison out from a case's figures, by label."""
    ours = table.get(comparison.label, ())
    if not comparison.against:
        return Verdict(comparison, middle(ours), middle(ours), None, _known(ours))
    theirs = best([table[name] for name in comparison.against if name in table], more_is_better)
    quotients = ratios(ours, theirs)
    return Verdict(comparison, middle(quotients), middle(ours), middle(theirs), _known(quotients))


def _known(series: Series) -> int:
    return sum(figure is not None for figure in series)


def rotated(count: int, round_number: int) -> list[int]:
    """The order in which ``count`` contenders take their turns in a round.

    Each round begins one further on, and every other one runs backwards, so that no
    contender always follows the same one.
    """
    step = -1 if round_number % 2 else 1
    return [(round_number + step * position) % count for position in range(count)]
