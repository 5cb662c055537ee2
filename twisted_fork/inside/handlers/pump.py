"""
A pump between a TLS connection and a handler that needs a plain socket.

The handler runs in a process of its own, with one end of a socket pair.  The child, its parent,
moves the bytes, and then ends as the handler's process has ended.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
from collections.abc import Callable

from twisted_fork.inside.handlers import exits

__all__ = ["relay", "through"]

_CHUNK = 64 * 1024


def through(secured: ssl.SSLSocket, serve: Callable[[socket.socket], None]) -> None:
    """
    Run *serve* in a forked process with a plain socket, and move bytes until it has ended.

    :raises SystemExit: it has exited with another status than 0.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            os.close(secured.detach())
            serve(theirs)
            status = 0
        except BaseException as raised:
            status = exits.report(raised)
        finally:
            exits.exit_now(status)
    theirs.close()
    try:
        relay(secured, ours)
    except OSError:
        pass
    ours.close()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    if status:
        raise SystemExit(os.WEXITSTATUS(status))


class _Way:
    """One direction: what was read from one side and not yet written to the other."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.pending = b""
        self.ended = False
        self.done = False

    def move(self) -> bool:
        """
        Move what can be moved now.

        :returns: whether anything was moved.
        """
        moved = False
        if not self.ended and not self.pending:
            try:
                self.pending = self.source.recv(_CHUNK)
                self.ended = not self.pending
                moved = True
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass
            except OSError:
                self.ended = True
        if self.pending:
            try:
                sent = self.sink.send(self.pending)
                self.pending = self.pending[sent:]
                moved = True
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass
            except OSError:
                self.pending = b""
                self.ended = self.done = True
        if self.ended and not self.pending and not self.done:
            self.done = True
            _end(self.sink)
        return moved


def _end(sink: socket.socket) -> None:
    """No more bytes will come in this direction.  Peers do not understand a half-closed TLS
    connection, so that side is ended only when both directions are."""
    if not isinstance(sink, ssl.SSLSocket):
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def relay(secured: ssl.SSLSocket, plain: socket.socket) -> None:
    """Move bytes both ways until the handler has ended its side and all is written."""
    secured.setblocking(False)
    plain.setblocking(False)
    inward, outward = _Way(secured, plain), _Way(plain, secured)
    while not outward.done:
        moved = inward.move()
        moved = outward.move() or moved
        if not moved and not outward.done:
            _wait(inward, outward)
    secured.setblocking(True)


def _wait(inward: _Way, outward: _Way) -> None:
    secured, plain = inward.source, inward.sink
    poll = select.poll()
    secured_for = 0 if inward.ended or inward.pending else select.POLLIN
    if outward.pending:
        secured_for |= select.POLLOUT
    plain_for = select.POLLOUT if inward.pending else 0
    if not outward.pending and not outward.ended:
        plain_for |= select.POLLIN
    if secured_for:
        poll.register(secured, secured_for)
    if plain_for:
        poll.register(plain, plain_for)
    poll.poll()
