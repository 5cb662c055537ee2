"""
Time in a server whose functions are made to raise: its clock is moved when nothing else is left
to wait for.  This is the server's side: see injected.py, which imports it.
"""

from __future__ import annotations

import os
import time
from typing import Any

__all__ = ["Hurry", "children"]


class Hurry:
    """
    Moves the clock to when the next call is due, as soon as nothing else can happen: every
    descendant sleeps, and has said nothing that has not been heard.  Its peers must have nothing
    to say.

    :param most: the seconds that it may move it.
    :ivar late: that is not enough.
    """

    def __init__(self, most: float) -> None:
        self.late = False
        self._left = most

    def look(self) -> None:
        """See whether it is time."""
        # not before steered.py, which moves what it is imported with
        from twisted.internet import reactor as _reactor

        reactor: Any = _reactor
        if reactor.threadCallQueue or reactor._justStopped:
            return  # what a signal has asked for begins after the calls that are due
        due = [call.getTime() for call in reactor.getDelayedCalls()]
        if not due or not all(map(_sleeps, children())) or reactor._poller.poll(0, 1):
            return
        seconds = max(0.0, min(due) - reactor.seconds())
        if seconds > self._left:
            self.late = True
        elif seconds:
            self._left -= seconds
            clock: Any = time.monotonic
            clock.move(seconds)


def children(pid: str = "self") -> list[str]:
    """The pids of those of a process."""
    found: list[str] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += file.read().split()
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def _sleeps(pid: str) -> bool:
    """Whether it does, and all its descendants."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            asleep = file.read().rpartition(") ")[2].startswith("S")
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has been waited for: somebody has been told
    return asleep and all(map(_sleeps, children(pid)))
