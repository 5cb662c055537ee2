"""Tests for the shapes of handlers."""

from __future__ import annotations

import asyncio
import functools
import socketserver
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import Mock

from twisted.internet.protocol import Factory, Protocol
from twisted.web.server import Site

from tests.unit.cases import Case
from twisted_fork.inside.handlers.imports import BadHandler, kind_of
from twisted_fork.inside.shape import require_shape


def function(connection: Any, peer: Any) -> None: ...


def with_defaults(connection: Any, peer: Any, more: int = 5, *, name: str = "") -> None: ...


def with_rest(*arguments: Any, **more: Any) -> None: ...


def of_three(database: Any, connection: Any, peer: Any) -> None: ...


def by_position(connection: Any, peer: Any, /) -> None: ...


def injecting(handler: Callable[..., None]) -> Callable[..., None]:
    """A decorator that gives its function one more."""

    @functools.wraps(handler)
    def wrapper(connection: Any, peer: Any) -> None:
        handler(None, connection, peer)

    return wrapper


def demanding(handler: Callable[..., None]) -> Callable[..., None]:
    """A decorator whose function takes less than it says."""

    @functools.wraps(handler)
    def wrapper(connection: Any) -> None: ...

    return wrapper


def unresolvable(connection: no_such_type, peer: no_such_type) -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def coroutine(reader: Any, writer: Any) -> None: ...


class Methods:
    """Whatever is bound to something."""

    def method(self, connection: Any, peer: Any) -> None: ...

    async def waits(self, reader: Any, writer: Any) -> None: ...

    @classmethod
    def of_class(cls, connection: Any, peer: Any) -> None: ...

    @staticmethod
    def static(connection: Any, peer: Any) -> None: ...

    def __call__(self, connection: Any, peer: Any) -> None: ...


class Served:
    """A class that serves when it is made."""

    def __init__(self, connection: Any, peer: Any) -> None: ...


class Requests(socketserver.StreamRequestHandler):
    """Made as socketserver does it."""

    def __init__(self, *arguments: Any, shop: Any = None) -> None: ...


class Narrow(socketserver.BaseRequestHandler):
    """Takes no more than it has to."""

    def __init__(self, request: Any, client_address: Any, server: Any) -> None: ...


class Shop(Factory):
    """A factory that needs a shop."""

    protocol = Protocol

    def __init__(self, shop: Any) -> None: ...


class Builder(Factory):
    """A factory that needs no protocol."""

    def buildProtocol(self, addr: Any) -> Protocol:
        return Protocol()


class Content(Protocol):
    """A protocol that needs nothing."""

    def __init__(self, shop: Any = None) -> None: ...


def generator(connection: Any, peer: Any) -> Iterator[None]:
    yield


async def asynchronous(connection: Any, peer: Any) -> AsyncIterator[None]:
    yield


class ShapeTests(Case):
    """What can be called as it will be, and what cannot."""

    def wrong(self, handler: Any) -> str:
        """What is said of a handler."""
        try:
            require_shape(handler, kind_of(handler), "it")
        except BadHandler as failure:
            return str(failure)
        return ""

    def test_what_can_be_called_is_let_pass(self) -> None:
        for handler in [
            *(function, with_defaults, with_rest, by_position, unresolvable),
            *(functools.partial(of_three, None), functools.partial(with_rest, 1, 2, 3)),
            *(injecting(of_three), lambda connection, peer: None, lambda *all: None),
            *(Methods(), Methods().method, Methods.of_class, Methods.static, Served),
            *(coroutine, Methods().waits, functools.partial(Methods.waits, Methods())),
            *(Requests, functools.partial(Requests, shop=1), socketserver.StreamRequestHandler),
            *(Content, Protocol, Shop(1), Builder(), Builder, Site(Mock())),
        ]:
            self.assertEqual(self.wrong(handler), "", handler)

    def test_what_has_no_signature_is_let_pass(self) -> None:
        for handler in (print, max, dict, type, Mock()):
            self.assertEqual(self.wrong(handler), "", handler)

    def test_what_cannot_be_called_is_refused_with_its_arguments(self) -> None:
        two, streams = "(connection, peer)", "(reader, writer)"
        for handler, told in [
            (lambda: None, f"cannot be called with {two}: too many positional arguments"),
            (of_three, f"cannot be called with {two}: missing a required argument: 'peer'"),
            (demanding(of_three), f"cannot be called with {two}: too many positional arguments"),
            (Methods.method, f"cannot be called with {two}: missing a required argument"),
            (functools.partial(function, 1), f"cannot be called with {two}: too many"),
            (functools.partial(coroutine, 1), f"cannot be called with {streams}: too many"),
            (Methods, f"cannot be called with {two}: too many positional arguments"),
            (functools.partial(Narrow, 1), "cannot be called with (request, client_address, serv"),
            (Shop, "cannot be called without arguments: missing a required argument: 'shop'"),
            (Site, "cannot be called without arguments: missing a required argument: 'resource'"),
            (functools.partial(Shop, 1), f"cannot be called with {two}: too many"),
            (generator, "is a generator function"),
            (asynchronous, "is a generator function"),
            (asyncio.Protocol, "is an asyncio protocol: it takes an async callable(reader, writer"),
            (socketserver.TCPServer, "is a server: it takes the class of its request handlers"),
            (Factory(), "is a factory whose protocol is not set"),
        ]:
            self.assertIn(f"it {told}", self.wrong(handler), handler)
