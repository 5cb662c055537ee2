"""
The test's side of steered.py.
"""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

from .processes import DEADLINE

_TICKS = 0.03
"""Seconds: the kernel does not say more precisely than that when a connection's last byte
went, and what goes after a move of the clock must not be taken for older."""


class Steering:
    """
    Moves the clock of a server.

    :ivar path: of the socket that the server has.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clock"
        self._names = map(str, itertools.count())

    def advance(self, seconds: float) -> None:
        """Move it forward, and wait until all that is due has been done."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
            mine.settimeout(DEADLINE)
            mine.bind(str(self.path.with_name(f"clock-{next(self._names)}")))
            mine.sendto(repr(seconds).encode(), str(self.path))
            assert mine.recv(16) == b"done"
        time.sleep(_TICKS)
