"""
Ports: opening what endpoints describe.

Twisted's endpoints say what to open, but Twisted's ports are not used.  They would accept
connections, write to the log, and lock the path of a Unix socket with the pid that twistd has
before it becomes a daemon.  The gate accepts the connections.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.interfaces import IStreamServerEndpoint

from twisted_fork.entrance import unixsockets
from twisted_fork.entrance.descriptions import (
    CannotListen,
    described,
    endpoint_from,
    require_plain,
)
from twisted_fork.kernel import traffic
from twisted_fork.settings import Settings

__all__ = [
    "CannotListen",
    "Port",
    "close_all",
    "endpoint_from",
    "open_all",
    "open_port",
    "require_plain",
]

_OURS = "this server itself listens there already"

_BOTH = "tcp6: takes IPv4 too, so "


class Port:
    """
    A port that the gate accepts from.

    :param listener: the socket.
    :param place: the path to remove when the port is closed; None if there is none, or the
        socket is inherited, and others may still use it.
    """

    def __init__(self, listener: _socket.socket, place: unixsockets.Place | None = None) -> None:
        self.socket = listener
        self._place = place
        listener.setblocking(False)
        self.is_unix = listener.family == socket.AF_UNIX
        self.address = _address_text(listener.family, listener.getsockname())

    def configure(self, keepalive: bool, nodelay: bool) -> None:
        """Set options that accepted TCP connections inherit (socket(7), tcp(7)); False leaves an
        option as it is."""
        if not self.is_unix:
            if keepalive:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if nodelay:
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """
        Close the port, and remove its path if that still belongs to it.

        :raises OSError: the path cannot be removed; the port is closed nevertheless.
        """
        try:
            if self._place is not None:
                self._place.remove()
        finally:
            self.socket.close()


def open_all(
    reactor: Any, endpoints: Iterable[str | IStreamServerEndpoint], settings: Settings
) -> list[Port]:
    """
    Open what *endpoints* describe.

    :raises CannotListen: one cannot be opened; all others are closed again.
    :raises InvalidSetting: --idle-timeout is not possible with them.
    """
    ports: list[Port] = []
    try:
        for wanted in endpoints:
            description = described(wanted)
            if isinstance(wanted, str):
                endpoint = endpoint_from(reactor, wanted)
            else:
                endpoint = wanted
                require_plain(endpoint, description)
            ports.append(open_port(endpoint, description, ports))
        for port in ports:
            port.configure(settings.keepalive, settings.nodelay)
        if settings.idle_timeout is not None:
            traffic.require_told([port.socket for port in ports])
    except Exception:
        close_all(ports)
        raise
    return ports


def close_all(ports: Iterable[Port]) -> None:
    """Close all ports; an error of the system does not stop that."""
    for port in ports:
        with suppress(OSError):
            port.close()


def open_port(
    endpoint: IStreamServerEndpoint, description: str, others: Sequence[Port] = ()
) -> Port:
    """
    Open a port: from then on the kernel queues its connections.

    :param others: ports of the same server, which may have the same address.
    :raises CannotListen: it cannot be opened.
    """
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        return Port(_adopt(endpoint, description))
    try:
        if isinstance(endpoint, UNIXServerEndpoint):
            return Port(*_listen_unix(endpoint, others))
        return Port(_listen_tcp(endpoint, others))
    except OSError as why:
        raise CannotListen(f"{description}: {why.strerror or why}") from None
    except (OverflowError, ValueError) as why:
        raise CannotListen(f"{description}: {why}") from None


def _listen_unix(
    endpoint: UNIXServerEndpoint, others: Sequence[Port]
) -> tuple[_socket.socket, unixsockets.Place | None]:
    path, backlog = os.fsencode(endpoint._address), endpoint._backlog
    if any(other.is_unix and os.fsencode(other.socket.getsockname()) == path for other in others):
        raise OSError(errno.EADDRINUSE, f"{_OURS}; leave one of them out")
    return unixsockets.listen(path, endpoint._mode, backlog, bool(endpoint._wantPID))


def _listen_tcp(endpoint: Any, others: Sequence[Port]) -> _socket.socket:
    interface, port = endpoint._interface, endpoint._port
    family = socket.AF_INET
    if isinstance(endpoint, TCP6ServerEndpoint) or ":" in interface:
        family = socket.AF_INET6
    address = _resolved(interface, port, family)
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(endpoint._backlog)
    except OSError as why:
        listener.close()
        raise OSError(why.errno, _why(why, address, others)) from None
    except BaseException:
        listener.close()
        raise
    return listener


def _resolved(interface: str, port: int, family: socket.AddressFamily) -> Any:
    """The address to bind to."""
    flags = socket.AI_PASSIVE
    try:
        found = socket.getaddrinfo(interface or None, 0, family, socket.SOCK_STREAM, 0, flags)
    except (socket.gaierror, UnicodeError) as why:
        text = why.strerror if isinstance(why, OSError) else "it is no name"
        takes = "an IPv6 address" if family == socket.AF_INET6 else "an address"
        raise ValueError(
            f"interface cannot be {interface!r}: {text}; it takes {takes} of this machine"
        ) from None
    host, _, *more = found[0][4]
    return (host, port, *more)


def _adopt(endpoint: AdoptedStreamServerEndpoint, description: str) -> _socket.socket:
    """
    Use an inherited socket unchanged.  Twisted would let everybody connect to a Unix socket,
    whatever its mode, and set its backlog to 50.
    """
    if endpoint._used:
        raise CannotListen(f"{description}: its socket has been used already")
    endpoint._used = True
    try:
        adopted = _socket.socket(fileno=endpoint.fileno)
    except OSError as failure:
        raise CannotListen(f"{description}: {failure.strerror}") from None
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


def _why(reason: OSError, wanted: Any, others: Sequence[Port]) -> str:
    """The error message for a TCP port that cannot be opened."""
    text = reason.strerror or str(reason)
    if reason.errno == errno.EADDRINUSE:
        for other in others:
            if not other.is_unix and _meet(wanted, other.socket.getsockname()):
                both = "" if len(wanted) == len(other.socket.getsockname()) else _BOTH
                return f"{_OURS}, at {other.address}; {both}leave one of them out"
        return f"{text}; stop what listens there, or choose another"
    if reason.errno in (errno.EACCES, errno.EPERM):
        return f"{text}; ports below 1024 need root, or CAP_NET_BIND_SERVICE"
    if reason.errno == errno.EADDRNOTAVAIL:
        return f"{text}; it takes an interface= of this machine"
    return text


def _meet(one: Any, other: Any) -> bool:
    """Whether two TCP addresses may conflict."""
    hosts = {one[0], other[0]}
    return one[1] == other[1] and (len(hosts) == 1 or not hosts.isdisjoint(("0.0.0.0", "::")))


def _address_text(family: int, host: Any) -> str:
    if family == socket.AF_INET:
        return f"tcp {host[0]}:{host[1]}"
    if family == socket.AF_INET6:
        return f"tcp6 [{host[0]}]:{host[1]}"
    return f"unix {host!r}" if isinstance(host, bytes) else f"unix {host}"
