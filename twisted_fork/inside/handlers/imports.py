"""
From an import path to a handler of one of the four kinds.

Errors are reported in one line, for the operator who starts the server.
"""

from __future__ import annotations

import os
import sys
import types

from twisted_fork.wire.names import MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from twisted_fork.wire.orders import ImportOrder

__all__ = ["BadHandler", "kind_of", "resolve"]

_CO_COROUTINE = 0x80
"""As in the inspect module, which would be too heavy to import."""

_PATIENCE = 1.0
"""Seconds in which threads may end."""


class BadHandler(Exception):
    """A handler cannot be used; the message is one line that says why."""


def resolve(order: ImportOrder) -> Any:
    """
    Import what *order* names: ``name`` in ``module``, which may be a script's path.

    :raises BadHandler: it cannot be imported, or its import did something that is not allowed.
    """
    where = order["module"]
    try:
        module = _load_script(where) if order["script"] else _load(where)
    except (Exception, SystemExit) as failure:
        raise BadHandler(f"{where} does not import: {_last_line(failure)}") from failure
    found: Any = module
    for part in order["name"].split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise BadHandler(f"{where} has no {order['name']}") from None
    if "twisted.internet.reactor" in sys.modules:
        raise BadHandler(
            f"{where} installs a reactor when it is imported; import"
            " twisted.internet.reactor inside functions only, each child has one of its own"
        )
    threads = _threads()
    if threads > 1:
        raise BadHandler(
            f"{where} starts {threads - 1} thread{'s' * (threads > 2)} when it is imported;"
            " a process with threads cannot be forked safely: start them in the handler"
        )
    return found


def kind_of(handler: Any) -> str:
    """
    Find the kind of a handler: ``factory``, ``requests``, ``coroutine`` or ``callable``.

    :raises BadHandler: it is of none of these kinds.
    """
    if _is_factory(handler):
        return "factory"
    called = handler
    functools = sys.modules.get("functools")
    while functools and isinstance(called, functools.partial):
        called = called.func
    socketserver = sys.modules.get("socketserver")
    if (
        socketserver
        and isinstance(called, type)
        and issubclass(called, socketserver.BaseRequestHandler)
    ):
        return "requests"
    if callable(handler):
        code = called if hasattr(called, "__code__") else type(called).__call__
        return "coroutine" if _is_coroutine_function(code) else "callable"
    raise BadHandler(
        f"{handler!r} is no handler: it takes a callable(connection, peer), an async"
        " callable(reader, writer), a socketserver.BaseRequestHandler subclass or a Twisted"
        " protocol factory"
    )


def _threads() -> int:
    """How many threads there are.  The kernel may still show a thread that has ended and was
    joined, so if there is more than one they are counted again for a while."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        import time

        end = time.monotonic() + _PATIENCE
        while threads > 1 and time.monotonic() < end:
            time.sleep(0.01)
            threads = len(os.listdir("/proc/self/task"))
    return threads


def _load(name: str) -> types.ModuleType:
    __import__(name)
    return sys.modules[name]


def _load_script(path: str) -> types.ModuleType:
    if MAIN in sys.modules:
        return sys.modules[MAIN]
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(MAIN, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    sys.modules[MAIN] = module
    spec.loader.exec_module(module)
    return module


def _last_line(failure: BaseException) -> str:
    return f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__


def _is_factory(handler: Any) -> bool:
    """Whether it is a Twisted factory, or the class of a factory or a protocol.  It cannot be, if
    Twisted's interfaces have not been imported."""
    if "twisted.internet.interfaces" not in sys.modules:
        return False
    from twisted.internet.interfaces import IProtocol, IProtocolFactory

    if isinstance(handler, type):
        return bool(IProtocolFactory.implementedBy(handler) or IProtocol.implementedBy(handler))
    return bool(IProtocolFactory.providedBy(handler))


def _is_coroutine_function(handler: Any) -> bool:
    return bool(getattr(getattr(handler, "__code__", None), "co_flags", 0) & _CO_COROUTINE)
