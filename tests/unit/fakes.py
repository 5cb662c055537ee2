"""
What the unit tests put in the place of the reactor, the log, processes and channels.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ProcessDone,
    ProcessExitedAlready,
    ProcessTerminated,
    ReactorNotRunning,
)
from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorTime,
)
from twisted.internet.process import Process
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_fork.journal import Journal
from twisted_fork.kernel.channels import Channel
from twisted_fork.kernel.processes import ForkedProcess
from twisted_fork.places.connection import Connection
from twisted_fork.pool.child import Child, ChildProtocol
from twisted_fork.pool.launcher import Owner
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders

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


class FakeChannel:
    """A channel that keeps what is sent over it, or refuses it."""

    def __init__(self) -> None:
        self.sent: list[messages.Message] = []
        self.error: OSError | None = None
        self.closed = False
        self.unheard: Callable[[], object] = lambda: None

    def hear_out(self) -> None:
        self.unheard()

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(messages.Message(data, list(descriptors)))

    def close(self) -> None:
        self.closed = True


class FakeConnection(Connection):
    """A connection from 192.0.2.1 whose descriptor is none of this process's."""

    def __init__(self, port: int) -> None:
        super().__init__(NO_PID + port, ("192.0.2.1", port))

    @property
    def closed(self) -> bool:
        """Whether the reactor process has closed it."""
        return self.descriptor < 0

    def close(self) -> None:
        self.descriptor = -1

    def traffic(self) -> None:
        self.close()


class FakeLauncher:
    """Children come to be when the test says so."""

    has_spares = True

    def __init__(self) -> None:
        self.launched: list[Child] = []
        self.is_ready = True
        self.error: OSError | None = None
        self.stuck_ones: list[tuple[Child, float]] = []
        self.stopped: Deferred[None] | None = None

    def start(self, pool: Owner) -> None:
        pool.launcher_changed()

    def ready(self) -> bool:
        return self.is_ready

    def launch(self, child: Child) -> None:
        if self.error is not None:
            raise self.error
        self.launched.append(child)

    def expects(self, child: Child) -> bool:
        return child in self.launched and child.process is None

    def stuck(self, child: Child, seconds: float) -> None:
        self.stuck_ones.append((child, seconds))

    def reload(self, orders: Orders) -> Deferred[bool]:
        raise NotImplementedError

    def reload_failed(self, status: str) -> None:
        raise NotImplementedError

    def stop(self) -> Deferred[None]:
        self.stopped = Deferred()
        return self.stopped

    def kill(self) -> None:
        raise NotImplementedError


class RecordingProtocol(ChildProtocol):
    """Keeps what it is told, and does not listen to handlers."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connectionMade(self) -> None:
        self.told.append("alive")

    def connection_taken(self, peer: str) -> None:
        self.told.append(f"taken {peer}")

    def processEnded(self, reason: Failure) -> None:
        self.told.append(reason.type)


class ListeningProtocol(RecordingProtocol):
    """Listens to handlers, too."""

    def message_received(self, message: bytes) -> None:
        self.told.append(message)


class World:
    """
    A pool among fakes, and what may happen to it; without spares unless they are *given*.

    :ivar full: nothing can be sent to children that come to life.
    """

    def __init__(self, protocol: type[ChildProtocol] = RecordingProtocol, **given: Any) -> None:
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.listening = protocol.listens()
        self.full = False
        self.lines: list[str] = []
        self.rooms = 0
        self.last_words: list[int] = []
        self.settings = Settings(**{"spare_children": 0, **given})
        self.pool = Pool(
            self.settings,
            self.clock,
            self.launcher,
            journal_of(self.lines),
            protocol,
            room=self._room,
            last_words=self.last_words.append,
        )
        self._ports = itertools.count(1)
        self._pids = itertools.count(NO_PID)

    def _room(self) -> None:
        self.rooms += 1

    def connect(self) -> FakeConnection:
        """A connection is accepted and given to the pool."""
        connection = FakeConnection(next(self._ports))
        self.pool.serve(connection)
        return connection

    def live(self, child: Child, took: bool | None = None) -> FakeProcess:
        """A launched child comes to life, by default like a forked one."""
        process = FakeProcess(next(self._pids))
        child.lives(process)
        each = self.settings.connections_per_child
        if child.connection is None or each > 1 or self.listening or took is False:
            child.channel = cast(Channel, FakeChannel())
            if self.full:
                channel_of(child).error = OSError(errno.ETOOMANYREFS, "full")
        self.pool.alive(child, took=child.connection is not None if took is None else took)
        return process

    def spare(self) -> Child:
        """Order a spare and let it live."""
        self.pool.placement.launch(None)
        child = self.launcher.launched[-1]
        self.live(child)
        return child

    def says(self, child: Child, kind: bytes, payload: bytes = b"") -> None:
        """A child's message comes."""
        self.pool.said(child, messages.Message(messages.pack(kind, payload=payload)))

    def end(self, child: Child, number: int | None = None) -> None:
        """A child ends: well, or of a signal."""
        process_of(child).over = True
        how = ProcessDone(0) if number is None else ProcessTerminated(None, number, number)
        self.pool.ended(child, Failure(how))


def process_of(child: Child) -> FakeProcess:
    """The fake process of a child that lives."""
    return cast(FakeProcess, child.process)


def channel_of(child: Child) -> FakeChannel:
    """The fake channel of a child that has one."""
    assert child.channel is not None
    return cast(FakeChannel, child.channel)
