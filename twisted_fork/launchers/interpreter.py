"""
Starts interpreters that run inside/: templates, spawned children, checks.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.python.failure import Failure

from twisted_fork.kernel.processes import ForkedProcess
from twisted_fork.kernel.spawn import start_process
from twisted_fork.kernel.stderr import StandardError, Stream
from twisted_fork.kernel.watcher import Watching
from twisted_fork.wire import messages
from twisted_fork.wire.names import CHANNEL, EAGER_BINDING

__all__ = ["INSIDE", "PATIENCE", "Starter"]

PATIENCE = 60.0
"""Seconds for a check, a template or a spawned child to import its handler."""

INSIDE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "inside")
"""What these interpreters run."""


class Starter:
    """
    Starts fresh interpreters.

    :param watcher: watches them.
    :param stderr: makes the standard error of each.
    :param stdout: the descriptor of their standard output; None: as standard error.
    :param open_files: their limits on open files, soft and hard.  Not those of the reactor
        process, which has raised its own: programs that use select(2) fail with more than 1024.
    """

    def __init__(
        self,
        reactor: Any,
        watcher: Watching,
        stderr: StandardError,
        open_files: tuple[int, int],
        stdout: int | None,
    ) -> None:
        self._reactor = reactor
        self._watcher = watcher
        self._stderr = stderr
        self._stdout = stdout
        self._open_files = open_files

    def start(
        self,
        role: str,
        channel: socket.socket,
        ended: Callable[[Failure], object],
        give: Callable[[bytes, tuple[int, ...]], object] | None = None,
    ) -> ForkedProcess:
        """
        Start one in *role*, ``template`` or ``child``.

        Its standard input is empty, and its output is not buffered.

        :param channel: its end of its channel; the caller has to close it here.
        :param ended: see ForkedProcess.
        :param give: for a template: sends it the message with which it, and its later children,
            get another standard error; see StandardError.stream.
        :raises OSError: no process can be made now.
        """
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            stream, stderr = self._stderr.stream(give and partial(self._give, give))
        except BaseException:
            os.close(nothing)
            raise
        number = stderr.fileno()
        stdout = number if self._stdout is None else self._stdout
        try:
            process = start_process(
                self._reactor,
                self._watcher,
                partial(_ended, stream, ended),
                sys.executable,
                [sys.executable, "-u", INSIDE, role],
                env={**os.environ, EAGER_BINDING: "1"},
                childFDs={0: nothing, 1: stdout, 2: number, CHANNEL: channel.fileno()},
            )
        except BaseException:
            stream.close()
            raise
        finally:
            os.close(nothing)
            stderr.close()
        stream.pid = process.pid
        if not process.over:
            with suppress(OSError):
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, self._open_files)
        return process

    def _give(self, give: Callable[[bytes, tuple[int, ...]], object], stderr: int) -> None:
        also = self._stdout is None
        give(messages.pack(messages.STREAMS, number=int(also)), (stderr,))

    def start_check(
        self, streams: tuple[int, int, int], ended: Callable[[Failure], object]
    ) -> ForkedProcess:
        """
        Start a check.

        :param streams: its standard input, which has its orders, output and error; the caller has
            to close them here.
        :param ended: see ForkedProcess.
        :raises OSError: no process can be made now.
        """
        return start_process(
            self._reactor,
            self._watcher,
            ended,
            sys.executable,
            [sys.executable, "-u", INSIDE, "check"],
            env=dict(os.environ),
            childFDs=dict(enumerate(streams)),
        )


def _ended(stream: Stream, ended: Callable[[Failure], object], reason: Failure) -> None:
    stream.owner_ended()
    ended(reason)
