"""
Close a connection so that no answer on its way is destroyed.

Closing a TCP socket while something that its peer has sent is still unread makes
the kernel send a reset, and a reset makes the peer's kernel drop what it has not
yet handed to its program (RFC 9293 section 3.10.7.4, RFC 2525 section 2.17).  So a
child first ends its own side, then reads and drops what still comes, and closes
when its peer has ended too or has had time enough.
"""

from __future__ import annotations

import _socket
import os
import time

from twisted_fork.wire import messages

__all__ = ["LINGER", "close", "look", "tell"]

LINGER = 2.0
"""Seconds that a peer is given to end its side."""

_READ = 64 * 1024


def close(connection: _socket.socket, peer_done: bool = False) -> bytes:
    """
    Close *connection*, lingering for at most LINGER seconds.

    :param peer_done: the peer is known to have ended its side, so nothing can be
        unread and there is nothing to wait for.
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
    empty if it is none."""
    try:
        return connection.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, messages.ACCOUNT_SIZE)
    except OSError:
        return b""


def tell(info: bytes) -> None:
    """
    The child ends: tell the reactor process what it has seen of its last connection, by way of
    standard error, since the kernel says there whose words these are.

    :param info: see look.
    """
    if len(info) == messages.ACCOUNT_SIZE:
        try:
            os.write(2, messages.ACCOUNT + info)
        except OSError:
            pass  # the handler has closed it


def _has_ended(connection: _socket.socket) -> bool:
    """Whether the peer has ended its side, looking at no more than one reading's worth."""
    try:
        return not connection.recv(_READ, _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _drain(connection: _socket.socket, deadline: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(_READ):
            return
