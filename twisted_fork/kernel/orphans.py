"""
Orphans: processes that became children of this one because their own parents have ended.

The kernel gives them to the first process of a container, and to whoever is a child subreaper
(see PR_SET_CHILD_SUBREAPER in prctl(2)).  They stay zombies there until they are waited for.

Not by SIGCHLD, which would come for each child of ours too: a look every second asks the
kernel whether anybody has ended at all, and only if so who that is.
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
"""Seconds from one look to the next.  Whoever has ended is left alone for as long, since a
child of ours may have to be heard of yet."""

_SOON = 0.1
_MOST_SEEN = 2000
_MOST_WAITED_FOR = 500
"""In one look, which takes some milliseconds then; the next comes soon."""

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
    Waits for orphans, and for nobody else.

    :param alone: there is nothing but ours in this process.  Otherwise somebody else may have
        children in it that are not to be waited for here: in our own session, or leading one.
        Descendants of ours are never in our session.
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
        """Do not any more."""
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
    """Children that have ended, that are neither a service's nor started by Twisted."""
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
    """All children of the thread that orphans come to; *first* alone, where the kernel does not
    tell them (it is built without CONFIG_PROC_CHILDREN)."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return [first]
