"""
From orders to what serves a connection.
"""

from __future__ import annotations

from twisted_fork.inside import echo

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from twisted_fork import wire

    Serve = Callable[[int, wire.Message, _socket.socket | None], None]

__all__ = ["load"]


def load(orders: dict[str, Any]) -> Serve:
    """
    Make the function that serves a connection: given its descriptor, the message that it
    came with, and the child's channel, it returns when the connection is closed.

    The plain echo has one of its own, since the machinery that others need would make
    every fork slower.

    :raises BadHandler, OSError: see guest.Guest.
    """
    order = orders["handler"]
    if order["kind"] == "echo" and not orders["tls"]:
        return echo.serve_and_print_descriptor if order["print"] else echo.serve_descriptor
    from twisted_fork.inside import guest

    return guest.Guest(orders).serve
