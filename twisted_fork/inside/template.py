"""
The template: imports the handler once and forks a child whenever it is asked.
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
"""As many runs as the interpreter takes to specialize the code, and some more."""


def main() -> NoReturn:
    """Be the template, on the channel that is descriptor 3, until it is closed."""
    channel, orders = start.receive_orders()
    # the check has found out which call works: who makes no process here leaves none when it
    # is killed
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
    """It is one with that of all children, and one of them may have changed it."""
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
    A new child's life.  First it says that it lives, over the template's channel, which
    it then closes.

    It says so itself, not the template for it: so when the template dies and its
    channel has ended, every child that was forked has said so or is dead.  Until it has
    said so it stays in the template's process group, where it can be found.

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
            return 0  # the template has been given up, and another one asked for this child
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
    Run the whole path of a child here, but for its fork and its end.

    It leaves the session as it is: this process leads it already.  Handlers other than the
    echo are not run, since nobody knows what they would do.
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
