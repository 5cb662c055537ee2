"""
What the unit tests put in the place of the reactor, the log and processes.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ProcessExitedAlready, ReactorNotRunning
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.internet.process import Process
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent
from zope.interface import implementer

from twisted_fork.journal import Journal
from twisted_fork.kernel.processes import ForkedProcess

NO_PID = 5_000_000
"""More than the kernel gives to any process, so no real one can be meant."""


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """
    The two ends of a channel: ours, which waits for ten seconds at most, and one for
    another process, which waits as long as it takes.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(10)
    return ours, theirs


def journal_of(lines: list[str], quiet: bool = False) -> Journal:
    """A journal that writes into *lines*."""

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    return Journal(quiet, Logger(namespace="test", observer=observe))


def pass_time(clock: Clock, seconds: float) -> None:
    """Advance *clock* from one delayed call to the next, so that each comes in its time."""
    end = clock.seconds() + seconds
    while due := [call.getTime() for call in clock.getDelayedCalls() if call.getTime() <= end]:
        clock.advance(max(0.0, min(due) - clock.seconds()))
    clock.advance(max(0.0, end - clock.seconds()))


@implementer(IReactorFDSet, IReactorTime)
class FakeReactor(Clock):
    """
    A clock that also watches descriptors, when it is told to turn.

    :ivar started: what start_process was called for: process, channel, and ended.
    :ivar called: what callWhenRunning and callFromThread were given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []
        self.writers: list[Any] = []
        self.started: list[dict[str, Any]] = []
        self.called: list[tuple[Any, ...]] = []
        self.triggers: list[tuple[str, str, Callable[[], object]]] = []
        self.spawn_error: OSError | None = None
        self.pids = itertools.count(NO_PID)
        self.running = True
        self._watched: dict[Any, int] = {}

    def stop(self) -> None:
        if not self.running:
            raise ReactorNotRunning()
        self.running = False

    def addReader(self, reader: Any) -> None:
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def watch(self, descriptor: int, reader: Any) -> None:
        """As a Watcher does."""
        self._watched[reader] = descriptor
        self.addReader(reader)

    def ignore(self, descriptor: int, reader: Any) -> None:
        """Likewise."""
        self.removeReader(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[Any]:
        raise NotImplementedError

    getReaders = getWriters = removeAll

    def turn(self, seconds: float = 0.0) -> bool:
        """Let those read who can, waiting up to *seconds* for the first; whether any did."""
        poll = select.poll()
        by_fd = {
            self._watched[reader] if reader in self._watched else reader.fileno(): reader
            for reader in self.readers
        }
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        happened = poll.poll(seconds * 1000)
        for fd, _ in happened:
            if by_fd[fd] in self.readers:
                by_fd[fd].doRead()
        return bool(happened)

    def turn_until(self, done: Callable[[], object]) -> None:
        """Turn until *done* says so; fail when nothing happens for ten seconds."""
        while not done():
            assert self.turn(10), "nothing happens any more"

    def callWhenRunning(self, what: Callable[..., object], *arguments: Any) -> None:
        self.called.append((what, *arguments))

    callFromThread = callWhenRunning

    def addSystemEventTrigger(self, phase: str, event: str, what: Callable[[], object]) -> None:
        self.triggers.append((phase, event, what))

    def trigger(self, phase: str, event: str) -> None:
        """Call what was to be called then."""
        for when, which, what in self.triggers:
            if (when, which) == (phase, event):
                what()

    def spawnProcess(
        self, protocol: Any, path: str, words: Any, env: Any, childFDs: Any
    ) -> Process:
        """Of all that is here this one is real."""
        return Process(self, path, words, env, None, protocol, childFDs=childFDs)

    def start_process(
        self, reactor: Any, watcher: Any, ended: Any, *words: Any, **options: Any
    ) -> FakeProcess:
        """In the place of reaping.start_process."""
        if self.spawn_error is not None:
            raise self.spawn_error
        process = FakeProcess(next(self.pids))
        channel = socket.socket(fileno=os.dup(options["childFDs"][3]))
        self.started.append({"ended": ended, "process": process, "channel": channel})
        return process


class FakeProcess(ForkedProcess):
    """A process that does nothing but remember which signals it was sent."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.signals: list[str] = []
        self.ended: Any = None
        self.ends_its_group = False
        self.over = False
        self.usage = None

    def signalProcess(self, signalID: str | int) -> None:
        if self.over:
            raise ProcessExitedAlready()
        self.signals.append(str(signalID))
