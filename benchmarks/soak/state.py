"""What the reactor process has and how fast it is, at a quiet moment; and what is allowed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes
from benchmarks.load import Load
from tests.integration.faults.metered import Away, read_meter

MEMORY_MIB = 16.0
"""MiB that resident memory may grow by: what thousands of connections at once leave behind
in an allocator, once; a leak of 20 bytes a connection would be more."""

LATENCY_TIMES = 1.5
LATENCY_MS = 1.0
"""The median latency may be so many times what it was, and so many milliseconds more."""

AWAY_CPU_MS = 50.0
"""Milliseconds of CPU time that the reactor may be away from accepting connections.  How long
that is by the clock is reported; it is the machine's and its neighbours' doing, too."""

SETTLING = 60.0
"""Seconds that a server is given to come to rest."""


@dataclass(frozen=True)
class State:
    """
    A server at rest.

    :ivar latency_ms: median from connect to reply, 100 connections a second.
    :ivar away_cpu_ms: the longest time until then that the reactor was away from accepting.
    :ivar children: template and spares, when nobody is served.
    """

    connections: int
    resident_mib: float
    descriptors: int
    children: int
    zombies: int
    latency_ms: float
    slowest_ms: float
    away_cpu_ms: float
    away_wall_ms: float


def look(pid: int, port: int, load: Load, connections: int, spares: int, report: Path) -> State:
    """
    Wait until the server has come to rest, and look.

    A state that it does not come to is one of the things that the soak is to find, so it is
    looked at as it is then.
    """
    deadline = time.monotonic() + SETTLING
    answer = load.open(port, 100, 0.5, 3)
    while time.monotonic() < deadline and len(processes.children(pid)) != spares + 1:
        time.sleep(0.1)
    time.sleep(1)
    children = processes.children(pid)
    away = read_meter(report)
    return State(
        connections,
        _resident_mib(pid),
        len(os.listdir(f"/proc/{pid}/fd")),
        len(children),
        sum(_is_zombie(child) for child in children),
        answer.number("median_ms") or float("inf"),
        answer.number("p99_ms") or float("inf"),
        1000 * away.cpu,
        1000 * away.wall,
    )


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def complaints(before: State, after: State) -> list[str]:
    """What is not where it was, within the bounds."""
    found = []
    if after.resident_mib > before.resident_mib + MEMORY_MIB:
        found.append(f"resident memory has grown by more than {MEMORY_MIB:g} MiB")
    if after.descriptors > before.descriptors:
        found.append("descriptors are left open")
    if after.children != before.children:
        found.append("there are not as many idle children as there were")
    if after.zombies:
        found.append("there are zombies")
    if after.latency_ms > before.latency_ms * LATENCY_TIMES + LATENCY_MS:
        found.append(f"latency is more than {LATENCY_TIMES:g} times + {LATENCY_MS:g} ms")
    return found


def too_long_away(away: Away) -> list[str]:
    """Whether nobody was accepted for too long, ever."""
    if 1000 * away.cpu > AWAY_CPU_MS:
        return [f"the reactor was away for {1000 * away.cpu:.0f} ms of CPU time"]
    return []


_ROWS = (
    ("connections until then", "connections", ""),
    ("resident memory, MiB", "resident_mib", ".1f"),
    ("descriptors", "descriptors", ""),
    ("template and spares", "children", ""),
    ("zombies", "zombies", ""),
    ("latency, median, ms", "latency_ms", ".2f"),
    ("latency, 99%, ms", "slowest_ms", ".2f"),
    ("longest away from accepting, CPU, ms", "away_cpu_ms", ".1f"),
    ("longest away from accepting, wall, ms", "away_wall_ms", ".1f"),
)


def table(before: State, after: State) -> str:
    """Both, side by side, in Markdown."""
    lines = ["| reactor process | after the first thousand | at the end |", "| --- | ---: | ---: |"]
    for title, name, form in _ROWS:
        values = (format(getattr(state, name), form or ",") for state in (before, after))
        lines.append(f"| {title} | {' | '.join(values)} |")
    return "\n".join(lines)
