"""
The life of a child: take a connection, run the handler, close, report, end.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from twisted_fork import wire
from twisted_fork.inside import closing, handlers

__all__ = ["Work", "rehearse", "say_ready", "serve_and_exit", "wait_for_work"]

_TAKEN = wire.pack(wire.TAKEN)
_READY = wire.pack(wire.READY)

Handler = Callable[[socket.socket], bool]


class Work:
    """What a child does, as the orders of the reactor process say.

    Made once, in the template or in a spawned child, from the marshalled orders.
    """

    __slots__ = ("connections_per_child", "handler")

    def __init__(self, orders: dict[str, Any]) -> None:
        self.connections_per_child: int = orders["connections_per_child"]
        self.handler: Handler = handlers.load(orders["handler"])


def serve(work: Work, descriptor: int) -> None:
    """
    Serve one connection and close it, so that no answer is lost.

    A peer that goes away is no fault.

    :raises BaseException: whatever the handler raised, after closing the connection.
    """
    connection = socket.socket(fileno=descriptor)
    try:
        peer_done = work.handler(connection)
        closing.close(connection, peer_done)
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        pass
    finally:
        connection.close()


def rehearse(work: Work, times: int = 1) -> None:
    """
    Run a child's code path over a socket pair, so that the interpreter's caches and
    the pages that it writes are ready before a peer waits for them.
    """
    for _ in range(times):
        ours, theirs = socket.socketpair()
        ours.send(b"rehearsal\n")
        ours.shutdown(socket.SHUT_WR)
        serve(work, theirs.detach())
        ours.close()


def serve_and_exit(work: Work, descriptor: int) -> NoReturn:
    """Serve the one connection of this child's life."""
    status = 1
    try:
        serve(work, descriptor)
        status = 0
    except BaseException as raised:
        status = report(raised)
    finally:
        exit_now(status)


def wait_for_work(work: Work, channel: socket.socket, connection: int | None = None) -> NoReturn:
    """
    Serve the connections that come over *channel*, one after the other, until there
    have been enough or the reactor process has closed the channel.

    :param connection: one that has come already, and that the reactor process knows
        to have been taken.
    """
    status = 1
    try:
        left = work.connections_per_child
        while True:
            if connection is None:
                message = wire.receive(channel)
                if message is None:
                    break
                connection = message.descriptors[0]
                wire.send(channel, _TAKEN)
            left -= 1
            if not left:
                channel.close()
            serve(work, connection)
            connection = None
            if not left:
                break
            say_ready(channel)
        status = 0
    except BaseException as raised:
        status = report(raised)
    finally:
        exit_now(status)


def say_ready(channel: socket.socket) -> None:
    """Ask the reactor process for work."""
    wire.send(channel, _READY)


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
    copy, most of the template's pages.  What was printed is flushed.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(status & 0xFF)
