"""
Serving a connection with any handler but the plain echo.
"""

from __future__ import annotations

import os
import socket
import sys

from twisted_fork.inside.handlers import api, echo, imports, linger
from twisted_fork.wire import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import ssl
    from typing import Any

    from twisted_fork.wire.orders import Orders

__all__ = ["Custom"]

_NEEDS_A_DESCRIPTOR = ("program", "coroutine", "factory")
"""Kinds that cannot work on an ssl.SSLSocket: they get a plain socket, and a pump."""


class Connection(socket.socket):
    """
    The socket that a handler gets.

    :ivar info: linger.look at the moment before it was closed.
    """

    info = b""

    def _real_close(self, *arguments: Any) -> None:
        # closes a socket when nothing uses it any more; ssl.SSLSocket overrides it too
        self.info = linger.look(self)
        super()._real_close(*arguments)  # type: ignore[misc]


class Custom:
    """
    A loaded handler, with TLS if the orders say so.

    :raises BadHandler: it cannot be loaded.
    """

    def __init__(self, orders: Orders) -> None:
        order = orders["handler"]
        self.kind: str = order["kind"]
        self._program = order if order["kind"] == "program" else None
        self._accounts: bool = orders["accounts"]
        self._info = b""
        self._timeout: float = orders["handshake_timeout"]
        self._context: ssl.SSLContext | None = None
        if order["kind"] == "import":
            from twisted_fork.inside.handlers import adapters

            handler = imports.resolve(order)
            self.kind = imports.kind_of(handler)
            if self.kind == "factory" and orders["connections_per_child"] > 1:
                raise imports.BadHandler(
                    "--connections-per-child has to be 1 with a Twisted factory: a reactor"
                    " runs once in the life of a process"
                )
            self._serve: Any = adapters.adapt(self.kind, handler)
        elif order["kind"] == "echo":
            self._serve = echo.serve_secured_and_print if order["print"] else echo.serve_secured
        limits = orders["limits"]
        if limits is not None and limits["uid"] is not None:
            self._import_ahead()
        if orders["tls"]:
            # imported before the first fork, not in each child
            from twisted_fork.inside.handlers import pump, tls

            self._pump, self._secure = pump, tls
            self._context = tls.context(orders["tls"])

    def _import_ahead(self) -> None:
        """Import what serving needs: the children's user may not be allowed to read it."""
        if self.kind == "program":
            import twisted_fork.inside.handlers.program  # noqa: F401
        elif self.kind == "factory":
            import twisted.internet.default
            import twisted.python.failure  # noqa: F401

    def serve(
        self, descriptor: int, message: messages.Message, channel: _socket.socket | None
    ) -> bytes:
        """
        Serve the connection whose descriptor came with *message*, and close it.

        :param channel: for the handler's messages.
        :returns: see linger.look; empty if the reactor process does not want it, or if the handler
            has replaced standard error.
        :raises BaseException: what the handler raised; the connection is closed.
        """
        self._info = b""
        stderr = _stderr() if self._accounts else 0
        connection = _begin(descriptor, message, channel)
        try:
            if self._context is not None:
                self._serve_secured(connection, self._context)
            elif self.kind == "program":
                self._become_program(connection)
            else:
                self._serve_plain(connection)
        except BaseException:
            if stderr and _stderr() == stderr:
                linger.tell(self._info)
            raise
        return self._info if stderr and _stderr() == stderr else b""

    def rehearse(
        self, descriptor: int, message: messages.Message, channel: _socket.socket | None
    ) -> bytes:
        """As serve, with the echo in place of the handler, which may do anything."""
        connection = _begin(descriptor, message, channel)
        try:
            echo.serve(connection)
        finally:
            self._info = _finish(connection)
        return self._info

    def _become_program(self, connection: socket.socket) -> None:
        from twisted_fork.inside.handlers import program

        assert self._program is not None
        program.execute(self._program, connection.fileno(), api.connection())

    def _serve_secured(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        api.connection().local  # noqa: B018 - remembered while this socket is open
        try:
            secured = self._secure.wrap(connection, context, self._timeout)
        except TimeoutError as failure:
            sys.stderr.write(f"TLS handshake failed: {failure}\n")
            raise SystemExit(messages.EXIT_HANDSHAKE) from None
        except OSError as failure:
            raise SystemExit(f"TLS handshake failed: {failure}") from None
        try:
            if self.kind in _NEEDS_A_DESCRIPTOR:
                self._pump.through(secured, self._serve_through)
            else:
                self._serve(secured)
        finally:
            if secured.fileno() >= 0:
                self._info = _finish(self._secure.end(secured))

    def _serve_plain(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        finally:
            self._info = _finish(connection)

    def _serve_through(self, connection: socket.socket) -> None:
        """Serve in the process behind the pump."""
        if self.kind == "program":
            self._become_program(connection)
        else:
            self._serve(connection)
            _finish(connection)


def _begin(
    descriptor: int, message: messages.Message, channel: _socket.socket | None
) -> socket.socket:
    details = message.details
    # with its family given, Python does not ask the kernel for family, type and protocol
    connection = Connection(details[0], socket.SOCK_STREAM, 0, descriptor)
    api.begin(api.ConnectionInfo(connection, details), channel)
    return connection


def _finish(connection: socket.socket) -> bytes:
    """Close *connection*, unless it is closed already; see linger.look."""
    if connection.fileno() >= 0:
        return linger.close(connection)
    return getattr(connection, "info", b"")


def _stderr() -> int:
    """The inode of standard error; 0 if it is closed."""
    try:
        return os.fstat(2).st_ino
    except OSError:
        return 0
