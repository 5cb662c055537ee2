"""
Checks by its signature whether a handler can be called as its kind is called.

Only for the check: what it imports would cost every fork.
"""

from __future__ import annotations

import inspect
import sys

from twisted_fork.inside.handlers.imports import BadHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["require_shape"]

_CALLED_WITH = {
    "callable": ("connection", "peer"),
    "coroutine": ("reader", "writer"),
    "requests": ("request", "client_address", "server"),
    "factory": (),
}
"""The arguments that a handler of each kind is called with; for a factory, those of its class."""


def require_shape(handler: Any, kind: str, name: str) -> None:
    """
    Check that *handler*, of that *kind*, can be called with its arguments.  A callable without
    a signature, as many written in C, passes.

    :param name: its name in the error message.
    :raises BadHandler: it cannot; one line says why, and what it takes.
    """
    wrong = _wrong_class(handler) if isinstance(handler, type) else _wrong_object(handler)
    if wrong is None and (kind != "factory" or isinstance(handler, type)):
        wrong = _wrong_signature(handler, _CALLED_WITH[kind])
    if wrong is not None:
        raise BadHandler(f"{name} {wrong}")


def _wrong_class(handler: type) -> str | None:
    protocols = sys.modules.get("asyncio.protocols")
    if protocols and issubclass(handler, protocols.BaseProtocol):
        return "is an asyncio protocol: it takes an async callable(reader, writer) instead"
    socketserver = sys.modules.get("socketserver")
    if socketserver and issubclass(handler, socketserver.BaseServer):
        return "is a server: it takes the class of its request handlers instead"
    return None


def _wrong_object(handler: Any) -> str | None:
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        return "is a generator function: calling it does nothing; it takes one without yield"
    protocol = sys.modules.get("twisted.internet.protocol")
    if protocol and isinstance(handler, protocol.Factory):
        builds = type(handler).buildProtocol is not protocol.Factory.buildProtocol
        if not builds and handler.protocol is None:
            return "is a factory whose protocol is not set: it takes one that makes protocols"
    return None


def _wrong_signature(handler: Any, arguments: tuple[str, ...]) -> str | None:
    try:
        # of the object that is called, not of what a decorator says it wraps
        signature = inspect.signature(handler, follow_wrapped=False)
    except Exception:
        return None
    try:
        signature.bind(*arguments)
    except TypeError as mismatch:
        with_what = f"with ({', '.join(arguments)})" if arguments else "without arguments"
        return f"cannot be called {with_what}: {mismatch}; {_INSTEAD[arguments]}"
    return None


_INSTEAD = {
    _CALLED_WITH["callable"]: "it takes a callable(connection, peer), an async callable(reader,"
    " writer), a socketserver.BaseRequestHandler subclass or a Twisted protocol factory",
    _CALLED_WITH["coroutine"]: "it takes an async callable(reader, writer)",
    _CALLED_WITH["requests"]: "it takes a class that socketserver could use",
    _CALLED_WITH["factory"]: "it takes a class without required arguments, or a factory object",
}
