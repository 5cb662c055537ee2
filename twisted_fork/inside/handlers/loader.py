"""
From orders to what serves a connection.
"""

from __future__ import annotations

from twisted_fork.inside.handlers import echo

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from twisted_fork.wire import messages
    from twisted_fork.wire.orders import Orders

    Serve = Callable[[int, messages.Message, _socket.socket | None], bytes]

__all__ = ["load"]


def load(orders: Orders) -> tuple[Serve, Serve]:
    """
    Make the function that serves a connection: given its descriptor, the message that it
    came with, and the child's channel, it returns when the connection is closed, what
    closing.look says of that; and one that does the same without the handler, for rehearsals.

    The plain echo has one of its own, since the machinery that others need would make
    every fork slower.

    :raises BadHandler, OSError: see custom.Custom.
    """
    order = orders["handler"]
    if order["kind"] == "echo" and order["print"]:
        # before the first fork, see there
        import twisted_fork.inside.handlers.printer  # noqa: F401
    if order["kind"] == "echo" and not orders["tls"]:
        serve = echo.serve_and_print_descriptor if order["print"] else echo.serve_descriptor
        return serve, echo.serve_descriptor
    from twisted_fork.inside.handlers.custom import Custom

    made = Custom(orders)
    return made.serve, made.rehearse
