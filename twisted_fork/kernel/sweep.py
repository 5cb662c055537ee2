"""
Waiting for child processes that have no ForkedProcess.
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
    """Kill a child process that has no ForkedProcess, and wait for it."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return  # it is not a child of this process
    Sweep(clock, pid).sweep()


class Sweep:
    """
    Waits for child processes that have no ForkedProcess, until none of them is left.

    :param which: a pid; or the number of a process group, negative.
    """

    def __init__(self, clock: IReactorTime, which: int) -> None:
        self._which = which
        self._backoff = Backoff(clock, self.sweep)

    def sweep(self) -> None:
        """Wait for those that have ended; come back later for the others."""
        while True:
            try:
                pid, _status = os.waitpid(self._which, os.WNOHANG | WALL)
            except ChildProcessError:
                return
            if pid == 0:
                self._backoff.failed()
                return
