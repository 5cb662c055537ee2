"""The picture: bars for the servers. Needs matplotlib, which it alone imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.case import CaseResult
from benchmarks.figures import middle, spread
from benchmarks.report import Results, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = ("fresh", "reuse", "latency")
# From the palette of Okabe and Ito, which the colour-blind can tell apart.
COLOURS = {"ours": "#0072B2", "fork": "#E69F00", "exec": "#999999"}
KINDS = {
    "ours": "Twisted Fork",
    "fork": "forks a process for each connection",
    "exec": "executes a program for each connection",
}


def draw(results: Results, path: Path) -> bool:
    """Write the picture; false where matplotlib is missing or there is nothing to show."""
    shown = [result for result in results.cases if result.case.name in PANELS]
    shown = [result for result in shown if any(middle(s) for s in result.table().values())]
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError:
        return False
    if not shown:
        return False
    heights = [len(result.samples) + 1.2 for result in shown]
    figure = Figure(figsize=(9, 0.36 * sum(heights) + 1), layout="constrained")
    panels = figure.subplots(len(shown), 1, height_ratios=heights, squeeze=False)
    for panel, result in zip(panels[:, 0], shown, strict=True):
        _draw_case(panel, result)
    patches = [Patch(color=COLOURS[kind], label=text) for kind, text in KINDS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)
    return True


def _draw_case(panel: Axes, result: CaseResult) -> None:
    case, table = result.case, result.table()
    kinds = {contender.label: contender.peer.kind for contender in case.contenders}
    medians = {label: figure for label in table if (figure := middle(table[label])) is not None}
    labels = sorted(medians, key=medians.__getitem__, reverse=not case.more_is_better)
    for row, label in enumerate(labels):
        low, high = spread(table[label]) or (medians[label], medians[label])
        panel.barh(row, medians[label], color=COLOURS[kinds[label]], height=0.7)
        panel.plot((low, high), (row, row), color="black", linewidth=1)
        panel.text(
            max(medians[label], high) + 0.01 * max(medians.values()),
            row,
            number(medians[label], case.digits),
            va="center",
        )
    panel.set_yticks(range(len(labels)), labels)
    better = "more is better" if case.more_is_better else "less is better"
    panel.set_title(f"{case.title}: {case.unit}, {better}", loc="left", fontsize=10)
    panel.margins(x=0.12)
    panel.spines[["top", "right"]].set_visible(False)
