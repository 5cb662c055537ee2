"""
Time limits on connections: how long one may last, and how long it may be idle.

A limit ends the child's whole process group, with the processes that it has started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted_fork.ending import Ending
from twisted_fork.journal import Journal
from twisted_fork.pool.child import Child
from twisted_fork.settings import Settings
from twisted_fork.timers import Later
from twisted_fork.wire import messages

__all__ = ["Deadline", "end_group", "limit_of"]

_LIMITS: dict[int | None, str] = {signal.SIGXCPU: "cpu-seconds", signal.SIGXFSZ: "file-size"}
"""Limits that the kernel enforces with a signal of its own: setrlimit(2)."""


class Deadline:
    """
    The time limits of one connection.

    :param overdue: is called with the child when a limit is reached.
    :param session: most seconds that the connection may last; None: no limit.
    :param idle: most seconds in which nothing is received or sent; None: no limit.
    :param grace: seconds between SIGTERM and SIGKILL.
    :ivar limit: the option of the limit that was reached; None if none was.
    """

    def __init__(
        self,
        clock: Any,
        journal: Journal,
        child: Child,
        overdue: Callable[[Child], object],
        session: float | None,
        idle: float | None,
        grace: float,
    ) -> None:
        self._journal = journal
        self._child = child
        self._overdue = overdue
        self._idle = idle
        self._grace = grace
        self._session_over = Later(clock, lambda: self._end("session-timeout"))
        self._look = Later(clock, self._look_whether_idle)
        self._gone = False
        self._kill = Later(clock, self._kill_group)
        self._session = session
        self.limit: str | None = None

    def begin(self) -> None:
        """Start to measure the time."""
        if self._session is not None:
            self._session_over.arm(self._session)
        if self._idle is not None and self._child.traffic is not None:
            self._look.arm(self._idle)

    def cancel(self) -> None:
        """The connection is over: do nothing more."""
        for later in (self._session_over, self._look, self._kill):
            later.cancel()

    def _look_whether_idle(self) -> None:
        """A child whose connection the kernel does not know any more gets the same time once more:
        without a connection it still takes a place."""
        assert self._child.traffic is not None
        assert self._idle is not None
        try:
            idle = self._child.traffic.idle()
        except OSError:
            left = self._idle  # the kernel may tell next time
        else:
            if idle is None:
                left = 0.0 if self._gone else self._idle
                self._gone = True
            else:
                left = self._idle - idle
                self._gone = False
        if left <= 0:
            self._end("idle-timeout")
        else:
            self._look.arm(left)

    def _end(self, limit: str) -> None:
        if self.limit is None:
            if self._child.traffic is not None:
                self._child.amount = self._child.traffic.amount()
            # if something raises, all of it is done again
            self._kill.arm(self._grace)
            end_group(self._child, signal.SIGTERM)
            self._journal.limit_reached(self._child.peer, self._child.pid, limit)
            self.limit = limit
            self._overdue(self._child)

    def _kill_group(self) -> None:
        end_group(self._child, signal.SIGKILL)


def end_group(child: Child, number: signal.Signals) -> None:
    """
    Send a signal to the child's process group; also to the child itself if it is not in that
    group: it does not lead one yet, or has joined another.  SIGKILL is always sent to both,
    since it may leave the group just now.  When the child has ended, what is left of its group
    is killed.
    """
    if child.process is None or child.pid is None:
        return
    child.process.ends_its_group = True
    try:
        os.killpg(child.pid, number)
        reached = os.getpgid(child.pid) == child.pid and number != signal.SIGKILL
    except OSError:
        reached = False
    if not reached:
        child.signal(number.name.removeprefix("SIG"))


def limit_of(child: Child, ending: Ending, settings: Settings) -> str | None:
    """
    Find the limit that has ended *child*.

    The exit statuses that mean a limit are trusted only if that limit is set.

    :returns: the option; None if no limit has ended it.
    """
    if child.deadline is not None and child.deadline.limit is not None:
        return child.deadline.limit
    if ending.signal == signal.SIGKILL and _used_up(child, settings.cpu_seconds):
        return "cpu-seconds"
    if ending.exit == messages.EXIT_MEMORY and settings.memory is not None:
        return "memory"
    if ending.exit == messages.EXIT_HANDSHAKE and settings.tls_certificate is not None:
        return "handshake-timeout"
    return _LIMITS.get(ending.signal)


def _used_up(child: Child, cpu_seconds: int | None) -> bool:
    """Whether it had used its CPU time: SIGKILL comes a second after an ignored SIGXCPU."""
    usage = None if child.process is None else child.process.usage
    if cpu_seconds is None or usage is None:
        return False
    return usage.ru_utime + usage.ru_stime > cpu_seconds
