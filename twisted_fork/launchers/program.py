"""
The launcher for programs: the reactor process executes them itself.

There is nothing to import once and share, so there is no template.  posix_spawn(3) does not copy
the reactor process, however large it is: the new process uses its memory until it has executed the
program.  For these 100 microseconds the reactor process waits.  Measured on the same machine, 64
clients: 2,400 connections per second like this, 480 with a template.
"""

from __future__ import annotations

import _socket
import errno
import os
import resource
import signal
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from twisted_fork.handler import Program
from twisted_fork.journal import Journal
from twisted_fork.kernel.processes import adopt
from twisted_fork.kernel.stderr import StandardError, Stream
from twisted_fork.kernel.watcher import Watching
from twisted_fork.places.connection import Connection
from twisted_fork.pool.child import Child
from twisted_fork.pool.launcher import Impossible, Owner
from twisted_fork.wire.addresses import plain
from twisted_fork.wire.orders import Orders
from twisted_fork.wire.variables import environment

__all__ = ["ExecLauncher"]

_DEFAULTED = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""Signals that programs must not ignore: those that Python ignores, and those that this process
was started with ignored, as shells do to background jobs."""

_TRANSIENT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
"""Errors that pass; any other error of execve(2) is about the program."""


class ExecLauncher:
    """
    Children that are programs.  There are no spares: a program cannot start without its
    connection.

    :param watcher: watches the children.
    :param stderr: makes the standard error of each.
    :param open_files: their limits on open files, soft and hard.
    """

    has_spares = False

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        journal: Journal,
        program: Program,
        stderr: StandardError,
        open_files: tuple[int, int],
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._journal = journal
        self._order = program.order()
        self._environment = dict(os.environ)
        self._stderr = stderr
        self._open_files = open_files
        self._pool: Owner

    def start(self, pool: Owner) -> None:
        self._pool = pool
        _keep_to_ourselves()
        pool.launcher_changed()

    def ready(self) -> bool:
        return True

    def launch(self, child: Child) -> None:
        connection = child.connection
        assert connection is not None, "programs have no spares"
        stream, stderr = self._stderr.stream()
        try:
            pid = os.posix_spawn(
                self._order["path"],
                self._order["argv"],
                environment(
                    self._order,
                    connection.address,
                    _local(connection),
                    connection.number,
                    self._environment,
                ),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, connection.descriptor, 0),
                    (os.POSIX_SPAWN_DUP2, connection.descriptor, 1),
                    (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=_DEFAULTED,
            )
        except BaseException as failure:
            stream.close()
            if not isinstance(failure, OSError) or failure.errno in _TRANSIENT:
                raise
            raise Impossible(f"{self._order['path']}: {failure.strerror}") from None
        finally:
            stderr.close()
        stream.pid = pid
        child.pid = pid  # if anything raises now, it can be killed
        try:
            ended = partial(self._ended, child, stream)
            process = adopt(self._watcher, self._reactor, pid, ended)
            process.executed = True
            child.lives(process)
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, self._open_files)
            self._pool.alive(child, took=True)
        except BaseException:
            # it exists, so this is a fault of the child's, not of the launch
            self._pool.fault(child)

    def _ended(self, child: Child, stream: Stream, reason: Failure) -> None:
        stream.owner_ended()
        self._pool.ended(child, reason)

    def expects(self, child: Child) -> bool:
        return False  # it has a process when launch returns

    def stuck(self, child: Child, seconds: float) -> None:
        """Does not happen: a program lives when launch returns."""

    def reload(self, orders: Orders) -> Deferred[bool]:
        """Does nothing: programs are always executed as they are on the disk."""
        self._journal.nothing_to_reload()
        return succeed(True)

    def reload_failed(self, reason: str) -> None:
        self._journal.reload_failed(reason)

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def kill(self) -> None:
        """Does nothing: there are no processes but the children."""


def _keep_to_ourselves() -> None:
    """Programs must not inherit descriptors that this process has inherited."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2:
                os.set_inheritable(int(name), False)
        except OSError:
            pass  # it was the descriptor of the listing


def _local(connection: Connection) -> Any:
    """The address that the peer connected to."""
    if connection.local is not None:
        return connection.local
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, connection.descriptor)
    try:
        return plain(socket.getsockname())
    finally:
        socket.detach()
