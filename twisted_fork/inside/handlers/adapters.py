"""
Handlers that are imported: callables, request handlers of socketserver, coroutine functions.
Those of Twisted are in factory.py.
"""

from __future__ import annotations

import socket

from twisted_fork.inside.handlers import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Serve = Callable[[socket.socket], None]

__all__ = ["adapt"]


def adapt(kind: str, handler: Any) -> Serve:
    """Make a function that serves a blocking socket with *handler*, of that *kind*.  When it
    returns, the socket may be open or closed."""
    return {
        "callable": _call,
        "requests": _request,
        "coroutine": _run,
        "factory": _build,
    }[kind](handler)


def _call(handler: Any) -> Serve:
    def serve(connection: socket.socket) -> None:
        result = handler(connection, api.connection().peer)
        if result is not None and hasattr(result, "__await__"):
            raise TypeError(f"{handler!r} is asynchronous without being an async function")

    return serve


class _Server:
    """
    The ``server`` of a request handler: what it may use of a ForkingTCPServer that has just
    accepted: addresses, and the handler's class.
    """

    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = socket.SOMAXCONN
    socket_type = socket.SOCK_STREAM
    timeout = None

    def __init__(self, handler: Any, connection: socket.socket) -> None:
        self.RequestHandlerClass = handler
        self.address_family = connection.family
        self.server_address = api.connection().local


def _request(handler: Any) -> Serve:
    def serve(connection: socket.socket) -> None:
        handler(connection, api.connection().peer, _Server(handler, connection))

    return serve


def _run(handler: Any) -> Serve:
    import asyncio

    class Writer(asyncio.StreamWriter):
        """Returns the real peer's address, if the connection comes from a proxy."""

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            if name == "peername":
                return api.connection().peer
            return super().get_extra_info(name, default)

    async def main(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
        writer = Writer(transport, protocol, reader, loop)
        try:
            await handler(reader, writer)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    def serve(connection: socket.socket) -> None:
        # asyncio closes its socket; ours stays open, so that closing it can linger
        asyncio.run(main(connection.dup()))
        connection.setblocking(True)

    return serve


def _build(handler: Any) -> Serve:
    # the template imports what a reactor needs; the child installs the reactor

    from twisted_fork.inside.handlers import factory

    return factory.serving(handler)
