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

_monotonic = time.monotonic
_moved_by = 0.0
_moves: list[tuple[float, float]] = []
"""When it was moved, by the clock that nobody moves, and by how much."""


def moved() -> float:
    """What this process takes for the time."""
    return _monotonic() + _moved_by


time.monotonic = moved
_, path, *sys.argv = sys.argv

# imported only now: others keep the function that they find
from twisted.internet import reactor as _reactor  # noqa: E402
from twisted.internet.protocol import DatagramProtocol  # noqa: E402

from twisted_fork.traffic import Traffic  # noqa: E402

reactor: Any = _reactor

_idle = Traffic.idle

_TICK = 0.015
"""Seconds: by less than that it is wrong when the last byte went.  See steering.py, which sees to
it that none goes so soon after a move."""


def moved_idle(traffic: Traffic) -> float | None:
    """What this process takes for the time since a connection's last byte."""
    before = seconds = None
    while before is None or _monotonic() - before > _TICK / 3:  # it had to wait for a processor
        before = _monotonic()
        seconds = _idle(traffic)
    if seconds is None:
        return None
    last = before - seconds - _TICK
    return seconds + sum(by for when, by in _moves if when > last)


setattr(Traffic, "idle", moved_idle)  # noqa: B010 - it is declared to be a method


class Steering(DatagramProtocol):
    """Moves the clock."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        global _moved_by
        _moved_by += float(datagram)
        _moves.append((_monotonic(), float(datagram)))
        # what is due has been done when this is
        reactor.callLater(0, self._answer, addr)

    def _answer(self, address: Any) -> None:
        assert self.transport is not None
        self.transport.write(b"done", address)


reactor.callWhenRunning(lambda: reactor.listenUNIXDatagram(path, Steering()))
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
