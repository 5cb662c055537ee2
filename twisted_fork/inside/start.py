"""
The first steps of a template and of a spawned child: receive the orders, and apply them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import os
import sys

from twisted_fork.wire import messages
from twisted_fork.wire.names import CHANNEL, EAGER_BINDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from twisted_fork.wire.orders import Orders

__all__ = ["orders_in", "receive_orders"]


def receive_orders() -> tuple[_socket.socket, Orders]:
    """
    Take the channel and receive the orders.  Apply what concerns the process itself: it gets a
    session of its own, hence no controlling terminal, and the module search path.

    :raises SystemExit: the reactor process is gone.
    """
    channel = _socket.socket(fileno=CHANNEL)
    os.set_inheritable(CHANNEL, False)
    message = messages.receive(channel)
    if message is None:
        raise SystemExit(0)
    orders = orders_in(message)
    os.setsid()
    sys.path[:] = orders["path"]
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    os.environ.pop(EAGER_BINDING, None)
    return channel, orders


def orders_in(message: messages.Message) -> Orders:
    """The orders that came with *message*."""
    with open(message.descriptors[0], "rb") as file:
        file.seek(0)
        orders: Orders = marshal.load(file)
    return orders
