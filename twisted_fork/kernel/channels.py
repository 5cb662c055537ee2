"""
The reactor process's end of a channel, which never blocks.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted_fork.kernel.watcher import Watching
from twisted_fork.wire import messages

__all__ = ["Channel"]

_MOST_AT_ONCE = 16
"""Messages read in one turn of the reactor, so that no child takes all of its time."""

_MOST_LAST_WORDS = 64
"""Times that _MOST_AT_ONCE messages are read of a child that has ended: more than the kernel
holds."""

_MOST_FAULTS = 3
"""Unexpected exceptions in the life of a channel; at the last, the channel is lost."""

_BUFFER = memoryview(bytearray(messages.LONGEST))
"""Buffer for messages, which are copied at once."""


class Channel:
    """
    One end of a channel, watched by the reactor process.

    :param paused: read nothing before resume is called.
    :param received: is called with each message; it may close the channel.  If it raises, it
        is called once more with it; if that raises too, the channel is lost.
    :param lost: is called once, when the other side is gone or has sent something that is not a
        message; not after close.
    """

    __slots__ = ("_faults", "_lost", "_received", "_socket", "_untold", "_watcher", "closed")

    def __init__(
        self,
        watcher: Watching,
        ours: socket.socket,
        received: Callable[[messages.Message], object],
        lost: Callable[[], object],
        paused: bool = False,
    ) -> None:
        self._watcher = watcher
        self._socket = ours
        self._received = received
        self._lost = lost
        self._untold = b""
        self._faults = 0
        self.closed = False
        if not paused:
            try:
                watcher.watch(ours.fileno(), self)
            except BaseException:
                self.close()
                raise

    def resume(self) -> None:
        """Begin to read, if the channel was made paused."""
        if not self.closed:
            self._watcher.watch(self._socket.fileno(), self)

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """
        Send all of a packed message, or raise.

        :raises OSError: see messages.send; or the channel is closed (``EBADF``).
        """
        messages.send(self._socket, data, descriptors)

    def close(self) -> None:
        """Close this end, which the other side notices; a second call does nothing."""
        if not self.closed:
            self._watcher.ignore(self._socket.fileno(), self)
            self._socket.close()
            self.closed = True

    def hear_out(self) -> None:
        """The other side has ended: read what it has sent, up to a bound: a process that it has
        forked may have the channel too, and go on writing."""
        for _ in range(_MOST_LAST_WORDS):
            if not self.doRead():
                break

    def doRead(self) -> bool:
        """
        Read what has come, up to _MOST_AT_ONCE messages.

        When the other side ends with something unread, the kernel first says ECONNRESET, once;
        then it gives what had been sent to us (unix_release_sock in net/unix/af_unix.c).

        :returns: whether there may be more.
        """
        for _ in range(_MOST_AT_ONCE):
            try:
                length = self._socket.recv_into(_BUFFER)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                continue
            except OSError:
                length = 0
            if not length:
                self._end()
                return False
            self._untold = bytes(_BUFFER[:length])
            try:
                message = messages.Message(self._untold)
            except ValueError:
                self._end()
                return False
            self._received(message)
            self._untold = b""
            if self.closed:
                return False
            if message.kind == messages.READY:
                return True  # after READY a child says nothing until it is given something
        return True

    def raised(self) -> None:
        """doRead has raised: deliver the last message once more, so that no child stays unknown.
        After _MOST_FAULTS of these the channel is lost."""
        untold, self._untold = self._untold, b""
        self._faults += 1
        try:
            if untold:
                self._received(messages.Message(untold))
        except BaseException:
            self._faults = _MOST_FAULTS
            raise
        finally:
            if self._faults >= _MOST_FAULTS:
                self._end()

    def _end(self) -> None:
        if not self.closed:
            self.close()
            self._lost()


def open_channel(
    watcher: Watching,
    received: Callable[[messages.Message], object],
    lost: Callable[[], object],
    paused: bool = False,
) -> tuple[Channel, socket.socket]:
    """
    Make a channel.

    :returns: the reactor process's end, and the end for the other process.
    :raises OSError: out of descriptors or memory.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return Channel(watcher, ours, received, lost, paused), theirs
