"""
Launchers and their pools, for test cases.
"""

from __future__ import annotations

import os
import socket
from typing import Any, cast

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tests.unit.cases import Case
from tests.unit.fakes import FakeProcess, FakeReactor, journal_of
from tests.unit.world import RecordingProtocol
from twisted_fork.handler import Echo
from twisted_fork.inside import start
from twisted_fork.kernel.stderr import StandardError
from twisted_fork.launchers import fork, interpreter, templates
from twisted_fork.launchers.fork import ForkLauncher
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_for
from twisted_fork.launchers.spawn import SpawnLauncher
from twisted_fork.places.connection import Connection
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders


class ConnectingCase(Case):
    """
    Connections of real descriptors.

    :ivar pool: that they are given to.
    """

    pool: Pool
    peers = 0

    def connect(self) -> Connection:
        """A connection, of a real descriptor, is given to the pool."""
        self.peers += 1
        served, peer = socket.socketpair()
        self.addCleanup(peer.close)
        connection = Connection(served.detach(), f"/peer/{self.peers}")
        self.addCleanup(connection.close)
        self.pool.serve(connection)
        return connection


class ForkLauncherCase(ConnectingCase):
    """A pool and its fork launcher; the other ends of all channels are the test's."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.processes: dict[int, FakeProcess] = {}
        self.swept: list[int] = []
        self.patch(fork, "adopt", self.forked_process)
        test = self

        class FakeSweep:
            def __init__(self, clock: object, which: int) -> None:
                self.group = -which

            def sweep(self) -> None:
                test.swept.append(self.group)

        self.patch(templates, "Sweep", FakeSweep)
        self.build()

    def build(self, **given: Any) -> None:
        settings = Settings(**{"spare_children": 0, **given})
        told = orders_for(Echo(), settings, listened_to=False)
        journal = journal_of(self.lines)
        self.launcher = ForkLauncher(self.reactor, self.reactor, journal, told, self.starter())
        self.pool = Pool(
            settings,
            self.reactor,
            self.launcher,
            journal,
            RecordingProtocol,
            room=lambda: None,
            last_words=lambda pid: None,
        )

    def starter(self) -> Starter:
        """Starts nothing but what the fake reactor makes up."""
        self.patch(interpreter, "start_process", self.reactor.start_process)
        another = FakeReactor()
        stderr = StandardError(another, another, journal_of(self.lines))
        self.addCleanup(stderr.close)
        return Starter(self.reactor, self.reactor, stderr, (1024, 1024), None)

    def forked_process(self, reactor: object, clock: object, pid: int, ended: Any) -> FakeProcess:
        process = FakeProcess(pid)
        process.ended = ended
        self.processes[pid] = process
        return process

    def template(self, number: int = -1) -> tuple[FakeProcess, socket.socket]:
        """A template that was started: its process, and its end of its channel."""
        started = self.reactor.started[number]
        channel: socket.socket = started["channel"]
        if channel.fileno() >= 0:
            channel.settimeout(10)
        self.addCleanup(channel.close)
        return cast(FakeProcess, started["process"]), channel

    def start(self, **given: Any) -> socket.socket:
        """Start the launcher; its template is ready."""
        self.build(**given)
        self.launcher.start(self.pool)
        return self.is_ready()

    def is_ready(self) -> socket.socket:
        """The newest template has its orders, and says that it is ready."""
        process, channel = self.template()
        self.told()
        self.say(channel, messages.READY, 0, process.pid)
        return channel

    def told(self) -> Orders:
        """The orders of the newest template."""
        message = messages.receive(self.template()[1])
        assert message is not None
        self.assertEqual(message.kind, messages.ORDERS)
        return start.orders_in(message)

    def say(self, channel: socket.socket, kind: bytes, ticket: int = 0, number: int = 0) -> None:
        messages.send(channel, messages.pack(kind, ticket, number))
        while self.reactor.turn():
            pass

    def spare_lives(self, channel: socket.socket, pid: int) -> None:
        """The template has forked the spare that it was asked for, which keeps its channel."""
        asked = messages.receive(channel)
        assert asked is not None
        for descriptor in asked.descriptors:
            self.addCleanup(os.close, descriptor)
        self.say(channel, messages.ALIVE, asked.ticket, pid)

    def asked(self, channel: socket.socket) -> messages.Message:
        """What the template is asked for next; its descriptors are closed."""
        message = messages.receive(channel)
        assert message is not None
        for descriptor in message.descriptors:
            os.close(descriptor)
        return message

    def ends(self, number: int = -1, signal: int | None = 9) -> None:
        """A template's process ends."""
        started = self.reactor.started[number]
        started["process"].over = True
        reason = ProcessDone(0) if signal is None else ProcessTerminated(None, signal, signal)
        started["ended"](Failure(reason))

    def channel_ends(self, channel: socket.socket) -> None:
        channel.close()
        while self.reactor.turn():
            pass


SETTINGS: dict[str, Any] = {"launcher": "spawn", "spare_children": 0, "connections_per_child": 2}


class SpawnCase(ConnectingCase):
    """A pool and its spawn launcher."""

    def setUp(self) -> None:
        self.reactor = self.new_reactor()
        self.lines: list[str] = []
        settings = Settings(**SETTINGS)
        journal = journal_of(self.lines)
        another = FakeReactor()
        self.stderr = StandardError(another, another, journal)
        self.addCleanup(self.stderr.close)
        self.launcher = SpawnLauncher(
            self.reactor,
            self.reactor,
            journal,
            self.orders(),
            Starter(self.reactor, self.reactor, self.stderr, (1024, 1024), None),
        )
        self.pool = Pool(
            settings,
            self.reactor,
            self.launcher,
            journal,
            RecordingProtocol,
            room=lambda: None,
            last_words=lambda pid: None,
        )
        self.launcher.start(self.pool)

    def new_reactor(self) -> FakeReactor:
        return FakeReactor()

    def orders(self) -> Orders:
        return orders_for(Echo(), Settings(**SETTINGS), listened_to=False)
