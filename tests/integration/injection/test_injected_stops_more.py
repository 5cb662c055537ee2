"""
The other half of test_injected_stops.py: a file of its own, so that both run at the same time.
"""

from __future__ import annotations

from pathlib import Path

from tests.integration.serving import Serve

from .test_injected_stops import check_stops


def test_whatever_else_raises_while_it_stops_it_ends_in_time(serve: Serve, folder: Path) -> None:
    check_stops(serve, folder, 1)
