"""
Turns pieces of standard error into lines of the log, with a limit on lines per second.  Anything
beyond that is dropped without being read closely.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.timers import Later
from twisted_fork.wire import messages, tcpinfo

__all__ = ["Tap"]

_LONGEST_LINE = 4 * 1024
"""Characters of a line; a longer line is cut into several."""

_PATIENCE = 1.0
"""Seconds that an unfinished line waits for its end."""

_MOST_UNFINISHED = 256
"""Processes whose unfinished lines are kept; beyond that, the oldest line is logged."""

_LINES_PER_SECOND = 500
"""Lines logged of all children together.  The rest is counted and dropped, so that a child that
writes without end fills neither the disk nor the reactor's time."""

_LONG = 256
"""Bytes; a line counts once more for each of these."""


_ACCOUNT = len(messages.ACCOUNT) + messages.ACCOUNT_SIZE

_MOST_ACCOUNTS = 4096
"""Accounts of processes whose end has not been seen yet."""


class Tap:
    """
    Turns pieces of standard error into lines of the log, and collects what children report about
    their connections.

    :ivar accounts: by pid, the bytes received and sent that a process has reported (see
        messages.ACCOUNT).  The reader of one removes it.
    """

    def __init__(self, clock: IReactorTime, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._unfinished: OrderedDict[int, bytes] = OrderedDict()
        self.accounts: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._second = 0
        self._lines = 0
        self._dropped = 0
        self._report = Later(clock, self._say_dropped)
        self._flush = Later(clock, self._flush_all)

    def wrote(self, pid: int, data: bytes) -> None:
        """A child, or a process that it has started, has written *data*."""
        if len(self.accounts) > _MOST_ACCOUNTS:  # each time one more at most
            self.accounts.popitem(last=False)
        if data.startswith(messages.ACCOUNT) and len(data) == _ACCOUNT and not self._unfinished:
            amount = tcpinfo.amount(data[len(messages.ACCOUNT) :])  # the usual case
            if amount is not None:
                self.accounts[pid] = amount
            return
        data = self._unfinished.pop(pid, b"") + data
        begun = b""
        if messages.ACCOUNT in data:
            data, begun = self._without_accounts(pid, data)
        *lines, rest = data.split(b"\n", self._left())
        for line in lines:
            self._line(pid, line, end=1)
        more, end, rest = rest.rpartition(b"\n")
        self._drop(len(more) + len(end))
        if len(rest) > _LONGEST_LINE:
            cut = len(rest) - len(rest) % _LONGEST_LINE
            self._line(pid, rest[:cut])
            rest = rest[cut:]
        rest += begun
        if rest:
            if len(self._unfinished) >= _MOST_UNFINISHED:
                self._line(*self._unfinished.popitem(last=False))
            self._unfinished[pid] = rest
            self._flush.arm(_PATIENCE)

    def flush(self, pid: int) -> None:
        """The child has ended: log its last line, which may be unfinished."""
        rest = self._unfinished.pop(pid, b"")
        if rest:
            self._line(pid, rest)

    def _without_accounts(self, pid: int, data: bytes) -> tuple[bytes, bytes]:
        """Take the accounts out of *data*; returns the rest, and the beginning of an account that
        is not complete yet."""
        text = b""
        while (start := data.find(messages.ACCOUNT)) >= 0:
            text += data[:start]
            end = start + _ACCOUNT
            if end > len(data):
                return text, data[start:]
            amount = tcpinfo.amount(data[start + len(messages.ACCOUNT) : end])
            if amount is not None:
                self.accounts[pid] = amount
            data = data[end:]
        return text + data, b""

    def _left(self) -> int:
        """How many lines may still be logged in this second."""
        second = int(self._clock.seconds())
        if second != self._second:
            self._second = second
            self._lines = 0
        return max(0, _LINES_PER_SECOND - self._lines)

    def _line(self, pid: int, line: bytes, end: int = 0) -> None:
        cost = 1 + len(line) // _LONG
        if cost > self._left():
            self._drop(len(line) + end)
            return
        self._lines += cost
        for start in range(0, len(line) or 1, _LONGEST_LINE):
            piece = line[start : start + _LONGEST_LINE]
            self._journal.child_wrote(pid, piece.decode("utf-8", "backslashreplace"))

    def _drop(self, size: int) -> None:
        if size:
            self._dropped += size
            self._report.arm(1)

    def _say_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._journal.child_wrote_too_much(dropped)

    def _flush_all(self) -> None:
        for pid in list(self._unfinished):
            self.flush(pid)

    def close(self) -> None:
        """Log what is left."""
        self._flush.cancel()
        self._flush_all()
        self._report.cancel()
        self._say_dropped()
