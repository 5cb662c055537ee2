"""
Closes a connection so that no answer in flight is lost.

If a TCP socket is closed with unread input, the kernel sends a reset, and the peer's kernel then
drops what it has not yet given to its program (RFC 9293 section 3.10.7.4, RFC 2525 section 2.17).
So a child first ends its own side, then reads and drops what still comes, and closes when the peer
has ended its side too, or after LINGER seconds.
"""

from __future__ import annotations

import _socket
import os
import time

from twisted_fork.wire import messages

__all__ = ["LINGER", "close", "look", "tell"]

LINGER = 2.0
"""Seconds that a peer has to end its side."""

_READ = 64 * 1024


def close(connection: _socket.socket, peer_done: bool = False) -> bytes:
    """
    Close *connection*; blocks for at most LINGER seconds.

    :param peer_done: the peer has ended its side, so nothing can be unread.
    :returns: see look.
    """
    try:
        connection.shutdown(_socket.SHUT_WR)
        if not peer_done and not _has_ended(connection):
            _drain(connection, time.monotonic() + LINGER)
    except OSError:
        pass
    info = look(connection)
    connection.close()
    return info


def look(connection: _socket.socket) -> bytes:
    """What the kernel knows of a TCP connection that is about to be closed, see messages.ACCOUNT;
    empty if it is not TCP."""
    try:
        return connection.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, messages.ACCOUNT_SIZE)
    except OSError:
        return b""


def tell(info: bytes) -> None:
    """
    Tell the reactor process about this child's last connection, when the child ends.  It goes
    over standard error, since there the kernel reports which process writes.

    :param info: see look.
    """
    if len(info) == messages.ACCOUNT_SIZE:
        try:
            os.write(2, messages.ACCOUNT + info)
        except OSError:
            pass  # the handler has closed it


def _has_ended(connection: _socket.socket) -> bool:
    """Whether the peer has ended its side; reads at most _READ bytes to find out."""
    try:
        return not connection.recv(_READ, _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _drain(connection: _socket.socket, deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(_READ):
            return
