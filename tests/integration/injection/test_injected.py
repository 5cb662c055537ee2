"""
Whatever raises on the way of a connection through the reactor process: it costs that connection
and its child, and nothing else.

Every call of every function that connections pass raises once; what the peer sees then is an
end, or that it is served.  The next connection is served, the reactor process has what it had
before (children by state, sources, what is watched, ports, delayed calls, descriptors), no
process is left, and what was raised is told once.  After a hundred such calls SIGTERM ends the
server with status 0, in time, as it does when there was none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.servers.serving import Serve

from .injection import ENTRY, RETURN, Injection
from .peers import Peers, Way, served


def crashed(peers: Peers) -> None:
    """One whose child ends without serving it."""
    peers.ask(b"!exits_at_once")


def another_waits(peers: Peers) -> None:
    """One that is served, while another waits in the backlog."""
    with peers.connect() as first, peers.connect() as second:
        peers.finish(first, peers.way.question)
        first.close()
        peers.finish(second, peers.way.question)


def twice(peers: Peers) -> None:
    """Two, one after the other."""
    served(peers)
    peers.wait_until_served()
    served(peers)


WAYS = {
    "spares": Way(spares=2, doings=(served, crashed)),
    "no spares": Way(options=("-c1",), doings=(served, crashed, another_waits)),
    "-k": Way(options=("-k2",), doings=(twice, crashed)),
    "quiet": Way(handler="", options=("--quiet",)),
}


@pytest.mark.parametrize("at", [ENTRY, RETURN])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_whatever_raises_costs_one_connection(
    serve: Serve, folder: Path, way: Way, at: str
) -> None:
    injection = Injection(serve, folder, way, at)
    injection.run()
    assert len(injection.raised) > 50  # the quiet way calls some seventy functions
