"""Handlers that say which session they are in, and what they have of that."""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import Any


def told() -> dict[str, Any]:
    """Who we are, the session, and what becomes of a try to open the terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        terminal = "opened"
    except OSError as failure:
        terminal = errno.errorcode[failure.errno or 0]
    return {"pid": os.getpid(), "session": os.getsid(0), "terminal": terminal}


def tells(connection: socket.socket, peer: Any) -> None:
    """Says so."""
    connection.recv(1)
    connection.sendall(json.dumps(told()).encode())
