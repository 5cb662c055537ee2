"""
The servers that faults are injected into have a meter: whatever is done to them, their reactor
is never away for long from accepting connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Server

from .metered import metered, read_meter

MOST_CPU = 0.05
"""Seconds of CPU time that one turn of the reactor may take."""


@pytest.fixture
def serve(serve: Callable[..., Server], folder: Path) -> Iterator[Callable[..., Server]]:
    """
    As the fixture of that name elsewhere, with a meter, which is looked at when the server has
    been stopped.
    """
    servers: list[tuple[Server, Path]] = []

    def start(*options: str, **more: Any) -> Server:
        report = folder / f"away-{len(servers)}"
        server = serve(*options, wrap=partial(metered, report=report), **more)
        servers.append((server, report))
        return server

    yield start
    for server, report in servers:
        if not server.is_over():
            server.check_nothing_is_left()
            server.stop()
        away = read_meter(report)
        print(f"longest away from accepting: {away}")
        assert 0 < away.cpu < MOST_CPU, away
