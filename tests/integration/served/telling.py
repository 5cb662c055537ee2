"""Handlers that tell the reactor process what they do."""

from __future__ import annotations

import os
import socket
from typing import Any

import twisted_fork


def chats(connection: socket.socket, peer: Any) -> None:
    """Tells every line, and answers whether anybody listens."""
    for line in connection.makefile("rb"):
        heard = twisted_fork.tell(line.rstrip(b"\n"))
        connection.sendall(b"heard\n" if heard else b"nobody listens\n")


def tells_much(connection: socket.socket, peer: Any) -> None:
    """Tells as much as can be told at once; then too much."""
    assert twisted_fork.tell(b"x" * 65536)
    assert twisted_fork.tell(b"")
    try:
        twisted_fork.tell(b"x" * 65537)
    except ValueError as mistake:
        connection.sendall(str(mistake).encode())


def ends(connection: socket.socket, peer: Any) -> None:
    """Ends as its client says, with a message as its last deed."""
    status = int(connection.recv(10))
    twisted_fork.tell(b"going")
    if status < 0:
        os.kill(os.getpid(), -status)
    os._exit(status)
