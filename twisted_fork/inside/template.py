"""
The template: imports the handler once and forks a child whenever it is asked.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from typing import NoReturn

from twisted_fork import wire
from twisted_fork.inside import sibling, start, worker

__all__ = ["main"]

_REHEARSALS = 30
"""As many runs as the interpreter takes to specialize the code, and some more."""


def main() -> NoReturn:
    """Be the template, on the channel that is descriptor 3, until it is closed."""
    channel, orders = start.receive_orders()
    try:
        cloner = sibling.Cloner()
        cloner.probe()
    except (sibling.Unsupported, OSError) as failure:
        sys.stderr.write(f"cannot fork children here: {failure}\n")
        os._exit(1)
    work = worker.Work(orders)
    worker.rehearse(work, _REHEARSALS)
    gc.collect()
    gc.freeze()
    wire.send(channel, wire.pack(wire.READY, number=os.getpid()))
    _fork_when_asked(channel, cloner, work)
    os._exit(0)


def _fork_when_asked(channel: socket.socket, cloner: sibling.Cloner, work: worker.Work) -> None:
    while True:
        message = wire.receive(channel)
        if message is None:
            return
        try:
            pid = cloner.fork_sibling()
        except OSError as failure:
            wire.send(channel, wire.pack(wire.FAILED, message.ticket, failure.errno or 0))
        else:
            if pid == 0:
                _live(channel, work, message)
        for descriptor in message.descriptors:
            os.close(descriptor)


def _live(template: socket.socket, work: worker.Work, message: wire.Message) -> NoReturn:
    """
    The new child's first steps: leave the template's group, and say that it lives,
    over the template's channel, which it then closes.

    It says so itself, not the template for it: so when the template dies and its
    channel has ended, every child that was forked has said so or is dead.
    """
    try:
        os.setpgid(0, 0)
        descriptors = message.descriptors
        connection = descriptors.pop() if message.number & wire.CARRIES_CONNECTION else None
        channel = socket.socket(fileno=descriptors[0]) if descriptors else None
        if connection is None:
            worker.rehearse(work)
        wire.send(template, wire.pack(wire.ALIVE, message.ticket, os.getpid()))
        template.close()
    except BaseException as raised:
        worker.exit_now(worker.report(raised))
    if channel is not None:
        worker.wait_for_work(work, channel, connection)
    assert connection is not None
    worker.serve_and_exit(work, connection)
