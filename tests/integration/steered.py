"""
A twistd whose clock can be moved: ``python steered.py SOCKET SCRIPT ARGUMENT ...``, where
SCRIPT is twistd, or what runs that.

A datagram to the Unix socket SOCKET has the number of seconds that the monotonic clock of the
process, by which its reactor measures time, is moved forward.  It is answered when all that is
due by then has been done.  Nothing moves the clocks of its children.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from typing import Any


class Clock:
    """What this process takes for the monotonic clock."""

    def __init__(self) -> None:
        self._real = time.monotonic
        self._moved_by = 0.0

    def __call__(self) -> float:
        return self._real() + self._moved_by

    def move(self, seconds: float) -> None:
        """Forward."""
        self._moved_by += seconds


clock = time.monotonic = Clock()
_, path, *sys.argv = sys.argv

# imported only now: others keep the function that they find
from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet.protocol import DatagramProtocol  # noqa: E402

reactor: Any = _reactor


class Steering(DatagramProtocol):
    """Moves the clock."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        clock.move(float(datagram))
        # what is due has been done when this is
        reactor.callLater(0, self._answer, addr)

    def _answer(self, address: Any) -> None:
        assert self.transport is not None
        self.transport.write(b"done", address)


reactor.callWhenRunning(lambda: reactor.listenUNIXDatagram(path, Steering()))
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
