"""
The test's side of steered.py.
"""

from __future__ import annotations

import itertools
import socket
import time
from pathlib import Path

from .processes import wait_until

_LOOK = 0.5
"""Seconds from one look whether the server still runs to the next."""

_TICKS = 0.05
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
        """
        Move it forward, and wait until all that is due has been done.

        :raises OSError: the server has ended, or ends meanwhile.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
            mine.settimeout(_LOOK)
            mine.bind(str(self.path.with_name(f"clock-{next(self._names)}")))
            mine.connect(str(self.path))
            mine.send(repr(seconds).encode())
            wait_until(lambda: self._answered(mine), "a clock that is moved")
        time.sleep(_TICKS)

    def _answered(self, mine: socket.socket) -> bool:
        """Whether there is an answer."""
        try:
            return mine.recv(16) == b"done"
        except TimeoutError:
            mine.connect(str(self.path))  # which fails if nobody is there any more
            return False
