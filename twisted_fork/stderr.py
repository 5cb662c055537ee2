"""
The children's standard error, on its way into the log.

One Unix stream socket is the standard error of the template and of all children; the
kernel says with every piece who wrote it (SO_PASSCRED, see unix(7)), so a child costs
no descriptor here and cannot write in another's name.  systemd's journal does the same.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.interfaces import IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_fork.journal import Journal
from twisted_fork.later import Later

__all__ = ["StandardError", "Tap"]

_CREDENTIALS = struct.Struct("=iII")

_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size)

_READ = 64 * 1024

_MOST_AT_ONCE = 64
"""Pieces that are read before anything else is done."""

_LONGEST_LINE = 4 * 1024
"""Characters of a line; a longer one is cut into several."""

_PATIENCE = 1.0
"""Seconds that an unfinished line waits for its end."""

_LINES_PER_SECOND = 500
"""Lines logged of all children together; what is more is counted and dropped, so that
a child that writes without end fills neither the disk nor the reactor's time."""


class Tap:
    """
    Pieces of standard error to lines of log.

    An unfinished line waits for its end, but not for long.
    """

    def __init__(self, clock: IReactorTime, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._unfinished: dict[int, bytes] = {}
        self._second = 0
        self._lines = 0
        self._dropped = 0
        self._report = Later(clock, self._say_dropped)
        self._flush = Later(clock, self._flush_all)

    def wrote(self, pid: int, data: bytes) -> None:
        """A piece has come, from a child or a descendant of one."""
        *lines, rest = (self._unfinished.pop(pid, b"") + data).split(b"\n")
        while len(rest) > _LONGEST_LINE:
            lines.append(rest[:_LONGEST_LINE])
            rest = rest[_LONGEST_LINE:]
        if rest:
            self._unfinished[pid] = rest
            self._flush.arm(_PATIENCE)
        for line in lines:
            self._line(pid, line)

    def flush(self, pid: int) -> None:
        """The child has ended: its last line has no end."""
        rest = self._unfinished.pop(pid, b"")
        if rest:
            self._line(pid, rest)

    def _line(self, pid: int, line: bytes) -> None:
        second = int(self._clock.seconds())
        if second != self._second:
            self._second = second
            self._lines = 0
        self._lines += 1 + len(line) // (_LONGEST_LINE + 1)
        if self._lines > _LINES_PER_SECOND:
            self._dropped += len(line)
            self._report.arm(1)
            return
        for start in range(0, len(line) or 1, _LONGEST_LINE):
            piece = line[start : start + _LONGEST_LINE]
            self._journal.child_wrote(pid, piece.decode("utf-8", "backslashreplace"))

    def _say_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._journal.child_wrote_too_much(dropped)

    def _flush_all(self) -> None:
        for pid in list(self._unfinished):
            self.flush(pid)

    def close(self) -> None:
        """Say what there is still to say."""
        self._flush.cancel()
        self._flush_all()
        self._report.cancel()
        self._say_dropped()


@implementer(IReadDescriptor)
class StandardError:
    """
    The socket, and its reader.

    :ivar theirs: the descriptor for children's standard error.
    :raises OSError: out of descriptors.
    """

    def __init__(self, reactor: Any, journal: Journal) -> None:
        self._reactor = reactor
        self._tap = Tap(reactor, journal)
        self._socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.theirs = self._theirs.fileno()
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "stderr"

    def doRead(self) -> None:
        self._read()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def child_ended(self, pid: int) -> None:
        """A child has ended: whatever it wrote is in the socket, read it now."""
        self._read_some()
        self._tap.flush(pid)

    def close(self) -> None:
        """Log what is there, and close."""
        if self._socket.fileno() >= 0:
            self._read_some()
            self._tap.close()
            self._reactor.removeReader(self)
            self._socket.close()
            self._theirs.close()

    def _read_some(self) -> None:
        """Read what is there; not without end, since others go on writing."""
        for _ in range(_MOST_AT_ONCE):
            if not self._read():
                return

    def _read(self) -> bool:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ, _ANCILLARY)
        except OSError:
            return False
        pid = 0
        for level, kind, credentials in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(credentials)[0]
        if data:
            self._tap.wrote(pid, data)
        return bool(data)
