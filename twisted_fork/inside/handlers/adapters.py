"""
Handlers that are imported: callables, socketserver's, asyncio's.  Twisted's are in
factory.py.
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
    """Make a function that serves a blocking socket with *handler*, of that *kind*, and
    returns when it is done; the socket may be open or closed then."""
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
    What a request handler may ask of its ``server``, as of a ForkingTCPServer that has
    just accepted: addresses, and the handler's class.
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
        """Knows the real peer, whoever the connection comes from."""

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
        # asyncio closes what it is given; ours stays open, to be closed with patience
        asyncio.run(main(connection.dup()))
        connection.setblocking(True)

    return serve


def _build(handler: Any) -> Serve:
    # the template imports what a reactor needs, and the child installs it

    from twisted_fork.inside.handlers import factory

    return factory.serving(handler)
