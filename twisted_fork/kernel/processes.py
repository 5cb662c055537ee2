"""
Waiting for children, each by its own pidfd.  The cost of one does not depend on how many live.

At each SIGCHLD, Twisted waits for every process that it knows (its issue 2967).  Here the kernel
says which child has ended: its pidfd becomes readable (pidfd_open(2)), and only that child is
waited for.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from resource import RUSAGE_SELF, getrusage, struct_rusage

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import (
    IAddress,
    IProcessTransport,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_fork.kernel.sweep import WALL
from twisted_fork.kernel.watcher import Watching
from twisted_fork.timers import Backoff, Later
from twisted_fork.wire import calls

__all__ = ["ForkedProcess", "adopt", "is_ours", "reason_for"]


_ours: set[int] = set()
"""Pids of all that are waited for here and have not been yet."""

_DONE = Failure(ProcessDone(0))
"""How most children end.  Making a Failure costs as much as accepting a connection."""


def is_ours(pid: int) -> bool:
    """Whether a ForkedProcess waits for this process."""
    return pid in _ours


def reason_for(status: int | None) -> Failure:
    """
    What a ProcessProtocol gets for a wait status: ProcessDone or ProcessTerminated.  None: the
    status is not known, because other code in this process has waited for it.
    """
    if status is None:
        return Failure(ProcessTerminated())
    if status == 0:
        return _DONE
    if os.WIFEXITED(status):
        return Failure(ProcessTerminated(os.WEXITSTATUS(status), None, status))
    return Failure(ProcessTerminated(None, os.WTERMSIG(status), status))


def _without_ours(usage: struct_rusage) -> struct_rusage:
    """If a process was started in our memory, the kernel counts that as its memory: a peak that is
    not higher than ours is not known, and becomes 0."""
    if usage.ru_maxrss > getrusage(RUSAGE_SELF).ru_maxrss:
        return usage
    return struct_rusage((usage.ru_utime, usage.ru_stime, 0, *usage[3:]))


@implementer(IAddress)
class _ProcessAddress:
    """An address without content."""


@implementer(IProcessTransport)
class ForkedProcess:
    """
    A child, whichever process has forked it: the transport of its ProcessProtocol.

    It has no streams to the reactor process; it can end, and be sent signals.

    :param ended: is called once, after the child has been waited for, with a Failure of
        ProcessDone or ProcessTerminated; never before this object is made.
    :param reason: how it has ended, if it has already been waited for.
    :ivar over: it has been waited for.
    :ivar usage: what the child has used, once it has ended: see getrusage(2).  Its ru_maxrss is
        0 if it is not known.
    :ivar executed: it was made by posix_spawn(3), in the memory of this process.
    :ivar ends_its_group: when it has ended, kill what is left of its process group.
    :ivar pid: no other process can have it before ``ended`` is called.
    """

    __slots__ = (
        "__weakref__",
        "_backoff",
        "_clock",
        "_ended",
        "_fd",
        "_reason",
        "_told",
        "_watcher",
        "ends_its_group",
        "executed",
        "over",
        "pid",
        "usage",
    )

    def __init__(
        self,
        watcher: Watching,
        clock: IReactorTime,
        pid: int,
        ended: Callable[[Failure], object],
        reason: Failure | None = None,
    ) -> None:
        self.pid = pid
        self._watcher = watcher
        self._clock = clock
        self._ended = ended
        self._fd = -1
        self._reason = reason
        self._told = False
        self.over = reason is not None
        self.ends_its_group = False
        self.executed = False
        self.usage: struct_rusage | None = None
        self._backoff: Backoff | None = None
        if self.over:
            Later(clock, self._look).arm(0)
            return
        try:
            self._open()
        except OSError:
            self._look_later()
        _ours.add(pid)

    def _open(self) -> None:
        """:raises OSError: out of descriptors, or the kernel can watch no more."""
        self._fd = calls.pidfd_open(self.pid)
        try:
            self._watcher.watch(self._fd, self)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._fd >= 0:
            self._watcher.ignore(self._fd, self)
            os.close(self._fd)
            self._fd = -1

    def _look_later(self) -> None:
        if self._backoff is None:
            self._backoff = Backoff(self._clock, self._look)
        self._backoff.failed()

    def _look(self) -> None:
        """Look without a pidfd, after something raised or none could be opened; then try again."""
        if self.doRead():
            return
        try:
            self._open()
        except OSError:
            self._look_later()

    def raised(self) -> None:
        """Look again later, without the pidfd, which would be readable again at once."""
        self._look_later()
        self._close()

    def signalProcess(self, signalID: str | int) -> None:
        """
        Send a signal, by number, or by name with or without SIG.

        :raises ProcessExitedAlready: the child has been waited for.
        """
        if self.over:
            raise ProcessExitedAlready()
        if isinstance(signalID, str):
            signalID = signal.Signals["SIG" + signalID.removeprefix("SIG")]
        try:
            os.kill(self.pid, signalID)
        except ProcessLookupError:
            raise ProcessExitedAlready() from None

    def loseConnection(self) -> None:
        """Does nothing: there is no stream to close."""

    closeStdin = closeStdout = closeStderr = loseConnection

    def getHost(self) -> _ProcessAddress:
        """An address without content, as for any process in Twisted."""
        return _ProcessAddress()

    getPeer = getHost

    def closeChildFD(self, descriptor: int) -> None:
        """Does nothing: there is no stream to close."""

    def writeToChild(self, childFD: int, data: bytes) -> None:
        """:raises KeyError: always, as for a descriptor that is not connected."""
        raise KeyError(childFD)

    def write(self, data: bytes) -> None:
        """:raises KeyError: always; see writeToChild."""
        self.writeToChild(0, data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """:raises KeyError: always; see writeToChild."""
        self.writeToChild(0, b"")

    def _has_ended(self) -> bool:
        """Whether it has ended and can still be waited for."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL
        return os.waitid(os.P_PID, self.pid, options) is not None

    def _kill_group(self) -> None:
        """The child has ended and its pid is still its own: kill the rest of its group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except OSError:
            pass

    def doRead(self) -> bool:
        """
        Wait for the child if it has ended, and call *ended*; once more if that has raised.

        :returns: whether it has ended.
        """
        if self._reason is None:
            status: int | None
            try:
                if self.ends_its_group and self._has_ended():
                    self._kill_group()
                pid, status, usage = os.wait4(self.pid, os.WNOHANG | WALL)
                self.usage = _without_ours(usage) if self.executed else usage
            except ChildProcessError:
                pid, status = self.pid, None
            if pid == 0:
                return False
            self.over = True
            _ours.discard(self.pid)
            self._reason = _DONE if status == 0 else reason_for(status)
            self._close()
        if not self._told:
            self._ended(self._reason)
            self._told = True
        return True


def adopt(
    watcher: Watching,
    clock: IReactorTime,
    pid: int,
    ended: Callable[[Failure], object],
    reason: Failure | None = None,
) -> ForkedProcess:
    """
    Wait for a child that exists already.

    :param ended, reason: see ForkedProcess.
    :raises: anything; then nothing waits for the child, see bury.
    """
    return ForkedProcess(watcher, clock, pid, ended, reason)
