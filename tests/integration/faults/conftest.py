"""
The servers that faults are injected into have a meter: whatever is done to them, their reactor
is never away for long from accepting connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.servers.serving import Serve

from .metered import metered, read_meter

MOST_CPU = 0.05
"""Seconds of CPU time that one turn of the reactor may take."""


@pytest.fixture
def serve(serve: Serve, folder: Path) -> Iterator[Serve]:
    """
    As the fixture of that name elsewhere, with a meter for each server, which is looked at when
    the server has been stopped.
    """
    reports: list[Path] = []

    def wrap(twistd: list[str]) -> list[str]:
        reports.append(folder / f"away-{len(reports)}")
        return metered(twistd, reports[-1])

    serve.defaults = {"wrap": wrap, "forked": True}
    yield serve
    serve.finish()
    for report in reports:
        away = read_meter(report)
        print(f"longest away from accepting: {away}")
        assert 0 < away.cpu < MOST_CPU, away
