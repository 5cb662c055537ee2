"""
The template: imports the handler once, and forks a child for each request.
"""

from __future__ import annotations

import _socket
import gc
import os
import sys

from twisted_fork.inside import hugepages, sibling, start, worker
from twisted_fork.inside.handlers import exits
from twisted_fork.wire import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

__all__ = ["main"]

_REHEARSALS = 30
"""Enough runs for the interpreter to specialize the code, and a few more."""


def main() -> NoReturn:
    """Run the template on the channel that is descriptor 3, until that is closed."""
    channel, orders = start.receive_orders()
    # the check has found the call that works, so no process has to be made for that here, which
    # would be left behind if the template were killed
    cloner = sibling.Cloner()
    if orders["clone"] == "clone":
        cloner.use_clone()
    try:
        work = worker.Work(orders)
    except Exception as failure:
        sys.stderr.write(f"{failure}\n")
        os._exit(1)
    _rehearse(work)
    gc.collect()
    gc.freeze()
    hugepages.collapse()
    if not worker.say(channel, messages.pack(messages.READY, number=os.getpid())):
        os._exit(0)
    while (message := messages.receive(channel)) is not None:
        if message.kind == messages.STREAMS:
            _take_streams(message)
            continue
        _have_stderr_block()
        try:
            pid = cloner.fork_sibling()
        except OSError as failure:
            worker.say(channel, messages.reply(message, messages.FAILED, failure.errno or 0))
        else:
            if pid == 0:
                os._exit(_live(channel, work, message, os.setsid))
        for descriptor in message.descriptors:
            os.close(descriptor)
    os._exit(0)


def _have_stderr_block() -> None:
    """Standard error is shared with all children, and one of them may have changed its mode."""
    try:
        os.set_blocking(2, True)
    except OSError:
        pass  # the handler has closed it


def _take_streams(message: messages.Message) -> None:
    (descriptor,) = message.descriptors
    os.dup2(descriptor, 2)
    if message.number:
        os.dup2(descriptor, 1)
    os.close(descriptor)


def _live(
    template: _socket.socket,
    work: worker.Work,
    message: messages.Message,
    leave: Callable[[], object],
) -> int:
    """
    Run a new child.  First it says over the template's channel that it lives; then it closes
    that channel.

    The child says so itself, not the template for it.  So when the template has died and its
    channel has ended, every child that was forked has said so or is dead.  Until it has said
    so it stays in the template's process group, where the reactor process can find it.

    :param leave: gives it a session, hence a process group, of its own.
    :returns: its exit status.
    """
    number = message.number
    channel = None
    if number & messages.CARRIES_CHANNEL:
        channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, message.descriptors[0])
    try:
        if not number & messages.CARRIES_CONNECTION:
            worker.rehearse(work)
        if not worker.say(template, messages.reply(message, messages.ALIVE, os.getpid())):
            return 0  # the reactor process has given up this template and asked another one
        template.close()
        leave()
        return worker.live(work, channel, message if number & messages.CARRIES_CONNECTION else None)
    except BaseException as raised:
        return exits.report(raised)
    finally:
        if channel is not None:
            channel.close()


def _rehearse(work: worker.Work) -> None:
    """
    Run here all that a child does, except its fork and its end.

    The session is not changed: this process leads it already.  Only the echo is run, since
    other handlers may do anything.
    """
    handler, work.serve = work.serve, work.rehearsal
    limit, work.limit = work.limit, None
    carried = messages.CARRIES_CONNECTION
    if work.connections_per_child > 1:
        carried |= messages.CARRIES_CHANNEL
    for _ in range(_REHEARSALS):
        reactor_process, template = _channel_pair()
        further, channel = _channel_pair()
        further.shutdown(_socket.SHUT_WR)
        peer, connection = _socket.socketpair()
        peer.send(b"rehearsal\n")
        peer.shutdown(_socket.SHUT_WR)
        carries = (channel, connection) if carried & messages.CARRIES_CHANNEL else (connection,)
        asked = messages.pack(messages.FORK, 0, carried, worker.REHEARSAL)
        messages.send(reactor_process, asked, tuple(carry.fileno() for carry in carries))
        channel.close()
        connection.close()
        message = messages.receive(template)
        assert message is not None
        _live(template, work, message, os.getppid)
        for used in (reactor_process, further, peer):
            used.close()
    work.serve, work.limit = handler, limit


def _channel_pair() -> tuple[_socket.socket, _socket.socket]:
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
