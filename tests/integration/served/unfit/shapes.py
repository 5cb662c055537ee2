"""Handlers of shapes that cannot serve, and of some that can though they do not look like it."""

from __future__ import annotations

import functools
import socketserver
from collections.abc import Iterator
from typing import Any


def nothing() -> None:
    """Takes no arguments."""


def three(connection: Any, peer: Any, more: Any) -> None:
    """Takes one more than it is given."""


def by_name(connection: Any, *, peer: Any) -> None:
    """Takes its peer by name only."""


def yields(connection: Any, peer: Any) -> Iterator[None]:
    """Does nothing when it is called."""
    yield


async def reads(reader: Any) -> None:
    """Does not want to write."""


class Plain:
    """A class of nothing."""


class Threading(socketserver.ThreadingTCPServer):
    """A server, and no handler."""


class Demanding(socketserver.BaseRequestHandler):
    """A handler that wants more than it is given."""

    def __init__(self, request: Any, client_address: Any, server: Any, shop: Any) -> None:
        """Wants a shop."""


class Greeting(socketserver.StreamRequestHandler):
    """Says what it was made with."""

    def __init__(self, *arguments: Any, greeting: bytes = b"", **more: Any) -> None:
        self.greeting = greeting
        super().__init__(*arguments, **more)

    def handle(self) -> None:
        self.wfile.write(self.greeting)


greets = functools.partial(Greeting, greeting=b"welcome")


class Teller:
    """Its methods are handlers."""

    async def tell(self, words: bytes, reader: Any, writer: Any) -> None:
        """Tell these words."""
        writer.write(words)


tells = functools.partial(Teller().tell, b"so it is")
