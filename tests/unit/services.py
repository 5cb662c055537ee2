"""
A service whose template and children are the test's.
"""

from __future__ import annotations

import os
import resource
import socket
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from twisted_fork.handler import Echo
from twisted_fork.launchers import check, fork, interpreter
from twisted_fork.service import ForkingService
from twisted_fork.settings import Settings
from twisted_fork.wire import messages

from .cases import Case
from .fakes import FakeProcess, FakeReactor, journal_of

LOCAL = "tcp:0:interface=127.0.0.1"


class ServiceCase(Case):
    """A service whose template and children are the test's."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.processes: list[FakeProcess] = []
        self.limits: list[tuple[int, int]] = []
        self.patch(fork, "adopt", self.forked_process)
        self.patch(check, "check", lambda *arguments: None)
        self.patch(interpreter, "start_process", self.reactor.start_process)
        self.patch(resource, "getrlimit", lambda which: (1024, 4096))
        self.patch(resource, "setrlimit", lambda which, limits: None)
        self.patch(resource, "prlimit", lambda pid, which, limits: self.limits.append(limits))
        self.pids = iter(range(7001, 8000))

    def forked_process(self, reactor: object, clock: object, pid: int, ended: Any) -> FakeProcess:
        process = FakeProcess(pid)
        process.ended = ended
        self.processes.append(process)
        return process

    def service(self, *endpoints: Any, **given: Any) -> ForkingService:
        settings = Settings(**{"spare_children": 0, **given})
        service = ForkingService(endpoints or [LOCAL], Echo(), settings, reactor=self.reactor)
        self.patch(service, "_journal", journal_of(self.lines))
        return service

    def turn(self) -> None:
        """Whatever is due now happens."""
        self.reactor.advance(0)
        while self.reactor.turn():
            self.reactor.advance(0)

    def started(self, **given: Any) -> ForkingService:
        """A service that accepts connections."""
        service = self.service(**given)
        service.startService()
        self.template_is_ready()
        return service

    def template_is_ready(self) -> None:
        process = self.reactor.started[-1]["process"]
        self.say(messages.pack(messages.READY, number=process.pid))

    def channel(self) -> socket.socket:
        """The newest template's end of its channel."""
        channel = self.reactor.started[-1]["channel"]
        self.addCleanup(channel.close)
        return cast(socket.socket, channel)

    def say(self, data: bytes) -> None:
        messages.send(self.channel(), data)
        self.turn()

    def address(self) -> tuple[str, int]:
        """Where the service listens, as it says."""
        host, _, port = self.lines[-1].strip("'").rpartition(" ")[2].rpartition(":")
        return host, int(port)

    def serve_one(self, service: ForkingService) -> FakeProcess:
        """A peer connects, and a child serves it; its process."""
        host, port = next(
            line.strip("'").rpartition(" ")[2].rpartition(":")[::2]
            for line in self.lines
            if line.startswith("accepting")
        )
        peer = socket.create_connection((host, int(port)), timeout=10)
        self.addCleanup(peer.close)
        self.turn()
        message = None
        while message is None or message.kind != messages.FORK:
            message = messages.receive(self.channel())
            assert message is not None
        for descriptor in message.descriptors:
            os.close(descriptor)
        self.say(messages.reply(message, messages.ALIVE, next(self.pids)))
        return self.processes[-1]

    def child_ends(self, process: FakeProcess, number: int | None = None) -> None:
        process.over = True
        reason = ProcessDone(0) if number is None else ProcessTerminated(None, number, number)
        process.ended(Failure(reason))
        self.turn()

    def template_ends(self) -> None:
        self.reactor.started[-1]["process"].over = True
        self.reactor.started[-1]["ended"](Failure(ProcessDone(0)))
        self.turn()

    def stop(self, service: ForkingService) -> Deferred[Any]:
        stopped: Deferred[Any] = service.stopService()
        self.turn()
        return stopped
