"""
Time limits on connections: how long they may last, and how long nothing may happen.

Both end the whole process group of the child, programs and their children too.
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
"""Limits whose excess the kernel answers with a signal of its own: setrlimit(2)."""


class Deadline:
    """
    The time limits of one connection.

    :param overdue: is called with the child when its time is over.
    :param session: seconds that it may last; None for ever.
    :param idle: seconds that nothing may be received or sent; None for ever.
    :param grace: seconds between SIGTERM and SIGKILL.
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
        """The time runs from now on."""
        if self._session is not None:
            self._session_over.arm(self._session)
        if self._idle is not None and self._child.traffic is not None:
            self._look.arm(self._idle)

    def cancel(self) -> None:
        """The connection is over."""
        for later in (self._session_over, self._look, self._kill):
            later.cancel()

    def _look_whether_idle(self) -> None:
        """A child whose connection is gone has as much time again: who goes on without one
        keeps a place."""
        assert self._child.traffic is not None
        assert self._idle is not None
        try:
            idle = self._child.traffic.idle()
        except OSError:
            left = self._idle  # perhaps the kernel tells then
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
            # all of it is done again if something raises
            self._kill.arm(self._grace)
            end_group(self._child, signal.SIGTERM)
            self._journal.limit_reached(self._child.peer, self._child.pid, limit)
            self.limit = limit
            self._overdue(self._child)

    def _kill_group(self) -> None:
        end_group(self._child, signal.SIGKILL)


def end_group(child: Child, number: signal.Signals) -> None:
    """
    Send a signal to the child's process group, and to the child itself where it is not in
    it: in the instant before it leads one, or when it has left it for another.  SIGKILL is
    sent to it in any case, since it may leave just now.  Whoever of the group is left when
    the child has ended is killed.
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
    Which limit has ended *child*; None if none has.

    What a child says with its exit status is believed where there is such a limit.
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
    """Whether it had its CPU time: one that ignores SIGXCPU is killed a second later."""
    usage = None if child.process is None else child.process.usage
    if cpu_seconds is None or usage is None:
        return False
    return usage.ru_utime + usage.ru_stime > cpu_seconds
