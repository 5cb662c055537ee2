"""
Whatever raises on the way of a connection, with the options that add to it; see
test_injected.py.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.integration.entering.test_proxy_protocol import V2
from tests.integration.servers.serving import Serve

from .injection import ENTRY, RETURN, Injection
from .peers import Peers, Way, served, whatever_comes

FOREIGN = "127.66.0.1"


def refused(peers: Peers) -> None:
    """One that is not let in."""
    peers.ask(b"", host=FOREIGN)


def one_too_many(peers: Peers) -> None:
    """One that is served, while another is not let in."""
    with peers.connect() as first:
        with whatever_comes():
            first.sendall(b"hello")
            first.recv(5)
        peers.ask(b"")
        peers.finish(first)


def crashed(peers: Peers) -> None:
    """One whose child crashes, so that its source is in disgrace."""
    peers.ask(b"!crashes", host=peers.stranger())


def too_long(peers: Peers) -> None:
    """One whose time is over; its child takes no notice of SIGTERM."""
    with peers.connect(peers.stranger()) as connection:
        with whatever_comes():
            connection.sendall(b"!ignores_sigterm")
        peers.expire(connection)
        peers.finish(connection)


def no_header(peers: Peers) -> None:
    """One whose peer does not send a header in time."""
    with peers.connect() as connection:
        peers.expire(connection)
        peers.finish(connection)


def half_a_header(peers: Peers) -> None:
    """One whose header ends too early."""
    with peers.connect() as connection:
        with whatever_comes():
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(V2[:5])
        peers.finish(connection, V2[5:-1])


WAYS = {
    "limits": Way(
        options=(
            "--max-per-source=1",
            "--rate=1000000/1",
            "--penalty=0.001",
            "--idle-timeout=600",
            "--session-timeout=600",
            "--deny=127.66.0.0/16",
            "--banner-refused=no",
        ),
        doings=(served, refused, one_too_many, crashed, too_long),
    ),
    "full": Way(
        handler="",
        options=("--max-children=1", "--when-full=refuse"),
        doings=(served, one_too_many),
    ),
    "proxy": Way(
        handler="",
        options=("--proxy-protocol", "--proxy-from=127.0.0.1"),
        doings=(served, refused, no_header, half_a_header),
        question=V2 + b"question",
    ),
}


@pytest.mark.parametrize("at", [ENTRY, RETURN])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_whatever_raises_costs_one_connection(
    serve: Serve, folder: Path, way: Way, at: str
) -> None:
    injection = Injection(serve, folder, way, at)
    injection.run()
    assert len(injection.raised) > 50
