"""
A twistd whose clock can be moved: ``python steered.py SOCKET SCRIPT ARGUMENT ...``, where
SCRIPT is twistd, or what runs that.

A datagram to the Unix socket SOCKET has the number of seconds that the monotonic clock of the
process, by which its reactor measures time, is moved forward.  It is answered when all that is
due by then has been done.  How long ago the last byte of a connection went, which the kernel
tells, is that much longer ago too.  Nothing moves the clocks of its children.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from typing import Any


class Clock:
    """
    What this process takes for the monotonic clock.

    :ivar real: the one that nobody moves.
    :ivar moves: when it was moved, by that one, and by how much.
    """

    def __init__(self) -> None:
        self.real = time.monotonic
        self.moves: list[tuple[float, float]] = []
        self._moved_by = 0.0

    def __call__(self) -> float:
        return self.real() + self._moved_by

    def move(self, seconds: float) -> None:
        """Forward."""
        self._moved_by += seconds
        self.moves.append((self.real(), seconds))


clock = time.monotonic = Clock()
_, path, *sys.argv = sys.argv

# imported only now: others keep the function that they find
from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet.protocol import DatagramProtocol  # noqa: E402

from twisted_fork.kernel.traffic import Traffic  # noqa: E402

reactor: Any = _reactor

_idle = Traffic.idle

_TICK = 0.015
"""Seconds: by less than that it is wrong when the last byte went.  See steering.py, which sees to
it that none goes so soon after a move."""


def moved_idle(traffic: Traffic) -> float | None:
    """What this process takes for the time since a connection's last byte."""
    before = seconds = None
    while before is None or clock.real() - before > _TICK / 3:  # it had to wait for a processor
        before = clock.real()
        seconds = _idle(traffic)
    if seconds is None:
        return None
    last = before - seconds - _TICK
    return seconds + sum(by for when, by in clock.moves if when > last)


setattr(Traffic, "idle", moved_idle)  # noqa: B010 - it is declared to be a method


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
