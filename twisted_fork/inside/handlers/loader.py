"""
From orders to the function that serves a connection.
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
    Make two functions.  The first serves a connection: it takes the descriptor, the message
    that it came with, and the child's channel; when the connection is closed it returns what
    linger.look says.  The second does the same without the handler, for rehearsals.

    The plain echo has functions of its own, since what other handlers need would make every
    fork slower.

    :raises BadHandler: the handler cannot be loaded.
    """
    order = orders["handler"]
    if order["kind"] == "echo" and order["print"]:
        # before the first fork: see its docstring
        import twisted_fork.inside.handlers.printer  # noqa: F401
    if order["kind"] == "echo" and not orders["tls"]:
        serve = echo.serve_and_print_descriptor if order["print"] else echo.serve_descriptor
        return serve, echo.serve_descriptor
    from twisted_fork.inside.handlers.custom import Custom

    made = Custom(orders)
    return made.serve, made.rehearse
