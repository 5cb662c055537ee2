"""
The built-in handler: it sends back what it receives, with its ASCII letters in upper case.

The rules are in Uppercase, which does no I/O; serve is its loop over a socket.
"""

from __future__ import annotations

import _socket

from twisted_fork.inside.handlers import linger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_fork.wire import messages

__all__ = ["QUIT", "Uppercase", "serve"]

QUIT = b"quit"

_AFTER_NEWLINE = b"\n" + QUIT

_FIRST_READ = 4 * 1024
_LARGEST_READ = 256 * 1024

_MOST_PENDING = 16 * 1024 * 1024
"""Bytes of answers that are kept for a peer that sends without reading.  Beyond that, no more is
read from it until it has read something."""


class Uppercase:
    """
    The echo's state: whether the next byte begins a line, and what is held back.

    ``quit`` at the start of the stream or of a line ends the stream, wherever its bytes are cut
    into pieces.  So what may be the beginning of ``quit`` is held back until the next byte
    decides.
    """

    __slots__ = ("_held", "_line_begins")

    def __init__(self) -> None:
        self._held = b""
        self._line_begins = True

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """
        Take the next bytes of the stream, at least one.

        :returns: the answer to send now, and whether the stream has ended: ``quit`` was found, and
            what follows is ignored.
        """
        if self._line_begins:
            data = self._held + data
            if data.startswith(QUIT):
                return b"", True
            if QUIT.startswith(data):
                self._held = data
                return b"", False
            self._held = b""
        line = data.rfind(b"\n") + 1
        if line:
            found = data.find(_AFTER_NEWLINE)
            if found >= 0:
                return data[: found + 1].upper(), True
        self._line_begins = line > 0 and QUIT.startswith(data[line:])
        if self._line_begins:
            self._held = data[line:]
            data = data[:line]
        return data.upper(), False

    def flush(self) -> bytes:
        """The stream has ended: return the answer to what was held back."""
        held, self._held = self._held, b""
        return held.upper()


def serve(connection: _socket.socket, copy: Callable[[bytes], object] | None = None) -> bool:
    """
    Serve *connection*, a connected and blocking stream socket, until its peer is done.  It is
    not closed.

    :param copy: is called with everything that is received.
    :returns: whether the peer has ended its side; if not, it may still be sending.
    :raises OSError: the peer is gone.
    """
    state = Uppercase()
    size = _FIRST_READ
    while True:
        data = connection.recv(size)
        if not data:
            answer = state.flush()
            if answer:
                connection.sendall(answer)
            return True
        if copy is not None:
            copy(data)
        answer, ended = state.feed(data)
        if answer:
            try:
                sent = connection.send(answer, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            if sent < len(answer):
                peer_done = _serve_slowly(connection, state, bytearray(answer[sent:]), ended, copy)
                if peer_done is not None:
                    return peer_done
        if ended:
            return False
        if len(data) == size < _LARGEST_READ:
            size *= 4


def _serve_slowly(
    connection: _socket.socket,
    state: Uppercase,
    pending: bytearray,
    ended: bool,
    copy: Callable[[bytes], object] | None,
) -> bool | None:
    """
    Write *pending* to a peer that does not read now, and read whenever writing is not possible:
    the peer may send all that it has before it reads the first answer.

    :returns: None when nothing is pending and the stream goes on; otherwise as serve.
    """
    import select

    peer_done = False
    poll = select.poll()
    poll.register(connection)
    while pending:
        reads = not ended and not peer_done and len(pending) < _MOST_PENDING
        poll.modify(connection, select.POLLOUT | (select.POLLIN if reads else 0))
        happened = poll.poll()[0][1]
        if happened & ~select.POLLIN:
            with memoryview(pending) as view:
                try:
                    sent = connection.send(view[:_LARGEST_READ], _socket.MSG_DONTWAIT)
                except BlockingIOError:
                    sent = 0
            del pending[:sent]
            continue
        data = connection.recv(_LARGEST_READ)
        if not data:
            peer_done = True
            pending += state.flush()
            continue
        if copy is not None:
            copy(data)
        answer, ended = state.feed(data)
        pending += answer
    return peer_done if ended or peer_done else None


def serve_descriptor(
    descriptor: int,
    message: messages.Message,
    channel: _socket.socket | None,
) -> bytes:
    """
    Serve the connection *descriptor*, and close it so that no answer is lost.

    A peer that goes away is not an error.

    :returns: see linger.look.
    """
    return _serve_and_close(descriptor, serve)


def serve_and_print_descriptor(
    descriptor: int,
    message: messages.Message,
    channel: _socket.socket | None,
) -> bytes:
    """As serve_descriptor; what is received is also written to standard output."""
    return _serve_and_close(descriptor, serve_and_print)


def _serve_and_close(descriptor: int, serving: Callable[[_socket.socket], bool]) -> bytes:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    try:
        return linger.close(connection, serving(connection))
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        info = linger.look(connection)
        connection.close()
        return info


def serve_secured(
    connection: _socket.socket, copy: Callable[[bytes], object] | None = None
) -> None:
    """
    Serve a TLS connection as serve does, with one difference: a peer that does not read its
    answers is not read from, since an SSLSocket cannot do both at the same time.
    """
    state = Uppercase()
    ended = False
    while not ended:
        data = connection.recv(_FIRST_READ)
        if not data:
            connection.sendall(state.flush())
            return
        if copy is not None:
            copy(data)
        answer, ended = state.feed(data)
        connection.sendall(answer)


def serve_secured_and_print(connection: _socket.socket) -> None:
    """As serve_secured; what is received is also written to standard output."""
    from twisted_fork.inside.handlers.printer import copy

    serve_secured(connection, copy)


def serve_and_print(connection: _socket.socket) -> bool:
    """As serve; what is received is also written to standard output."""
    from twisted_fork.inside.handlers.printer import copy

    return serve(connection, copy)
