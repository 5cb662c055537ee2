"""
What a handler can find out about its connection, and send to the reactor process.

The public names are twisted_fork.connection, twisted_fork.ConnectionInfo and twisted_fork.tell.
"""

from __future__ import annotations

import _socket

from twisted_fork.wire import messages
from twisted_fork.wire.addresses import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from twisted_fork.wire.orders import Details

__all__ = ["ConnectionInfo", "connection", "tell"]

_IN_USE = "the handler runs in a child only: nothing is being served here"


class ConnectionInfo:
    """
    The connection that this child serves.

    :ivar peer: the peer's address, as accept(2) gives it: ``(host, port)``; for IPv6 also flow
        and scope; for a Unix socket its path, which is mostly empty, or an abstract name as
        bytes that begin with a NUL.  An IPv4 peer of an IPv6 socket has an IPv4 address: see
        plain.  Behind a proxy that uses the PROXY protocol it is the real peer's.
    :ivar number: how many connections of the same source were alive when this one began, this
        one included.
    :ivar extras: the TLVs of its PROXY header, by their type; empty without any.
    """

    __slots__ = ("_local", "_socket", "extras", "number", "peer")

    def __init__(self, socket: _socket.socket | None, details: Details) -> None:
        _family, self.peer, self._local, self.number, extras = details
        self._socket = socket
        self.extras: dict[int, bytes] = extras or {}

    @property
    def local(self) -> Any:
        """
        The address that the peer connected to, in the same form as *peer*.

        :raises OSError: the connection is closed, and this was not asked for before.
        """
        if self._local is None and self._socket is not None:
            self._local = plain(self._socket.getsockname())
        return self._local


_now: ConnectionInfo | None = None
_listener: _socket.socket | None = None


def begin(info: ConnectionInfo, channel: _socket.socket | None) -> None:
    """A connection is served from now on."""
    global _now, _listener
    _now = info
    _listener = channel


def connection() -> ConnectionInfo:
    """
    The connection that this child serves.

    :raises RuntimeError: this process is not a child that serves a connection.
    """
    if _now is None:
        raise RuntimeError(_IN_USE)
    return _now


def tell(message: bytes) -> bool:
    """
    Send a message to the reactor process, where the child's ChildProtocol gets it as
    ``message_received``, in order.  Blocks while the reactor process is busy.

    :param message: at most 64 KiB.
    :returns: False if it is not received: the service's ChildProtocol does not override
        message_received, or the service is gone.
    :raises TypeError: the message is not bytes, bytearray or memoryview.
    :raises ValueError: it is too long.
    :raises RuntimeError: this process is not a child that serves a connection.
    """
    if not isinstance(message, (bytes, bytearray, memoryview)):
        kind = type(message).__name__
        raise TypeError(f"a message is bytes, not {kind}: a text is sent as text.encode()")
    message = bytes(message)
    if len(message) > messages.MAX_PAYLOAD:
        raise ValueError(
            f"a message of {len(message)} bytes: at most {messages.MAX_PAYLOAD} are possible"
        )
    connection()
    if _listener is None:
        return False
    try:
        messages.send(_listener, messages.pack(messages.TELL, payload=message))
    except OSError:
        return False
    return True
