"""
The servers that the client talks to.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from .fake_servers import Behaviour, FakeServer, StartServer, uppercase


@pytest.fixture
def fake_server() -> Iterator[StartServer]:
    """Start a server with a behaviour, on a TCP port or another listening socket."""
    with contextlib.ExitStack() as stack:

        def start(
            behaviour: Behaviour = uppercase, listener: socket.socket | None = None
        ) -> FakeServer:
            listener = listener or socket.create_server(("127.0.0.1", 0))
            stack.enter_context(listener)
            return FakeServer(listener, behaviour)

        yield start
