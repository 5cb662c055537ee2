"""
A pool among fakes: its launcher, the channels and processes of its children, and connections.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_fork.kernel.channels import Channel
from twisted_fork.places.connection import Connection
from twisted_fork.pool.child import Child, ChildProtocol
from twisted_fork.pool.launcher import Owner
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders

from .fakes import NO_PID, FakeProcess, journal_of


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
