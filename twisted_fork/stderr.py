"""
The children's standard error, on its way into the log.

One Unix stream socket is the standard error of the template and of all children; the
kernel says with every piece who wrote it (SO_PASSCRED, see unix(7)), so a child costs
no descriptor here and cannot write in another's name.  systemd's journal does the same.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from twisted_fork import wire
from twisted_fork.journal import Journal
from twisted_fork.later import Later
from twisted_fork.watching import Watching

__all__ = ["StandardError", "Tap"]

_CREDENTIALS = struct.Struct("=iII")

_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size)

_READ = 64 * 1024

_MOST_AT_ONCE = 64
"""Pieces that are read before anything else is done."""

_LONGEST_LINE = 4 * 1024
"""Characters of a line; a longer one is cut into several."""

_ACCOUNT = re.compile(re.escape(wire.ACCOUNT) + rb"(\d{1,20}) (\d{1,20})\n")

_MOST_ACCOUNTS = 4096
"""Accounts of processes whose end has not been seen: a child's is, a moment after."""

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
        self._accounts: dict[int, tuple[int, int]] = {}
        self._second = 0
        self._lines = 0
        self._dropped = 0
        self._report = Later(clock, self._say_dropped)
        self._flush = Later(clock, self._flush_all)

    def wrote(self, pid: int, data: bytes) -> None:
        """A piece has come, from a child or a descendant of one."""
        data = self._unfinished.pop(pid, b"") + data
        if wire.ACCOUNT in data:
            data = self._without_accounts(pid, data)
        *lines, rest = data.split(b"\n")
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

    def account_of(self, pid: int) -> tuple[int, int] | None:
        """What the child with this pid has said of its connection, once."""
        return self._accounts.pop(pid, None)

    def _without_accounts(self, pid: int, data: bytes) -> bytes:
        """Take out of *data* what a child says of its connection."""
        for received, sent in _ACCOUNT.findall(data):
            if len(self._accounts) >= _MOST_ACCOUNTS:
                del self._accounts[next(iter(self._accounts))]
            self._accounts[pid] = (int(received), int(sent))
        return _ACCOUNT.sub(b"", data)

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


class StandardError:
    """
    The socket, and its reader.

    :ivar theirs: the descriptor for children's standard error.
    :param renewed: is called when there is another socket behind that descriptor: whoever
        has the old one is not heard any more.
    :raises OSError: out of descriptors.
    """

    def __init__(
        self,
        clock: IReactorTime,
        watcher: Watching,
        journal: Journal,
        renewed: Callable[[], object] = lambda: None,
    ) -> None:
        self._watcher = watcher
        self._journal = journal
        self._renewed = renewed
        self._tap = Tap(clock, journal)
        self._renewal = Later(clock, self._renew)
        self._resumption = Later(clock, self._resume)
        self._socket, theirs = _pair()
        self.theirs = theirs.detach()
        watcher.addReader(self)

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        self._read()

    def raised(self) -> None:
        """Whatever it was about, read on a moment later."""
        self._watcher.removeReader(self)
        self._resumption.arm(_PATIENCE)

    def _resume(self) -> None:
        self._watcher.removeReader(self)
        self._watcher.addReader(self)

    def child_ended(self, pid: int) -> None:
        """A child has ended: whatever it wrote is in the socket, read it now."""
        self._read_some()
        self._tap.flush(pid)

    def account_of(self, pid: int) -> tuple[int, int] | None:
        """What a child that has ended has said of its connection: bytes received and sent."""
        told = self._tap.account_of(pid)
        if told is None:
            self._read_some()
            told = self._tap.account_of(pid)
        return told

    def close(self) -> None:
        """Log what is there, and close."""
        if self._socket.fileno() >= 0:
            self._read_some()
            self._tap.close()
            self._renewal.cancel()
            self._resumption.cancel()
            self._watcher.removeReader(self)
            self._socket.close()
            os.close(self.theirs)

    def _shut_down(self) -> None:
        """A child has shut down the socket, which is everybody's: make another, for those to
        come.  It is not done at once, so that who does it again and again gains nothing."""
        self._watcher.removeReader(self)
        if not self._renewal.armed:
            self._journal.stderr_shut_down()
            self._renewal.arm(_PATIENCE)

    def _renew(self) -> None:
        try:
            ours, theirs = _pair()
        except OSError:
            self._renewal.arm(_PATIENCE)
            return
        with theirs:
            os.dup2(theirs.fileno(), self.theirs, inheritable=False)
        self._socket.close()
        self._socket = ours
        self._watcher.addReader(self)
        self._renewed()

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
        else:
            self._shut_down()
        return bool(data)


def _pair() -> tuple[socket.socket, socket.socket]:
    """Our end, which tells who wrote and never blocks, and the children's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs
