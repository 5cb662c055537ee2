"""
Starts a program in a process that is waited for in the same way as all children.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IProcessTransport
from twisted.internet.process import unregisterReapProcessHandler
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_fork.kernel.processes import ForkedProcess, adopt
from twisted_fork.kernel.sweep import bury
from twisted_fork.kernel.watcher import Watching

__all__ = ["start_process"]


class _Listener(ProcessProtocol):
    """
    Receives the end of a process while Twisted waits for it.

    :ivar pid: is kept when the process has ended.
    :ivar reason: how it ended; None if it has not.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.reason: Failure | None = None

    def makeConnection(self, process: IProcessTransport) -> None:
        self.pid = process.pid

    def processEnded(self, reason: Failure) -> None:
        self.reason = reason


def start_process(
    reactor: Any,
    watcher: Watching,
    ended: Callable[[Failure], object],
    executable: str,
    words: Sequence[str],
    **options: Any,
) -> ForkedProcess:
    """
    Start a process without pipes by Twisted's spawnProcess, and wait for it here instead of
    there.

    :param ended: see ForkedProcess.
    :param options: see IReactorProcess.spawnProcess.
    :raises OSError: no process can be made now.
    """
    listener = _Listener()
    process = reactor.spawnProcess(listener, executable, words, **options)
    pid = process.pid
    if pid is None:  # Twisted has already waited for it
        adopted = adopt(watcher, reactor, listener.pid, ended, listener.reason)
        adopted.executed = True
        return adopted
    unregisterReapProcessHandler(pid, process)
    try:
        adopted = adopt(watcher, reactor, pid, ended)
        adopted.executed = True
        return adopted
    except BaseException:
        bury(reactor, pid)
        raise
