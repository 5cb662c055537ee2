"""A module that starts threads when it is imported."""

from __future__ import annotations

import socket
import threading

for _ in range(2):
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def handle(connection: socket.socket, peer: object) -> None:
    """Would do, but for the threads."""
