"""
Whatever raises on the way of a connection that is secured by TLS; see test_injected.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.servers.serving import Serve

from .injection import ENTRY, RETURN, Injection
from .peers import Peers, Way, served


def plain_text(peers: Peers) -> None:
    """One that does not speak TLS."""
    peers.ask(b"what is TLS?" * 10)


@pytest.mark.parametrize("at", [ENTRY, RETURN])
def test_whatever_raises_costs_one_connection_that_is_secured(
    serve: Serve, folder: Path, authority: Authority, at: str
) -> None:
    options = authority.options()
    doings = (served, plain_text) if at == ENTRY else (served,)
    way = Way(handler="", options=options, tls=authority.context(), doings=doings)
    injection = Injection(serve, folder, way, at, most=1)
    injection.run()
    assert len(injection.raised) > 50
