"""
Orphans: processes that became children of this one because their own parents have ended.

The kernel gives them to the first process of a container, or to a child subreaper (see
PR_SET_CHILD_SUBREAPER in prctl(2)).  There they stay zombies until they are waited for.

SIGCHLD is not used, since it would come for each child of the service too.  Once in a second the
kernel is asked whether any child has ended, and only then which.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from itertools import islice

from twisted.internet.interfaces import IReactorTime
from twisted.internet.process import reapProcessHandlers

from twisted_fork.kernel import processes
from twisted_fork.timers import Later

__all__ = ["Orphans", "come_here"]

_PR_GET_CHILD_SUBREAPER = 37

_EVERY = 1.0
"""Seconds from one look to the next.  An ended process is not waited for in its first second: it
may be a child of the service that is not known yet."""

_SOON = 0.1
_MOST_SEEN = 2000
_MOST_WAITED_FOR = 500
"""In one look, which then takes some milliseconds; the next look is soon."""

_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def come_here() -> bool:
    """Whether orphans become children of this process."""
    if os.getpid() == 1:
        return True
    answer = ctypes.c_int(0)
    asked = ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return asked == 0 and answer.value != 0


class Orphans:
    """
    Waits for orphans, and for no other process.

    :param alone: all of this process belongs to the service.  Otherwise other code in it may
        have children of its own, which are not waited for here: those in this process's session,
        and session leaders.  Orphans of the service are never in this session.
    """

    def __init__(self, clock: IReactorTime, alone: bool) -> None:
        self._clock = clock
        self._alone = alone
        self._seen: dict[int, float] = {}
        self._next = Later(clock, self._look)

    def watch(self) -> None:
        """Look every second, if orphans come to this process at all."""
        if come_here():
            self._next.arm(_EVERY)

    def stop(self) -> None:
        """Stop looking."""
        self._next.cancel()

    def _look(self) -> None:
        now, before = self._clock.seconds(), self._seen
        ended = list(islice(_strangers_that_ended(), _MOST_SEEN))
        self._seen = {pid: before.get(pid, now) for pid in ended}
        due = [pid for pid in ended if now - self._seen[pid] >= _EVERY and self._is_nobodys(pid)]
        for pid in due[:_MOST_WAITED_FOR]:
            os.waitpid(pid, os.WNOHANG)
            del self._seen[pid]
        many = len(ended) == _MOST_SEEN or len(due) > _MOST_WAITED_FOR
        self._next.arm(_SOON if many else _EVERY)

    def _is_nobodys(self, pid: int) -> bool:
        return self._alone or os.getsid(pid) not in (pid, os.getsid(0))


def _strangers_that_ended() -> Iterator[int]:
    """Children that have ended, and were started neither by a service nor by Twisted."""
    try:
        first = os.waitid(os.P_ALL, 0, _ENDED)
    except ChildProcessError:
        return
    if first is None:
        return
    for pid in _children(first.si_pid):
        if processes.is_ours(pid) or pid in reapProcessHandlers:
            continue
        try:
            ended = os.waitid(os.P_PID, pid, _ENDED)
        except ChildProcessError:
            continue
        if ended is not None:
            yield pid


def _children(first: int) -> list[int]:
    """All children of the thread that orphans come to; only *first* if the kernel does not tell
    them (it is built without CONFIG_PROC_CHILDREN)."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return [first]
