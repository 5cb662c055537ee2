"""
The life of a child: take a connection, run the handler, close, report, end.

What runs between a child's first moment and its last is kept short: every object that
it looks at is a page that has to be copied for this child alone.
"""

from __future__ import annotations

import _socket
import os
import sys

from twisted_fork import wire
from twisted_fork.inside import closing, handlers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["Work", "live", "rehearse"]

_TAKEN = wire.pack(wire.TAKEN)
_READY = wire.pack(wire.READY)


class Work:
    """
    What a child does, as the orders of the reactor process say.

    Made once, in the template or in a spawned child.
    """

    __slots__ = ("connections_per_child", "handler")

    def __init__(self, orders: dict[str, Any]) -> None:
        self.connections_per_child: int = orders["connections_per_child"]
        self.handler = handlers.load(orders["handler"])


def serve(work: Work, descriptor: int) -> None:
    """
    Serve one connection and close it, so that no answer is lost.

    A peer that goes away is no fault.

    :raises BaseException: whatever the handler raised, after closing the connection.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
    try:
        if work.handler(connection):
            connection.close()
        else:
            closing.close(connection)
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        connection.close()


def live(work: Work, channel: _socket.socket | None, connection: int | None) -> int:
    """
    Serve connections, one after the other, until there have been enough or the reactor
    process has closed the channel.

    :param channel: where further connections come from; None if there will be none.
    :param connection: one that has come already, and that the reactor process knows
        to have been taken.
    :returns: the exit status.
    """
    try:
        left = work.connections_per_child
        while True:
            if connection is None:
                assert channel is not None
                message = wire.receive(channel)
                if message is None:
                    break
                connection = message.descriptors[0]
                wire.send(channel, _TAKEN)
            left -= 1
            if not left:
                if channel is not None:
                    channel.close()
                serve(work, connection)
                break
            serve(work, connection)
            connection = None
            assert channel is not None
            say_ready(channel)
    except BaseException as raised:
        return report(raised)
    return 0


def say_ready(channel: _socket.socket) -> None:
    """Ask the reactor process for work."""
    wire.send(channel, _READY)


def rehearse(work: Work, times: int = 1) -> None:
    """
    Run a child's code path over a socket pair, so that the interpreter's caches and
    the pages that it writes are ready before a peer waits for them.
    """
    for _ in range(times):
        ours, theirs = _socket.socketpair()
        ours.send(b"rehearsal\n")
        ours.shutdown(_socket.SHUT_WR)
        serve(work, theirs.detach())
        ours.close()


def report(raised: BaseException) -> int:
    """
    Say on standard error, hence in the log, what the handler raised.

    :returns: the exit status that follows from it.
    """
    if isinstance(raised, SystemExit):
        if raised.code is None or isinstance(raised.code, int):
            return raised.code or 0
        sys.stderr.write(f"{raised.code}\n")
        return 1
    import traceback

    sys.stderr.write("".join(traceback.format_exception(raised)))
    return 1


def exit_now(status: int) -> NoReturn:
    """
    End this process without tearing the interpreter down, which would touch, hence
    copy, most of the template's pages.  Nothing is left to flush: the interpreter runs
    with unbuffered streams.
    """
    os._exit(status & 0xFF)
