"""
The first steps of a template and of a spawned child: receive the orders, obey them.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from typing import Any

from twisted_fork import wire

__all__ = ["CHANNEL", "receive_orders"]

CHANNEL = 3
"""The descriptor under which a template or a spawned child finds its channel."""


def receive_orders() -> tuple[socket.socket, dict[str, Any]]:
    """
    Take the channel, receive the orders, and apply what they say about the process
    itself: a process group of its own, where modules are found, and the limit on
    open files that the reactor process had before it raised its own.

    :raises SystemExit: the reactor process is gone.
    """
    channel = socket.socket(fileno=CHANNEL)
    os.set_inheritable(CHANNEL, False)
    message = wire.receive(channel)
    if message is None:
        raise SystemExit(0)
    orders: dict[str, Any] = message.details
    os.setpgid(0, 0)
    sys.path[:] = orders["path"]
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(orders["open_files"]))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return channel, orders
