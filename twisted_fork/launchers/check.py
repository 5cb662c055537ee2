"""
The check: a process of its own finds out whether a template with these orders could work here;
before the reactor runs, and for a reload while it does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twisted_fork.kernel.watcher import Watching
from twisted_fork.launchers import interpreter
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_file
from twisted_fork.timers import Later
from twisted_fork.wire.calls import memory_file
from twisted_fork.wire.orders import Orders

__all__ = ["Check", "check", "too_late", "verdict"]

_READ = 64 * 1024
"""Bytes read at once; of each stream, this many of the last bytes are kept."""

_CHECKED = {b"checked clone3\n": "clone3", b"checked clone\n": "clone"}
"""All that a check writes to standard output if it has found nothing wrong, and the call that
forks children here."""


def check(orders: Orders, uid: int | None = None, gid: int | None = None) -> str | None:
    """
    Find out in a process of its own whether a template with these orders could work here:
    whether it can fork, and load its handler.  Blocks, at most for PATIENCE seconds.  Sets the
    orders' ``clone`` to the call that works.

    :param uid: the user to do it as; by default that of this process.
    :param gid: the group; only with *uid*.
    :returns: one line that says what is wrong; None if nothing is.
    """
    who: dict[str, Any] = {}
    if uid is not None:
        who = {"user": uid, "group": gid, "extra_groups": []}
    # files, not pipes: a process that the handler has started may never close a pipe
    with (
        orders_file(orders) as told,
        open(memory_file("stdout"), "rb") as stdout,
        open(memory_file("stderr"), "rb") as stderr,
    ):
        try:
            looking = subprocess.Popen(
                [sys.executable, "-u", interpreter.INSIDE, "check"],
                stdin=told,
                stdout=stdout,
                stderr=stderr,
                **who,
            )
        except OSError as failure:
            return f"{sys.executable} cannot be run as the children's user: {failure.strerror}"
        try:
            status = looking.wait(interpreter.PATIENCE)
        except subprocess.TimeoutExpired:
            return too_late()
        finally:
            if looking.returncode is None:
                _end_group(looking)
        stdout.seek(0)
        stderr.seek(0)
        answer = stdout.read()
        orders["clone"] = _CHECKED.get(answer, orders["clone"])
        return verdict(status, answer, stderr.read())


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not been waited for, and its group, if it leads one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def verdict(returncode: int, stdout: bytes, stderr: bytes) -> str | None:
    """
    Read the answer of a check, see inside/check.py.  Without an answer the check was not
    completed: a handler can end the process with any status while it is imported.

    :param returncode: as of subprocess: negative for a signal.
    :returns: one line that says what is wrong; None if nothing is.
    """
    if returncode == 0 and stdout in _CHECKED:
        return None
    lines = stderr.decode(errors="replace").strip().splitlines()
    if returncode == 1 and lines:
        return lines[-1]
    how = f" with exit status {returncode}" if returncode else ""
    if returncode < 0:
        names = {each.value: each.name for each in signal.Signals}
        how = f" by {names.get(-returncode, f'signal {-returncode}')}"
    return f"the handler ends the process{how} when it is imported"


def too_late() -> str:
    """The line for a check that does not end in time."""
    return f"the handler was not imported within {interpreter.PATIENCE:g} seconds"


class Check:
    """
    A check while the reactor runs.  It does not block: the output is read as it comes, and the
    process can be killed at any time.

    Finds out whether a template with these orders could work, in as much time as one gets.

    :param over: is called once the process has ended, with one line that says what is wrong,
        or None if nothing is.
    :raises OSError: no process can be made now.
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
            told = after.enter_context(orders_file(orders))
            streams = (told.fileno(), self._stdout.theirs, self._stderr.theirs)
            self._process = starter.start_check(streams, self._ended)
            undo.pop_all()
        self._process.ends_its_group = True
        self._limit.arm(interpreter.PATIENCE)

    def kill(self) -> None:
        """Kill the process, and what it has started."""
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
            self._over(too_late())
        else:
            self._over(verdict(_status(reason), stdout, stderr))


def _status(reason: Failure) -> int:
    """As subprocess.Popen.returncode; 0 if it is not known, since then the output decides."""
    ending: Any = reason.value
    return -ending.signal if ending.signal else ending.exitCode or 0


class _Tail:
    """
    A pipe, and the last bytes that were written to it.

    :param undo: gets a callback that closes it.
    :param after: gets a callback that closes the other end.
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
        """doRead has raised: stop reading."""
        self._watcher.ignore(self._fd, self)

    def close(self) -> bytes:
        """The writer has ended: read once more, close, and return the last bytes."""
        if self._fd >= 0:
            self.doRead()
            self._watcher.ignore(self._fd, self)
            os.close(self._fd)
            self._fd = -1
        return self._data
