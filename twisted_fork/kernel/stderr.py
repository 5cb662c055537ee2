"""
The children's standard error, on its way into the log.

Each template, each spawned child and each program that the reactor process executes has a Unix
stream socket for its standard error; the children of a template share the template's.  The kernel
reports who wrote each piece (SO_PASSCRED, see unix(7)), so no process can write in another's name.
systemd's journal does the same.

However much is written, it takes little of each turn of the reactor.  All sockets are in one epoll
set, which is read once in _PAUSE seconds at most.  The end of a program's standard error takes no
turn of its own: it is read, and closed, when the program has been waited for.  In _PAUSE seconds
at most _MOST_READS pieces are read, and as many again at the ends of children.  The rest stays in
the kernel, and its writers wait.  Tap decides what is logged.
"""

from __future__ import annotations

import _socket
import os
import select
import struct
from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from twisted_fork.journal import Journal
from twisted_fork.kernel.tap import Tap
from twisted_fork.kernel.watcher import Watching
from twisted_fork.timers import Later

__all__ = ["MOST_KEPT", "StandardError", "Stream"]

MOST_KEPT = 64
"""Streams that are still read after the process that they were made for has ended: its
descendants, or a template's children, may write to them.  Beyond that, the one whose process
ended first is closed."""

_CREDENTIALS = struct.Struct("=iII")

_ANCILLARY = _socket.CMSG_SPACE(_CREDENTIALS.size)

_READ = 16 * 1024

_MOST_READS = 128

_PAUSE = 0.01

_PATIENCE = 1.0
"""Seconds until something that went wrong is tried again."""


class Stream:
    """
    The standard error of a process and of those that inherit it; see StandardError.stream.

    :ivar pid: of the process; has to be set when that has been started.
    """

    __slots__ = ("_all", "_ended", "_give", "_inode", "_socket", "pid")

    def __init__(self, streams: StandardError, give: Callable[[int], object] | None) -> None:
        self._all = streams
        self._give = give
        self._inode = 0
        self._ended = False
        self._socket: _socket.socket
        self.pid = 0

    def open(self) -> _socket.socket:
        """
        Make the socket pair.

        :returns: the end for the process.
        :raises OSError: out of descriptors or memory.
        """
        self._socket, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
            self._all.opened(self, shared=self._give is not None)
            if self._give is not None:
                self._inode = os.fstat(theirs.fileno()).st_ino
        except BaseException:
            self.close()
            theirs.close()
            raise
        return theirs

    def owner_ended(self) -> None:
        """The process that it was made for has ended: log what it wrote.  Others may write on."""
        if not self._ended:
            self._all.owner_ended(self)
            self._ended = True

    def fileno(self) -> int:
        """Negative when it is closed here."""
        return self._socket.fileno()

    def read(self) -> bool:
        """
        Read one piece; close the socket if no process has the other end any more.

        :returns: whether there may be more.
        """
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ, _ANCILLARY, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            self._look_who_has_it()
            return False
        pid = 0
        for level, kind, credentials in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(credentials)[0]
        self._all.tap.wrote(pid, data)
        return True

    def close(self) -> None:
        """Close it: what is written to it from now on is lost."""
        fd = self._socket.fileno()
        if fd >= 0:
            self._all.closing(self, fd)
            self._socket.close()

    def _look_who_has_it(self) -> None:
        """The stream is at its end: no process has it any more, or a child has shut it down for
        all that share it.  Then the process gets another one; with a delay, so that a child
        gains nothing by doing it again and again."""
        if self._give is not None and not self._ended and self._is_held():
            self._all.journal.stderr_shut_down()
            self._all.renew_later(self)

    def _is_held(self) -> bool:
        """Whether the process still has it; its handler may have replaced it."""
        try:
            return os.stat(f"/proc/{self.pid}/fd/2").st_ino == self._inode
        except OSError:
            return False

    def renew(self) -> None:
        """
        Give another one to the process.

        :raises OSError: that is not possible now.
        """
        assert self._give is not None
        theirs = self.open()
        try:
            self._give(theirs.fileno())
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()


class StandardError:
    """
    All streams, and their reader.

    :raises OSError: out of descriptors.
    """

    def __init__(self, clock: IReactorTime, watcher: Watching, journal: Journal) -> None:
        self.journal = journal
        self.tap = Tap(clock, journal)
        self._clock = clock
        self._watcher = watcher
        self._open: dict[int, Stream] = {}
        self._shared: dict[Stream, None] = {}
        self._kept: OrderedDict[Stream, None] = OrderedDict()
        self._silenced: dict[Stream, None] = {}
        self._renewal = Later(clock, self._renew)
        self._pause = Later(clock, self._go_on)
        self._reads = 0
        self._since = 0.0
        self._epoll = select.epoll()
        watcher.watch(self._epoll.fileno(), self)

    def stream(self, give: Callable[[int], object] | None = None) -> tuple[Stream, _socket.socket]:
        """
        Make a stream for a process that is about to be started.

        :param give: for a stream that children of the process share: is called with another
            descriptor for later children when a child has shut the stream down.  If it raises
            OSError, it is called again later.
        :returns: the stream, and the socket for the process's standard error.
        :raises OSError: out of descriptors or memory.
        """
        stream = Stream(self, give)
        return stream, stream.open()

    def child_ended(self, pid: int) -> None:
        """A child with its template's stream has ended: log what it wrote."""
        for stream in list(self._shared):
            self._read_at_once(stream)
        self.tap.flush(pid)

    def account_of(self, pid: int) -> tuple[int, int] | None:
        """Bytes received and sent, as a child that has ended has told; None if it has not."""
        account = self.tap.accounts.pop(pid, None)
        for stream in list(self._shared) if account is None else ():
            while account is None and self._may_read() and stream.read():
                account = self.tap.accounts.pop(pid, None)
        return account

    def close(self) -> None:
        """Log what has been written, and close."""
        if self._epoll.closed:
            return
        for stream in list(self._open.values()):
            self._read_at_once(stream)
            stream.close()
        self._renewal.cancel()
        self._pause.cancel()
        self.tap.close()
        self._watcher.ignore(self._epoll.fileno(), self)
        self._epoll.close()

    # Called by the watcher

    def doRead(self) -> None:
        """Read a bounded number of pieces; then pause."""
        self._watcher.ignore(self._epoll.fileno(), self)
        self._pause.arm(_PAUSE)
        left = _MOST_READS
        while left > 0 and (readable := self._epoll.poll(0, left)):
            left -= len(readable)
            for fd, _ in readable:
                if stream := self._open.get(fd):
                    stream.read()

    def raised(self) -> None:
        """doRead has raised: read on after a pause."""
        self._watcher.ignore(self._epoll.fileno(), self)
        self._pause.arm(_PATIENCE)

    def _go_on(self) -> None:
        try:
            self._watcher.watch(self._epoll.fileno(), self)
        except FileExistsError:
            pass  # it was called before, and something raised then

    # Called by streams

    def opened(self, stream: Stream, shared: bool) -> None:
        """Read *stream* from now on; :raises OSError: the kernel can watch no more."""
        fd = stream.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        self._open[fd] = stream
        if shared:
            self._shared[stream] = None

    def closing(self, stream: Stream, fd: int) -> None:
        """Stop reading *stream*."""
        if self._open.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        self._shared.pop(stream, None)
        self._kept.pop(stream, None)

    def owner_ended(self, stream: Stream) -> None:
        """Log what the process wrote; read on what others may write, up to MOST_KEPT streams."""
        self._read_at_once(stream)
        self.tap.flush(stream.pid)
        self._silenced.pop(stream, None)
        if stream.fileno() >= 0:
            self._kept[stream] = None
            if len(self._kept) > MOST_KEPT:
                oldest = next(iter(self._kept))
                oldest.read()
                oldest.close()

    def renew_later(self, stream: Stream) -> None:
        """Renew *stream* after _PATIENCE seconds, unless its process has ended by then."""
        self._silenced[stream] = None
        self._renewal.arm(_PATIENCE)

    def _renew(self) -> None:
        for stream in list(self._silenced):
            del self._silenced[stream]
            try:
                stream.renew()
            except OSError:
                self.renew_later(stream)

    def _read_at_once(self, stream: Stream) -> None:
        """Read what has been written, up to a bound: others may go on writing, and many may end."""
        while stream.fileno() >= 0 and self._may_read() and stream.read():
            pass

    def _may_read(self) -> bool:
        now = self._clock.seconds()
        if not 0 <= now - self._since < _PAUSE:
            self._since, self._reads = now, 0
        self._reads += 1
        return self._reads <= _MOST_READS
