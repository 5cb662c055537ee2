"""
Whatever raises on the way of a connection, whatever serves it; see test_injected.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.servers.serving import Serve

from .injection import ENTRY, RETURN, Injection
from .peers import Way

PROGRAM = ("cat",)


WAYS = {
    "program": Way(program=PROGRAM, launcher="spawn", answer=b"question"),
    "program by the template": Way(options=("--chdir=/",), program=PROGRAM, answer=b"question"),
    "unix": Way(program=PROGRAM, launcher="spawn", answer=b"question", unix=True),
    "spawn": Way(launcher="spawn", handler=""),
}


@pytest.mark.parametrize("at", [ENTRY, RETURN])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_whatever_raises_costs_one_connection(
    serve: Serve, folder: Path, way: Way, at: str
) -> None:
    most = 1 if way.launcher == "spawn" and not way.program else 4
    injection = Injection(serve, folder, way, at, most)
    injection.run()
    assert len(injection.raised) > 50


def test_whatever_raises_while_a_spawned_child_waits_costs_one_connection(
    serve: Serve, folder: Path
) -> None:
    injection = Injection(serve, folder, Way(launcher="spawn", handler="", spares=1), ENTRY, most=1)
    injection.run()
    assert len(injection.raised) > 50
