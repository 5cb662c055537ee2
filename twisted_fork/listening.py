"""
Ports: which descriptions are understood, and opening what they describe.

Twisted's endpoints open the ports; the gate accepts the connections.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

__all__ = ["CannotListen", "Port", "endpoint_from", "open_port", "require_plain"]

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
    if "=" in kind or "\\" in kind:
        raise CannotListen(_not_understood(description, "it does not begin with its kind"))
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
        raise CannotListen(_not_understood(description, failure)) from None
    require_plain(endpoint, description)
    return endpoint


def require_plain(endpoint: IStreamServerEndpoint, description: str) -> None:
    """
    See that *endpoint* accepts plain sockets.

    :raises CannotListen: it does not.
    """
    if not isinstance(endpoint, _PLAIN):
        raise CannotListen(_not_plain(description, description.partition(":")[0]))


def _not_understood(description: str, why: object) -> str:
    return (
        f"{description}: not an endpoint that can be understood ({why});"
        " it takes one like tcp:8000, tcp6:8000, unix:/run/socket,"
        " systemd:domain=INET:index=0"
    )


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
    A port that we accept from.

    :param listener: the socket.
    :param port: Twisted's port that has opened it; None if it has been inherited, and others
        may go on with it.
    """

    def __init__(self, listener: _socket.socket, port: tcp.Port | None = None) -> None:
        self._port = port
        self.socket = listener
        listener.setblocking(False)
        self.is_unix = listener.family == socket.AF_UNIX
        self.address = _address_text(listener.family, listener.getsockname())

    def configure(self, keepalive: bool, nodelay: bool) -> None:
        """Set options that accepted TCP connections inherit (socket(7), tcp(7)); whatever is
        not asked for stays as it is."""
        if not self.is_unix:
            if keepalive:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if nodelay:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> Deferred[None]:
        """Close it; fires when it is closed, and the path of a Unix socket of ours is gone."""
        self.socket.close()
        if self._port is None:
            return succeed(None)
        closed: Deferred[None] = self._port.stopListening()
        return closed

    def close_now(self) -> None:
        """Close it where no reactor runs that would."""
        self.socket.close()
        if self._port is not None:
            self._port.connectionLost(Failure(ConnectionDone()))


def open_port(endpoint: IStreamServerEndpoint, description: str) -> Port:
    """
    Open a port: connections to it are queued by the kernel from now on.

    :raises CannotListen: it cannot be opened.
    """
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        return Port(_adopt(endpoint, description))
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
    port.stopReading()
    return Port(_socket.socket(fileno=os.dup(port.fileno())), port)


def _adopt(endpoint: AdoptedStreamServerEndpoint, description: str) -> _socket.socket:
    """
    Take over an inherited socket as it is.  Twisted would let everybody connect to a Unix
    socket, whatever its mode, and make its backlog 50.
    """
    if endpoint._used:
        raise CannotListen(f"{description}: its socket has been used already")
    endpoint._used = True
    try:
        adopted = _socket.socket(fileno=endpoint.fileno)
    except OSError as failure:
        raise CannotListen(f"{description}: {_why(failure)}") from None
    os.set_inheritable(adopted.fileno(), False)
    accepts = adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if (
        adopted.family != endpoint.addressFamily
        or adopted.type != socket.SOCK_STREAM
        or not accepts
    ):
        wanted = socket.AddressFamily(endpoint.addressFamily).name
        adopted.close()
        raise CannotListen(
            f"{description}: the inherited socket does not listen for {wanted} streams; it takes"
            " ListenStream= and the domain of its address"
        )
    return adopted


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
