"""
Ports: endpoints, and accepting from them.

Twisted's endpoints open the ports; the connections are accepted here, one at a time
and only when there is room for one, so that whatever there is no room for stays in the
kernel's listen backlog.  Twisted's own port would accept up to a hundred in a row and
wrap each, and when the process is out of descriptors it accepts connections in order to
drop them.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_fork.accepted import Connection
from twisted_fork.journal import Journal
from twisted_fork.later import Backoff

__all__ = ["CannotListen", "Gate", "Port", "endpoint_from", "open_port"]

_BACKLOG = 2**31 - 1
"""The kernel lowers it to what the system allows: net.core.somaxconn, see listen(2)."""

_PLAIN = (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    AdoptedStreamServerEndpoint,
)

_WRAPPED = ("ssl", "tls", "haproxy")
"""Kinds that are refused before Twisted parses them, which needs packages for some."""

_PEER_IS_GONE = (
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
)
"""What accept(2) says of one connection, not of the socket: try the next."""

_MOST_AT_ONCE = 64
"""Connections accepted in one turn of the reactor."""


class CannotListen(Exception):
    """A port cannot be opened; the message is one line that says which and why."""


def endpoint_from(reactor: Any, description: str) -> IStreamServerEndpoint:
    """
    Make the endpoint of a description such as ``tcp:8000:interface=127.0.0.1``.

    Its listen backlog is as large as the system allows, unless it says otherwise.

    :raises CannotListen: it does not parse, or the reactor would have to touch the
        bytes of its connections.
    """
    kind = description.partition(":")[0]
    if kind in _WRAPPED:
        raise CannotListen(_not_plain(description, kind))
    wanted = description
    if kind in ("tcp", "tcp6", "unix") and ":backlog=" not in description:
        wanted += f":backlog={_BACKLOG}"
    try:
        try:
            endpoint: IStreamServerEndpoint = serverFromString(reactor, wanted)
        except TypeError:
            endpoint = serverFromString(reactor, description)
    except KeyError as failure:
        raise CannotListen(f"{description}: there is no inherited socket {failure}") from None
    except IndexError:
        raise CannotListen(
            f"{description}: there is no inherited socket of that index; LISTEN_PID,"
            " LISTEN_FDS and LISTEN_FDNAMES tell which there are, and systemd-socket-activate"
            " needs --fdname= for the last"
        ) from None
    except (ValueError, TypeError, AttributeError, RuntimeError) as failure:
        raise CannotListen(
            f"{description}: not an endpoint that can be understood ({failure});"
            " it takes one like tcp:8000, tcp6:8000, unix:/run/socket,"
            " systemd:domain=INET:index=0"
        ) from None
    require_plain(endpoint, description)
    return endpoint


def require_plain(endpoint: IStreamServerEndpoint, description: str) -> None:
    """
    See that *endpoint* accepts plain sockets.

    :raises CannotListen: it does not.
    """
    if not isinstance(endpoint, _PLAIN):
        raise CannotListen(_not_plain(description, description.partition(":")[0]))


def _not_plain(description: str, kind: str) -> str:
    return (
        f"{description}: the reactor process would have to read and write the bytes of"
        f" {kind}: connections, and here it hands over the socket itself;"
        " it takes tcp:, tcp6:, unix: or systemd:"
        + ("; for TLS there is --tls-certificate" if kind in ("ssl", "tls") else "")
        + ("; for the PROXY protocol there is --proxy-protocol" if kind == "haproxy" else "")
    )


class Handover(Factory):
    """Twisted's ports need a factory; this one is never asked for a protocol."""

    noisy = False


class Port:
    """
    A port that Twisted has opened and that we accept from.

    :param adopted: the socket has been inherited, and others may go on with it.
    """

    def __init__(self, port: tcp.Port, adopted: bool = False) -> None:
        self._port = port
        self._adopted = adopted
        port.stopReading()
        host = port.socket.getsockname()
        self.socket = _socket.socket(fileno=os.dup(port.fileno()))
        self.socket.setblocking(False)
        self.is_unix = self.socket.family == socket.AF_UNIX
        self.address = _address_text(self.socket.family, host)

    def configure(self, keepalive: bool, nodelay: bool) -> None:
        """Set options that accepted TCP connections inherit (socket(7), tcp(7)); whatever is
        not asked for stays as it is."""
        if not self.is_unix:
            if keepalive:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if nodelay:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> Deferred[None]:
        """Close it; fires when it is closed, and a Unix socket's path is gone."""
        self.socket.close()
        if self._adopted:
            # Twisted would remove the path of a Unix socket that is not ours
            self._port.socket.close()
            return succeed(None)
        closed: Deferred[None] = self._port.stopListening()
        return closed

    def close_now(self) -> None:
        """Close it where no reactor runs that would."""
        if self._adopted:
            self.close()
            return
        self.socket.close()
        self._port.connectionLost(Failure(ConnectionDone()))


def open_port(endpoint: IStreamServerEndpoint, description: str) -> Port:
    """
    Open a port: connections to it are queued by the kernel from now on.

    :raises CannotListen: it cannot be opened.
    """
    result: list[IListeningPort | Failure] = []
    lock = _lock_of(endpoint)
    if lock is not None and os.path.lexists(lock):
        lock = None  # somebody else's, or of another port of ours
    endpoint.listen(Handover()).addBoth(result.append)
    (port,) = result
    if isinstance(port, Failure):
        if lock is not None and os.path.lexists(lock):
            os.unlink(lock)  # Twisted leaves it behind when it cannot bind
        reason = port.value
        if isinstance(reason, CannotListenError):
            reason = reason.socketError
        if isinstance(reason, OSError):
            raise CannotListen(f"{description}: {_why(reason)}") from None
        raise CannotListen(f"{description}: {reason}") from None
    assert isinstance(port, tcp.Port), "endpoints of plain sockets have ports of this kind"
    return Port(port, adopted=isinstance(endpoint, AdoptedStreamServerEndpoint))


def _why(reason: OSError) -> str:
    text = reason.strerror or str(reason)
    if reason.errno == errno.EADDRINUSE:
        return f"{text}; stop what listens there, or choose another"
    if reason.errno in (errno.EACCES, errno.EPERM):
        return f"{text}; ports below 1024 and protected folders need root"
    return text


def _lock_of(endpoint: IStreamServerEndpoint) -> str | None:
    """The lock that Twisted makes beside a Unix socket's path; None if it makes none."""
    path = getattr(endpoint, "_address", None)
    if isinstance(endpoint, UNIXServerEndpoint) and isinstance(path, str) and "\0" not in path:
        return path + ".lock"
    return None


def _address_text(family: int, host: Any) -> str:
    if family == socket.AF_INET:
        return f"tcp {host[0]}:{host[1]}"
    if family == socket.AF_INET6:
        return f"tcp6 [{host[0]}]:{host[1]}"
    return f"unix {host!r}" if isinstance(host, bytes) else f"unix {host}"


@implementer(IReadDescriptor)
class _Acceptor:
    """Accepts from one port while the gate is open."""

    def __init__(self, gate: Gate, port: Port) -> None:
        self._gate = gate
        self._socket = port.socket
        self._family = int(port.socket.family)
        self._limit = 1

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "port"

    def connectionLost(self, reason: Failure) -> None:
        self._gate.close()

    def doRead(self) -> None:
        """
        Accept as many as there were last time and some more: a lone connection then
        costs one call of accept, not two.

        _accept is what socket.accept calls; it gives the bare descriptor, close-on-exec
        and blocking, and no object that nobody needs.
        """
        accepted = 0
        while accepted < self._limit:
            if not self._gate.may_accept():
                self._gate.close()
                return
            try:
                descriptor, address = self._socket._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                break
            except OSError as failure:
                if failure.errno in _PEER_IS_GONE:
                    continue
                self._gate.trouble(failure)
                return
            accepted += 1
            self._gate.passed(Connection(descriptor, address, self._family))
        self._limit = (
            min(accepted + 4, _MOST_AT_ONCE) if accepted == self._limit else max(1, accepted)
        )


class Gate:
    """
    All ports of a service, open for connections or closed together.

    :param may_accept: is asked before each connection that is accepted.
    :param admit: is called with each.
    :param short: is called when there are no descriptors left to accept with.
    """

    def __init__(
        self,
        reactor: Any,
        ports: Sequence[Port],
        journal: Journal,
        may_accept: Callable[[], bool],
        admit: Callable[[Connection], object],
        short: Callable[[], object] = lambda: None,
    ) -> None:
        self.may_accept = may_accept
        self._reactor = reactor
        self._journal = journal
        self._admit = admit
        self._short = short
        self._ports = ports
        self._acceptors = [_Acceptor(self, port) for port in ports]
        self._open = False
        self._announced = False
        self._finished = False
        self._backoff = Backoff(reactor, self.open)

    def open(self) -> bool:
        """
        Accept connections from now on; there is room.

        :returns: whether this is the first time.
        """
        if self._open or self._finished or self._backoff.waiting:
            return False
        self._open = True
        for acceptor in self._acceptors:
            self._reactor.addReader(acceptor)
        if self._announced:
            return False
        self._announced = True
        self._journal.accepting(port.address for port in self._ports)
        return True

    def close(self) -> None:
        """Accept nothing until open is called."""
        if self._open:
            self._open = False
            for acceptor in self._acceptors:
                self._reactor.removeReader(acceptor)

    def passed(self, connection: Connection) -> None:
        """A connection has been accepted."""
        if failures := self._backoff.succeeded():
            self._journal.accept_recovered(failures)
        self._admit(connection)

    def trouble(self, failure: OSError) -> None:
        """Accepting fails: most likely there is no descriptor, or no memory."""
        self.close()
        if failure.errno in (errno.EMFILE, errno.ENFILE):
            self._short()
        if not self._backoff.failures:
            self._journal.accept_failing(os.strerror(failure.errno or 0))
        self._backoff.failed()

    def finish(self) -> Deferred[Any]:
        """Close the ports for good; fires when they are closed."""
        self.close()
        self._finished = True
        self._backoff.cancel()
        closing = [port.close() for port in self._ports]
        for closed in closing:
            closed.addErrback(lambda failure: self._journal.port_trouble(str(failure.value)))
        return gatherResults(closing)
