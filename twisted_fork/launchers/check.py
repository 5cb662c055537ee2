"""
The check (see interpreter.check) while the reactor runs: a process that is never waited for, whose
output is read as it comes, and that can be ended at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twisted_fork.kernel.watcher import Watching
from twisted_fork.later import Later
from twisted_fork.launchers import interpreter
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.wire.orders import Orders

__all__ = ["Check"]

_READ = 64 * 1024
"""Bytes read at once, and bytes of each stream that are kept: the last."""


class Check:
    """
    Looks whether a template with these orders could work, for as long as one would be given.

    :param over: is called once the process has ended, with one line that says what is wrong;
        with None if nothing is.
    :raises OSError: no process can be made just now.
    """

    def __init__(
        self,
        clock: IReactorTime,
        watcher: Watching,
        starter: Starter,
        orders: Orders,
        over: Callable[[str | None], object],
    ) -> None:
        self._over = over
        self._too_late = False
        self._limit = Later(clock, self._reach_limit)
        with ExitStack() as undo, ExitStack() as after:
            self._stdout, self._stderr = _Tail(watcher, undo, after), _Tail(watcher, undo, after)
            told = after.enter_context(interpreter.orders_file(orders))
            streams = (told.fileno(), self._stdout.theirs, self._stderr.theirs)
            self._process = starter.start_check(streams, self._ended)
            undo.pop_all()
        self._process.ends_its_group = True
        self._limit.arm(interpreter.PATIENCE)

    def kill(self) -> None:
        """End it now, and whoever it has started."""
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def _reach_limit(self) -> None:
        self._too_late = True
        self.kill()

    def _ended(self, reason: Failure) -> None:
        self._limit.cancel()
        stdout, stderr = self._stdout.close(), self._stderr.close()
        if self._too_late:
            self._over(interpreter.too_late())
        else:
            self._over(interpreter.verdict(_status(reason), stdout, stderr))


def _status(reason: Failure) -> int:
    """As subprocess.Popen.returncode; if somebody else has waited for it, its output decides."""
    ending: Any = reason.value
    return -ending.signal if ending.signal else ending.exitCode or 0


class _Tail:
    """
    A pipe, and the last of what is written to it.

    :param undo: closes it.
    :param after: closes the other end.
    :ivar theirs: the end to write to.
    """

    def __init__(self, watcher: Watching, undo: ExitStack, after: ExitStack) -> None:
        self._watcher = watcher
        self._data = b""
        self._fd, self.theirs = os.pipe()
        after.callback(os.close, self.theirs)
        undo.callback(self.close)
        os.set_blocking(self._fd, False)
        watcher.watch(self._fd, self)

    def doRead(self) -> None:
        try:
            data = os.read(self._fd, _READ)
        except BlockingIOError:
            return
        if not data:
            self._watcher.ignore(self._fd, self)
        self._data = (self._data + data)[-_READ:]

    def raised(self) -> None:
        """Read no more."""
        self._watcher.ignore(self._fd, self)

    def close(self) -> bytes:
        """Whoever wrote has ended: what is in the pipe, and no more, is still read."""
        if self._fd >= 0:
            self.doRead()
            self._watcher.ignore(self._fd, self)
            os.close(self._fd)
            self._fd = -1
        return self._data
