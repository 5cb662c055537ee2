"""
An application that says what happens to its children, line by line on standard output.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from twisted_fork import ChildProtocol, ForkingService, Settings


def say(*what: object) -> None:
    """One line, as JSON."""
    sys.__stdout__.write(f"said {json.dumps(what)}\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


class Reporting(ChildProtocol):
    """Says whatever it is told."""

    messages = 0
    pid: int | None = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.pid = transport.pid
        say("alive", self.pid)

    def connection_taken(self, peer: str) -> None:
        say("taken", self.pid, peer)

    def message_received(self, message: bytes) -> None:
        Reporting.messages += 1
        say("message", self.pid, Reporting.messages, len(message), message[:20].decode())

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        say("ended", self.pid, type(value).__name__, value.exitCode, value.signal)


class Deaf(ChildProtocol):
    """Does not care for messages."""


class Failing(ChildProtocol):
    """Fails to care for messages."""

    def message_received(self, message: bytes) -> None:
        raise RuntimeError("the protocol's own")


class Watched(ForkingService):
    """Says who its children are, whenever that has changed, and when it has stopped."""

    _told: object = None

    def startService(self) -> None:
        super().startService()
        self._looking = LoopingCall(self._look)
        self._looking.start(0.01)

    def stopService(self) -> Deferred[None]:
        self._looking.stop()
        stopped: Deferred[None] = super().stopService()
        say("stopping", len(self.children()))
        return stopped.addCallback(self._stopped)

    def _look(self) -> None:
        now = [tuple(child) for child in self.children()]
        without_since = [child[:3] for child in now]
        if without_since != self._told:
            self._told = without_since
            say("children", now)

    def _stopped(self, _: object) -> None:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            say("stopped", file.read().split(), self.children())


def watched(handler: str, protocol: type[ChildProtocol], **settings: Any) -> Watched:
    """What the tests serve."""
    return Watched("tcp:0:interface=127.0.0.1", handler, Settings(**settings), protocol=protocol)
