"""
Whatever raises while the server stops, with a connection that is being served and another that
has not said who it is: SIGTERM ends it in its time, with status 0, and nothing is left.

What every connection calls too is left to test_injected.py: each call here takes a server of its
own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.integration.entering.test_proxy_protocol import V2
from tests.integration.peers.clients import read
from tests.integration.servers.serving import Serve

from .injection import ENTRY, Running, left_out
from .peers import Way, served, whatever_comes

FORK = Way(handler="", options=("--proxy-protocol",), spares=1, question=V2 + b"question")
SPAWN = Way(handler="", launcher="spawn", spares=1)


def stop(serve: Serve, folder: Path, way: Way, before: Callable[[Running], object]) -> None:
    """SIGTERM, after *before*, while a connection is served and another is silent."""
    running = Running(serve, folder, way)
    with running.peers.connect() as busy, running.peers.connect() as silent:
        busy.sendall(way.question)
        assert read(busy, len(way.answer)) == way.answer
        running.wait_until_accepted(2)
        before(running)
        running.stop()
        for connection in (busy, silent):
            with whatever_comes():
                assert connection.recv(1) == b""


def functions(serve: Serve, folder: Path, way: Way) -> list[str]:
    """What is called from SIGTERM to the end, and not by each connection that is served."""
    file = folder / "called"
    by_connections: set[str] = set()

    def record(running: Running) -> None:
        running.remote.record()
        served(running.peers)
        running.wait_until_accepted(2)
        by_connections.update(running.remote.recorded())
        running.remote.record_to_the_end(str(file))

    stop(serve, folder, way, record)
    called = set(json.loads(file.read_text())) - by_connections
    return sorted(name for name in called if not left_out(name, ENTRY))


def test_whatever_raises_while_it_stops_it_ends_in_time(serve: Serve, folder: Path) -> None:
    fork = functions(serve, folder, FORK)
    spawn = [name for name in functions(serve, folder, SPAWN) if name not in fork]
    assert len(fork) > 15
    assert spawn
    calls = [*((FORK, name) for name in fork), *((SPAWN, name) for name in spawn)]
    for way, name in calls:

        def raises(running: Running, name: str = name) -> None:
            running.remote.arm(name, 1, ENTRY)

        try:
            stop(serve, folder, way, raises)
        except AssertionError as failure:
            raise AssertionError(f"{name} raises: {failure}") from None
