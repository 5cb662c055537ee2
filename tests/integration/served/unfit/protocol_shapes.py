"""Protocols and factories that cannot serve.  What they need takes long to import."""

from __future__ import annotations

import asyncio

from twisted.internet.protocol import Factory, Protocol


class Streams(asyncio.Protocol):
    """A protocol of asyncio's."""


class Named(Protocol):
    """A protocol that wants a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Shop(Factory):
    """A factory that wants a shop."""

    protocol = Protocol

    def __init__(self, shop: str) -> None:
        self.shop = shop


empty = Factory()
