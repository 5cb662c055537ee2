"""Handlers for TLS."""

from __future__ import annotations

import json
import os
import socket
import ssl
from typing import Any


def session(connection: ssl.SSLSocket, peer: Any) -> None:
    """Says whether this session was resumed, and what the client's certificate is."""
    told = {
        "pid": os.getpid(),
        "reused": connection.session_reused,
        "certificate": connection.getpeercert(),
        "peer": peer,
    }
    connection.recv(1)
    connection.sendall(json.dumps(told).encode())


def zeros(connection: socket.socket, peer: Any) -> None:
    """5 MiB of them."""
    connection.sendall(bytes(5 * 1024 * 1024))
