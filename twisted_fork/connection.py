"""
An accepted connection, for as long as the reactor process holds its descriptor.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

__all__ = ["Connection", "peer_text"]

_MAPPED = "::ffff:"
"""How an IPv4 peer looks on an IPv6 socket: RFC 4291 section 2.5.5.2."""

_CREDENTIALS = struct.Struct("=iII")
"""``struct ucred``: see unix(7), SO_PEERCRED."""


class Connection:
    """
    A connection that has been accepted and not yet been taken by a child.

    It is never read or written here.

    :ivar descriptor: the socket's; -1 when it is closed here.
    :ivar peer: who connected, as the log shows it.
    :ivar tries: how many children ended before they took it.
    """

    __slots__ = ("address", "descriptor", "peer", "tries")

    def __init__(self, descriptor: int, address: Any) -> None:
        self.descriptor = descriptor
        self.address = address
        self.peer = peer_text(descriptor, address)
        self.tries = 0

    def details(self) -> tuple[str]:
        """What a child is told about the connection: plain values."""
        return (self.peer,)

    def close(self) -> None:
        """Close the reactor process's descriptor; closing twice does no harm."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def peer_text(descriptor: int, address: Any) -> str:
    """
    The peer as the log shows it: ``192.0.2.1:5000``, ``[2001:db8::7]:5000``, or for a
    Unix socket, whose peers have no address, ``unix:uid=0,pid=1``.
    """
    if isinstance(address, tuple):
        host, port = address[:2]
        if ":" not in host:
            return f"{host}:{port}"
        if host.startswith(_MAPPED) and "." in host:
            return f"{host[len(_MAPPED) :]}:{port}"
        return f"[{host}]:{port}"
    accepted = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    try:
        credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return "unix"
    finally:
        accepted.detach()
    pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    return f"unix:uid={uid},pid={pid}"
