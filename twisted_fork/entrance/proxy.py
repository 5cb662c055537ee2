"""
The PROXY protocol: a proxy sends a header before anything else, which tells who the peer of the
connection really is (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).

The reactor process reads the header, because admission needs it, and not one byte more: it
looks at what has come (MSG_PEEK), and then takes only what certainly belongs to the header.  The
proxy-protocol package parses it.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Callable, Iterable
from typing import Any

from proxyprotocol import ProxyProtocol
from proxyprotocol.result import ProxyResult, is_ipv4, is_ipv6, is_unix
from proxyprotocol.v1 import ProxyProtocolV1
from proxyprotocol.v2 import ProxyProtocolV2
from twisted.internet.interfaces import IReactorTime

from twisted_fork.entrance.networks import address_of, network_of
from twisted_fork.kernel.watcher import Watching
from twisted_fork.places.connection import Connection
from twisted_fork.timers import Later

__all__ = ["BadHeader", "HeaderReader", "Told", "Trusted", "take"]

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V1_LONGEST = 107
_V2_FIXED = 16
_UNIX_STREAM = b"\x31"
_PATH = 108


class BadHeader(Exception):
    """The bytes are not a PROXY header; the message says what is wrong."""


class Trusted:
    """The peers that may send a header: those of Unix sockets, and those in *networks*."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [network_of(network) for network in networks]

    def __contains__(self, connection: Connection) -> bool:
        if not isinstance(connection.address, tuple):
            return True
        peer = address_of(connection.address[0])
        return any(peer in network for network in self._networks)


def take(seen: bytes) -> tuple[int, bool]:
    """
    Find the end of the header in *seen*, the first bytes of a connection.

    :returns: how many of the bytes certainly belong to the header, and whether it is complete.
    :raises BadHeader: no header begins like this.
    """
    if _V1.startswith(seen[: len(_V1)]):
        end = seen.find(b"\r\n", 0, _V1_LONGEST)
        if end >= 0:
            return end + 2, True
        if len(seen) >= _V1_LONGEST:
            raise BadHeader(f"no end of line within {_V1_LONGEST} bytes")
        return len(seen), False
    if _V2.startswith(seen[: len(_V2)]):
        if len(seen) < _V2_FIXED:
            return len(seen), False
        whole = _V2_FIXED + int.from_bytes(seen[14:16], "big")
        return min(len(seen), whole), len(seen) >= whole
    raise BadHeader("it does not begin with a PROXY header")


class Told:
    """
    What a header tells.

    :ivar peer: the real peer's address, as accept(2) gives addresses.  None if the header has
        none: it is a connection of the proxy's own, or from a Unix socket without a name.  Then
        the proxy is the peer.
    :ivar local: the address that the peer connected to; None as *peer*.
    :ivar extras: the TLVs, by their type.
    """

    def __init__(self, header: bytes) -> None:
        """:raises BadHeader: *header* is not a valid header."""
        version: ProxyProtocol = ProxyProtocolV2() if header[:1] == b"\r" else ProxyProtocolV1()
        paths = b""
        if header[:1] == b"\r" and header[13:14] == _UNIX_STREAM:
            # the parser takes ASCII only, and a path may have any bytes
            paths = header[_V2_FIXED : _V2_FIXED + 2 * _PATH]
            header = header[:_V2_FIXED] + bytes(len(paths)) + header[_V2_FIXED + len(paths) :]
        try:
            result = version.unpack(header)
            self.peer, self.local = _addresses(result, paths)
            self.extras = {int(kind): bytes(value) for kind, value in result.tlv.items()}
        except Exception as failure:  # the parser raises errors of many types
            raise BadHeader(f"{type(failure).__name__}: {failure}") from failure


def _addresses(result: ProxyResult, paths: bytes) -> tuple[Any, Any]:
    if is_ipv4(result):
        return _inet(result.source), _inet(result.dest)
    if is_ipv6(result):
        return (*_inet(result.source), 0, 0), (*_inet(result.dest), 0, 0)
    if is_unix(result) and (source := _path(paths[:_PATH])):
        return source, _path(paths[_PATH:])
    return None, None


def _path(field: bytes) -> str | bytes:
    """The path of a Unix socket, or the abstract name, as accept(2) gives it."""
    if field[:1] == b"\0":
        return field.rstrip(b"\0")
    return os.fsdecode(field.partition(b"\0")[0])


def _inet(address: tuple[Any, int]) -> tuple[str, int]:
    """:raises ValueError: the host has a scope, which has no meaning on another machine."""
    host, port = address
    if "%" in str(host):
        raise ValueError(f"{host} has a scope")
    return str(host), port


class HeaderReader:
    """
    Reads the header of one connection.

    :param patience: seconds in which the header has to come.
    :param told: is called with the connection when its header has been read.
    :param failed: is called with the connection and the reason when there is no valid header
        in time.
    :ivar peer: the sender of the header, as the log shows it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        watcher: Watching,
        connection: Connection,
        patience: float,
        told: Callable[[Connection], object],
        failed: Callable[[Connection, str], object],
    ) -> None:
        self._watcher = watcher
        self.peer = connection.peer
        self._connection = connection
        self._told = told
        self._failed = failed
        self._taken = b""
        # made in start, not here: it closes the descriptor when it is deleted, so it must not exist
        # if __init__ raises
        self._socket: _socket.socket | None = None
        self._patience = patience
        self._timeout = Later(clock, self._too_late)

    def start(self) -> None:
        """Begin to read.  Call let_go afterwards, even if this raises."""
        descriptor = self._connection.descriptor
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        self._timeout.arm(self._patience)
        self._watcher.watch(descriptor, self)

    def raised(self) -> None:
        """doRead has raised: the connection is over."""
        self._fail("internal error")

    def doRead(self) -> None:
        assert self._socket is not None
        try:
            seen = self._socket.recv(_V2_FIXED + 0xFFFF, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as failure:
            self._fail(failure.strerror or "the connection was lost")
            return
        if not seen:
            self._fail("closed before its PROXY header")
            return
        try:
            length, whole = take(self._taken + seen)
            self._taken += self._socket.recv(length - len(self._taken), _socket.MSG_DONTWAIT)
            if not whole:
                return
            told = Told(self._taken)
        except BadHeader as failure:
            self._fail(f"bad PROXY header: {failure}")
            return
        self.let_go()
        if told.peer is not None:
            self._connection.proxied(told.peer, told.local, told.extras)
        elif told.extras:
            self._connection.extras = told.extras
        self._told(self._connection)

    def stop(self) -> None:
        """Fail at once."""
        self._fail("shutting down")

    def _too_late(self) -> None:
        self._fail("no PROXY header in time")

    def _fail(self, reason: str) -> None:
        self.let_go()
        self._failed(self._connection, reason)

    def let_go(self) -> None:
        """Stop reading; a second call does nothing."""
        self._timeout.cancel()
        if self._socket is not None:
            self._watcher.ignore(self._connection.descriptor, self)
            self._socket.detach()
            self._socket = None
