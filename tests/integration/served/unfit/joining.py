"""A module that starts threads when it is imported, and waits for their ends."""

from __future__ import annotations

import socket
import threading

for _ in range(20):
    thread = threading.Thread(target=bytearray, args=(1_000_000,))
    thread.start()
    thread.join()


def handle(connection: socket.socket, peer: object) -> None:
    """Say something."""
    connection.sendall(b"here")
