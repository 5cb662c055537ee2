"""
Waiting for children that nobody knows of.
"""

from __future__ import annotations

import os
import signal

from twisted.internet.interfaces import IReactorTime

from twisted_fork.timers import Backoff

__all__ = ["WALL", "Sweep", "bury"]

WALL = 0x40000000
"""Wait for a child whatever signal its end sends, see waitpid(2)."""


def bury(clock: IReactorTime, pid: int) -> None:
    """Kill a child that nobody knows of, and wait for it."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return  # it is no child of ours
    Sweep(clock, pid).sweep()


class Sweep:
    """
    Waits for whoever has ended, until nobody of ours is left of them: for children that
    nobody knows of.

    :param which: a pid; or the number of a process group, negative.
    """

    def __init__(self, clock: IReactorTime, which: int) -> None:
        self._which = which
        self._backoff = Backoff(clock, self.sweep)

    def sweep(self) -> None:
        """Begin; go on later where needed."""
        while True:
            try:
                pid, _status = os.waitpid(self._which, os.WNOHANG | WALL)
            except ChildProcessError:
                return
            if pid == 0:
                self._backoff.failed()
                return
