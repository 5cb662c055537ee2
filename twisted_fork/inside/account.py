"""
What went over the connection that a child serves: it looks when it closes it, and tells the
reactor process, which has no descriptor of it any more.
"""

from __future__ import annotations

import _socket
import os

from twisted_fork import wire

__all__ = ["Account", "Rehearsal", "stderr_now"]


class Account:
    """
    The account of one child, for one connection after the other.

    :ivar info: what the kernel knew of the connection that was closed last, see
        wire.ACCOUNT; empty if that is not known.
    """

    __slots__ = ("_stderr", "info")

    def __init__(self, stderr: int) -> None:
        """
        :param stderr: the inode of what standard error has to be so that this is told; see
            stderr_now.
        """
        self.info = b""
        self._stderr = stderr

    def look(self, connection: _socket.socket) -> None:
        """*connection* is about to be closed."""
        try:
            self.info = connection.getsockopt(
                _socket.IPPROTO_TCP, _socket.TCP_INFO, wire.ACCOUNT_SIZE
            )
        except OSError:
            pass  # it is no TCP connection

    def tell(self) -> None:
        """
        The child ends: tell what is known, by way of standard error, since the kernel says
        there whose words these are.  What the handler has put in its place is left alone.
        """
        if len(self.info) == wire.ACCOUNT_SIZE:
            try:
                if os.fstat(2).st_ino == self._stderr:
                    os.write(2, wire.ACCOUNT + self.info)
            except OSError:
                pass


class Rehearsal(Account):
    """Does as an account does, but for telling anybody: for rehearsals in the template."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(-1)

    def look(self, connection: _socket.socket) -> None:
        """As if *connection*, a socket pair's end, were a TCP connection."""
        super().look(connection)
        self.info = bytes(wire.ACCOUNT_SIZE)


def stderr_now() -> int:
    """The inode of standard error; -1 if there is none."""
    try:
        return os.fstat(2).st_ino
    except OSError:
        return -1
