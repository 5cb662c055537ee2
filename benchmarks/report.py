"""The tables, as text, as Markdown and as JSON. Pure: from results to strings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.case import CaseResult, Scale
from benchmarks.figures import Verdict, middle, spread
from benchmarks.machine import Machine

Rows = list[tuple[str, ...]]
FIGURE_HEAD = ("server", "median", "lowest to highest", "remark")
VERDICT_HEAD = ("case", "server", "median", "against", "its median", "ratio", "goal", "verdict")
RATIO_HEAD = VERDICT_HEAD[:6]


@dataclass
class Results:
    """All that a run found."""

    machine: Machine
    rounds: int
    scale: Scale
    cases: list[CaseResult] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)

    def method(self) -> str:
        return (
            f"Median of {self.rounds} interleaved round(s) of {self.scale.seconds:g} s after "
            f"{self.scale.warmup:g} s of warm-up; a ratio is taken within each round, and then "
            "the median of the ratios. A connection: connect, send 32 bytes, read the reply and "
            "check it, close. Every server writes a log line for each connection, to a file, "
            f"where it is not called quiet and is able to. Crowd: {self.scale.crowd:,} idle "
            f"connections; bytes there and back: {self.scale.bulk_mib} MiB; fresh interpreters: "
            f"{self.scale.slow_seconds:g} s after {self.scale.slow_warmup:g} s."
        )


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def figure_rows(result: CaseResult) -> Rows:
    """A row for each contender of a case."""
    digits, table = result.case.digits, result.table()
    rows: Rows = []
    for label, series in table.items():
        ends = spread(series)
        span = " to ".join(number(end, digits) for end in ends) if ends else "-"
        errors = result.errors(label)
        notes = {sample.note for sample in result.samples[label] if sample.note}
        remark = f"{errors:,} errors: {'; '.join(sorted(notes))}" if errors else ""
        rows.append((label, number(middle(series), digits), span, remark))
    return rows


def verdict_row(result: CaseResult, verdict: Verdict) -> tuple[str, ...]:
    digits, comparison = result.case.digits, verdict.comparison
    labels = (comparison.label, *comparison.against)
    troubled = any(result.errors(label) for label in labels)
    return (
        result.case.name,
        comparison.label,
        "-" if verdict.ours is None else f"{number(verdict.ours, digits)} {result.case.unit}",
        comparison.other,
        number(verdict.theirs, digits) if comparison.against else "",
        number(verdict.figure, 2) if comparison.against else "",
        comparison.goal(result.case.unit),
        f"{verdict.word}, with errors" if troubled else verdict.word,
    )


def verdict_rows(results: Sequence[CaseResult], goals: bool) -> Rows:
    """A row for each comparison: of those with a goal, or, shorter, of those without."""
    return [
        verdict_row(result, verdict)[: len(VERDICT_HEAD if goals else RATIO_HEAD)]
        for result in results
        for verdict in result.verdicts()
        if verdict.comparison.has_goal == goals and (goals or verdict.figure is not None)
    ]


def _aligned(head: tuple[str, ...], rows: Rows) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )
    return "\n".join(f"  {line}" for line in lines)


def _piped(head: tuple[str, ...], rows: Rows) -> str:
    rule = ("---",) * len(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def as_text(results: Results) -> str:
    """The tables for a terminal."""
    parts = [f"{results.machine.describe()}\n{results.method()}"]
    for result in results.cases:
        title = f"{result.case.name}: {result.case.title}, {result.case.unit}"
        parts.append(f"{title}\n{_aligned(FIGURE_HEAD, figure_rows(result))}")
    shown = verdict_rows(results.cases, goals=False)
    if shown:
        parts.append(f"Compared\n{_aligned(RATIO_HEAD, shown)}")
    parts.append(f"Goals\n{_aligned(VERDICT_HEAD, verdict_rows(results.cases, goals=True))}")
    parts += [f"{name}: left out, {reason}" for name, reason in results.unavailable.items()]
    return "\n\n".join(parts)


def as_markdown(results: Results) -> str:
    """The tables for a README."""
    parts = [
        f"Measured on {results.machine.describe()}.",
        results.method(),
        _piped(VERDICT_HEAD, verdict_rows(results.cases, goals=True)),
    ]
    for result in results.cases:
        parts.append(f"#### {result.case.title} ({result.case.unit})")
        parts.append(_piped(FIGURE_HEAD, figure_rows(result)))
    shown = verdict_rows(results.cases, goals=False)
    if shown:
        parts += ["#### Further ratios", _piped(RATIO_HEAD, shown)]
    if results.unavailable:
        left_out = (f"{name} ({reason})" for name, reason in results.unavailable.items())
        parts.append(f"Left out: {'; '.join(left_out)}.")
    return "\n\n".join(parts) + "\n"


def as_json(results: Results) -> str:
    """Everything, every round of it."""
    document = {
        "machine": results.machine.as_dict(),
        "rounds": results.rounds,
        "scale": vars(results.scale),
        "left_out": results.unavailable,
        "cases": [_case_document(result) for result in results.cases],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _case_document(result: CaseResult) -> dict[str, object]:
    case = result.case
    return {
        "name": case.name,
        "title": case.title,
        "unit": case.unit,
        "more_is_better": case.more_is_better,
        "contenders": [
            {
                "label": contender.label,
                "server": contender.peer.name,
                "options": contender.options,
                "rounds": [
                    {**vars(sample), "details": dict(sample.details)}
                    for sample in result.samples[contender.label]
                ],
            }
            for contender in case.contenders
            if contender.label in result.samples
        ],
        "comparisons": [
            {
                "label": verdict.comparison.label,
                "against": verdict.comparison.other,
                "figure": verdict.figure,
                "rounds": verdict.rounds,
                "goal": verdict.comparison.goal(case.unit),
                "verdict": verdict.word,
            }
            for verdict in result.verdicts()
        ],
    }
