"""
The life of a child: take a connection, run the handler, close, report, end.

The code on this path is short: every object that it touches is a page that has to be copied for
this child.
"""

from __future__ import annotations

import _socket

from twisted_fork.inside.handlers import linger, loader
from twisted_fork.inside.handlers.exits import report
from twisted_fork.wire import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_fork.wire.orders import Details, Limits, Orders

__all__ = ["Work", "live", "rehearse", "say", "say_ready"]

_NOBODY: Details = (int(_socket.AF_UNIX), ("127.0.0.1", 1), None, 1, None)

REHEARSAL = messages.marshalled(_NOBODY)
"""The details of a connection in a rehearsal."""

_TAKEN = messages.pack(messages.TAKEN)


class Work:
    """
    What a child does, as its orders say.  Made once, in the template or in a spawned child.

    :ivar accounts: report to the reactor process how many bytes went over each connection.
    :ivar serve, rehearsal: see loader.load.
    :ivar limit: applies the limits to a child; None if there are none.
    :ivar listened_to: the application wants the handler's messages.
    :raises BadHandler: the handler cannot be loaded.
    :raises OSError: see limits.leave_keyring.
    """

    __slots__ = ("accounts", "connections_per_child", "limit", "listened_to", "rehearsal", "serve")

    def __init__(self, orders: Orders) -> None:
        self.connections_per_child: int = orders["connections_per_child"]
        self.listened_to: bool = orders["listened_to"]
        self.accounts: bool = orders["accounts"]
        self.serve, self.rehearsal = loader.load(orders)
        self.limit = _limiting(orders["limits"])


def _limiting(limits: Limits | None) -> Callable[[], None] | None:
    """A function that applies *limits* to a child."""
    if limits is None:
        return None
    from twisted_fork.inside.limits import apply, leave_keyring

    if limits["uid"] is not None:
        # that user may not be allowed to read what would be imported later
        import select  # noqa: F401
        import traceback  # noqa: F401

        leave_keyring()
    return lambda: apply(limits)


def live(work: Work, channel: _socket.socket | None, message: messages.Message | None) -> int:
    """
    Serve connections, one after the other, until the child has served as many as it may or the
    reactor process has closed the channel.

    :param channel: for further connections, and for the handler's messages; None if there are
        neither.
    :param message: has a connection as its last descriptor, which the reactor process knows to
        be taken; None: connections come over *channel* only.
    :returns: the exit status.
    """
    info = b""
    try:
        if work.limit is not None:
            work.limit()
        left = work.connections_per_child
        while True:
            if message is None:
                assert channel is not None
                message = messages.receive(channel)
                if message is None or not say(channel, _TAKEN):
                    break
            left -= 1
            if not left and channel is not None and not work.listened_to:
                channel.close()
                channel = None
            listener = channel if work.listened_to else None
            info = work.serve(message.descriptors[-1], message, listener)
            if not left:
                break
            message = None
            assert channel is not None
            if not say_ready(channel, info if work.accounts else b""):
                break
            info = b""
    except BaseException as raised:
        try:
            return report(raised)
        except (OSError, ValueError, AttributeError):
            return 1
    if work.accounts:
        linger.tell(info)
    return 0


def say_ready(channel: _socket.socket, info: bytes = b"") -> bool:
    """
    Tell the reactor process that this child is ready for a connection.

    :param info: linger.look of its last connection.
    :returns: False if the reactor process has closed the channel.
    """
    return say(channel, messages.pack(messages.READY, payload=info))


def say(channel: _socket.socket, what: bytes) -> bool:
    """
    Send a packed message to the reactor process.

    :returns: False if that has ended, or has closed the channel.
    """
    try:
        messages.send(channel, what)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def rehearse(work: Work, times: int = 1) -> None:
    """
    Serve a connection to this process itself with the echo, so that the interpreter's caches
    and the pages that it writes are ready before a peer waits for them.
    """
    asked = messages.Message(messages.pack(messages.CONNECTION, payload=REHEARSAL))
    for _ in range(times):
        ours, theirs = _socket.socketpair()
        ours.send(b"rehearsal\n")
        ours.shutdown(_socket.SHUT_WR)
        work.rehearsal(theirs.detach(), asked, None)
        ours.close()
