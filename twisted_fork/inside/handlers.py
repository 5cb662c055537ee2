"""
From an order to a handler: a callable that serves one connected, blocking socket
and says whether its peer has ended its side.
"""

from __future__ import annotations

from twisted_fork.inside import echo

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

__all__ = ["load"]


def load(order: dict[str, Any]) -> Callable[[_socket.socket], bool]:
    """Make the handler that *order* describes."""
    return echo.serve_and_print if order["print"] else echo.serve
