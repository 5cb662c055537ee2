"""
Twisted Fork: a process for every connection, under Twisted.

These are all public names.  For the reactor process:

- ForkingService, a twisted.application service; Settings, how it serves;
- ChildProtocol, to be subclassed by applications that follow their children; ChildInfo, a
  snapshot of one child;
- Program, a program as handler; serve, for scripts; take_signals, for applications;
- InvalidSetting, InvalidHandler, CannotListen: the errors.

For handlers, in a child: connection, ConnectionInfo, tell.

Each name is imported when it is first used.  So the template and the children, which import
this package too, never import Twisted.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from twisted_fork.command.script import serve
    from twisted_fork.command.signals import take_signals
    from twisted_fork.entrance.descriptions import CannotListen
    from twisted_fork.handler import InvalidHandler, Program
    from twisted_fork.inside.handlers.api import ConnectionInfo, connection, tell
    from twisted_fork.pool.child import ChildProtocol
    from twisted_fork.runtime import ChildInfo
    from twisted_fork.service import ForkingService
    from twisted_fork.settings import InvalidSetting, Settings

__all__ = [
    "CannotListen",
    "ChildInfo",
    "ChildProtocol",
    "ConnectionInfo",
    "ForkingService",
    "InvalidHandler",
    "InvalidSetting",
    "Program",
    "Settings",
    "connection",
    "serve",
    "take_signals",
    "tell",
]

__version__ = "0.1.0"

_HOMES = {
    "CannotListen": "entrance.descriptions",
    "ChildInfo": "runtime",
    "ChildProtocol": "pool.child",
    "ConnectionInfo": "inside.handlers.api",
    "ForkingService": "service",
    "InvalidHandler": "handler",
    "InvalidSetting": "settings",
    "Program": "handler",
    "Settings": "settings",
    "connection": "inside.handlers.api",
    "serve": "command.script",
    "take_signals": "command.signals",
    "tell": "inside.handlers.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    # importing a submodule of the same name may have set this attribute to the module
    globals()[name] = value
    return value
