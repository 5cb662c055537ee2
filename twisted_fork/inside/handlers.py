"""
From an order to a handler: a callable that serves one connected, blocking socket
and says whether its peer has ended its side.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted_fork.inside import echo

__all__ = ["load"]


def load(order: dict[str, Any]) -> Callable[[socket.socket], bool]:
    """Make the handler that *order* describes."""
    return partial(echo.serve, copy=echo.copy_to_stdout) if order["print"] else echo.serve
