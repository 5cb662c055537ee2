"""A module that installs a reactor when it is imported."""

from __future__ import annotations

import socket

from twisted.internet import reactor

RUNNING = reactor


def handle(connection: socket.socket, peer: object) -> None:
    """Would do, but for the reactor."""
