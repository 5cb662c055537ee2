"""Protocols and factories of Twisted, as its own endpoints take them."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure


class Who(Protocol):
    """Says who it is, and who it thinks the peer is."""

    built_for: Any = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        peer: Any = self.transport.getPeer()
        told = {
            "pid": os.getpid(),
            "peer": [peer.host, peer.port],
            "kind": type(peer).__name__,
            "built_for": self.built_for and [self.built_for.host, self.built_for.port],
        }
        self.transport.write(json.dumps(told).encode())
        self.transport.loseConnection()


class WhoFactory(Factory):
    """Tells its protocols whom they were built for."""

    protocol = Who

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        made = super().buildProtocol(addr)
        assert isinstance(made, Who)
        made.built_for = addr
        return made


who = WhoFactory()


class Upper(Protocol):
    """Sends everything back in upper case; says on standard error when it is over."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data.upper())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        os.write(2, f"lost: {reason.type.__name__ if reason.type else reason}\n".encode())


class Lines(LineReceiver):
    """Greets everybody who tells a name."""

    def lineReceived(self, line: bytes) -> None:
        if line == b"bye":
            assert self.transport is not None
            self.transport.loseConnection()
        else:
            self.sendLine(b"hello, " + line)  # type: ignore[no-untyped-call]


class Nobody(Factory):
    """Refuses everybody."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return None


class Unbuildable(Factory):
    """Fails to build its protocol."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        raise RuntimeError("the factory's own")


class Counting(Factory):
    """Is started and stopped, as by an endpoint."""

    protocol = Upper

    def startFactory(self) -> None:
        os.write(2, b"factory started\n")

    def stopFactory(self) -> None:
        os.write(2, b"factory stopped\n")
