"""
Twisted Fork: a process for every connection, under Twisted.

The public names are handed on lazily, so that the template and the children, which
import this package too, never import Twisted.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from twisted_fork.child import ChildProtocol
    from twisted_fork.service import ForkingService
    from twisted_fork.settings import Settings

__all__ = ["ChildProtocol", "ForkingService", "Settings"]

__version__ = "0.1.0"

_HOMES = {
    "ChildProtocol": "twisted_fork.child",
    "ForkingService": "twisted_fork.service",
    "Settings": "twisted_fork.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
