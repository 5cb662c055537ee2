"""
What went over the connection that a child serves: it looks when it closes it, and tells the
reactor process, which has no descriptor of it any more.
"""

from __future__ import annotations

import _socket
import os

from twisted_fork import tcpinfo, wire

__all__ = ["Account"]


class Account:
    """
    The account of one child, for one connection after the other.

    :ivar amount: bytes received and sent over the connection that was closed last; None if
        that is not known.
    """

    __slots__ = ("_stderr", "amount")

    def __init__(self, stderr: int) -> None:
        """
        :param stderr: the inode of what standard error has to be so that this is told; see
            stderr_now.
        """
        self.amount: tuple[int, int] | None = None
        self._stderr = stderr

    def look(self, connection: _socket.socket) -> None:
        """*connection* is about to be closed."""
        try:
            info = connection.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, tcpinfo.SIZE)
        except OSError:
            return  # it is no TCP connection
        self.amount = tcpinfo.amount(info)

    def tell(self) -> None:
        """
        The child ends: tell what is known, by way of standard error, since the kernel says
        there whose words these are.  What the handler has put in its place is left alone.
        """
        if self.amount is not None:
            try:
                if os.fstat(2).st_ino == self._stderr:
                    os.write(2, wire.account(*self.amount))
            except OSError:
                pass


def stderr_now() -> int:
    """The inode of standard error; -1 if there is none."""
    try:
        return os.fstat(2).st_ino
    except OSError:
        return -1
