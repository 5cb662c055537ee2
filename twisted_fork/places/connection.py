"""
An accepted connection, as long as the reactor process has its descriptor.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct
from typing import Any

from twisted_fork.logformat import printable
from twisted_fork.wire.addresses import plain
from twisted_fork.wire.orders import Address, Details

__all__ = ["Connection", "names"]

_CREDENTIALS = struct.Struct("=iII")
"""``struct ucred``: see unix(7), SO_PEERCRED."""


class Connection:
    """
    A connection that has been accepted and not yet been taken by a child.

    The reactor process does not read or write it here.

    :ivar descriptor: of the socket; -1 when it has been closed here.
    :ivar family: the socket's, such as AF_INET.
    :ivar address: the peer's, as in inside.handlers.api.ConnectionInfo.
    :ivar peer: the peer, as the log shows it.
    :ivar is_tcp: it came over TCP, whatever peer a proxy names.
    :ivar local: the address that was connected to, if a proxy has told it; otherwise None.
    :ivar source: what it is counted under: a host, a network, or the user of a Unix socket.
    :ivar number: how many connections of the same source are alive, this one included.
    :ivar counted: it is counted as alive; see sources.Sources.
    :ivar extras: the TLVs of its PROXY header, by type; None without any.
    :ivar tries: how many children ended before they took it.
    """

    __slots__ = (
        "address",
        "counted",
        "descriptor",
        "extras",
        "family",
        "is_tcp",
        "local",
        "number",
        "peer",
        "source",
        "tries",
    )

    def __init__(self, descriptor: int, address: Any, family: int = int(socket.AF_INET)) -> None:
        self.descriptor = descriptor
        self.family = family
        self.is_tcp = isinstance(address, tuple)
        if self.is_tcp and len(address) == 4:
            address = plain(address)
        self.address = address
        self.peer, self.source = names(descriptor, address)
        self.local: Address | None = None
        self.number = 1
        self.counted = False
        self.extras: dict[int, bytes] | None = None
        self.tries = 0

    def proxied(self, address: Any, local: Any, extras: dict[int, bytes]) -> None:
        """Use what a proxy has told: the peer's address, not empty; the local one; the TLVs."""
        self.address = address = plain(address)
        self.local = plain(local)
        self.extras = extras
        if isinstance(address, tuple):
            self.peer, self.source = names(self.descriptor, address)
        else:
            self.peer = self.source = f"unix:{_one_word(address)}"

    def details(self) -> bytes:
        """What a child is told about the connection: plain values, marshalled."""
        details: Details = (self.family, self.address, self.local, self.number, self.extras)
        return marshal.dumps(details)

    def close(self) -> None:
        """Close the reactor process's descriptor; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _one_word(path: str | bytes) -> str:
    """The path of a Unix socket, or its abstract name, as one word of the log: what could end
    the line, or the word, is escaped."""
    text = os.fsdecode(path)
    if text[:1] == "\0":
        text = "@" + text[1:]
    return printable(text).replace(" ", "\\x20")


def names(descriptor: int, address: Any) -> tuple[str, str]:
    """
    Make the peer's name for the log, and the name of its source, from its address.

    :returns: the peer: ``192.0.2.1:5000``, ``[2001:db8::7]:5000``, or for a Unix socket, whose
        peers mostly have no address, ``unix:uid=0,pid=1``; and the host, or for a Unix socket
        the user, as SO_PEERCRED tells it.
    """
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host
    accepted = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    try:
        credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return "unix", "unix"
    finally:
        accepted.detach()
    pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    user = f"unix:uid={uid}"
    return f"{user},pid={pid}", user
