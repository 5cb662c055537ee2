"""Tests for finding a handler by its path, and its kind."""

from __future__ import annotations

import functools
import os
import socketserver
import sys
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from tests.unit.cases import Case
from twisted_fork.inside.handlers import imports
from twisted_fork.inside.handlers.imports import BadHandler, kind_of, resolve
from twisted_fork.wire.names import MAIN
from twisted_fork.wire.orders import ImportOrder


def function(connection: Any, peer: Any) -> None:
    """A handler."""


async def coroutine(reader: Any, writer: Any) -> None:
    """A handler of asyncio."""


def named(module: str, name: str, script: bool = False) -> ImportOrder:
    """What names a handler."""
    return {"kind": "import", "module": module, "script": script, "name": name}


class Callable:
    """Its instances and their methods are handlers."""

    def __call__(self, connection: Any, peer: Any) -> None: ...

    async def method(self, reader: Any, writer: Any) -> None: ...


class Misnamed:
    """A handler that has a function."""

    func = staticmethod(coroutine)

    def __call__(self, connection: Any, peer: Any) -> None: ...


class Awaited:
    """Its instances are handlers of asyncio."""

    async def __call__(self, reader: Any, writer: Any) -> None: ...


class Requests(socketserver.StreamRequestHandler):
    """A handler of socketserver."""


class KindTests(Case):
    """Which kind of handler something is."""

    def check(self, kind: str, *handlers: Any) -> None:
        for handler in handlers:
            self.assertEqual(kind_of(handler), kind, handler)

    def test_a_callable(self) -> None:
        self.check("callable", function, Callable(), functools.partial(function, peer=1), print)
        self.check("callable", functools.partial(Callable()), functools.partial(print, "a"))
        # an attribute of that name does not make it a partial
        self.check("callable", Misnamed())
        self.check("callable", Callable)

    def test_a_coroutine_function(self) -> None:
        self.check("coroutine", coroutine, Callable().method, Awaited())
        self.check("coroutine", functools.partial(coroutine, writer=1))
        self.check("coroutine", functools.partial(functools.partial(Callable().method), writer=1))
        self.check("coroutine", functools.partial(Awaited()))

    def test_a_request_handler(self) -> None:
        self.check("requests", Requests, socketserver.BaseRequestHandler)
        self.check("requests", functools.partial(Requests))

    def test_a_factory(self) -> None:
        self.check("factory", Factory(), Factory, Protocol)

    def test_anything_else_is_refused_with_what_would_do(self) -> None:
        for wrong in (7, "text", None, Protocol()):
            with self.assertRaises(BadHandler) as raised:
                kind_of(wrong)
            for kind in ("callable(connection, peer)", "async", "BaseRequestHandler", "factory"):
                self.assertIn(kind, str(raised.exception))


class ResolveTests(Case):
    """Importing."""

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)
        # this process has both what a handler must not bring, and the reactor of the tests
        modules = {k: v for k, v in sys.modules.items() if k != "twisted.internet.reactor"}
        self.patch(sys, "modules", modules)
        self.patch(sys, "path", [self.folder, *sys.path])
        self.threads = [1]
        self.patch(imports, "_PATIENCE", 0.05)
        listdir = os.listdir
        self.patch(
            os,
            "listdir",
            lambda path: ["1"] * self.looked() if "task" in path else listdir(path),
        )

    def looked(self) -> int:
        """How many threads there are when somebody looks; the last number stays."""
        return self.threads.pop(0) if len(self.threads) > 1 else self.threads[0]

    def write(self, name: str, *lines: str) -> str:
        path = os.path.join(self.folder, f"{name}.py")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def refused(self, module: str, name: str = "handle") -> str:
        """Why a handler cannot be used: one line."""
        with self.assertRaises(BadHandler) as raised:
            resolve(named(module, name))
        return str(raised.exception)

    def test_a_name_in_a_module(self) -> None:
        self.write("shop", "class A:", "    class B:", "        c = 7")
        self.assertEqual(resolve(named("shop", "A.B.c")), 7)

    def test_a_name_in_a_module_of_a_package(self) -> None:
        os.mkdir(os.path.join(self.folder, "goods"))
        self.write("goods/__init__")
        self.write("goods/cheese", "price = 7")
        self.assertEqual(resolve(named("goods.cheese", "price")), 7)

    def test_a_script_is_imported_without_being_main(self) -> None:
        path = self.write("script", "name = __name__", "if name == '__main__':", "    boom")
        found = resolve(named(path, "name", script=True))
        self.assertEqual(found, MAIN)
        self.assertIs(sys.modules[MAIN].name, found)

    def test_a_script_is_imported_once(self) -> None:
        path = self.write("script", "import sys", "sys.argv.append('imported')")
        self.patch(sys, "argv", [])
        for _ in range(2):
            resolve(named(path, "sys", script=True))
        self.assertEqual(sys.argv, ["imported"])

    def test_a_module_that_is_missing(self) -> None:
        told = "no_such does not import: ModuleNotFoundError: No module named 'no_such'"
        self.assertEqual(self.refused("no_such"), told)

    def test_a_module_that_raises(self) -> None:
        self.write("raises", "1 / 0")
        told = "raises does not import: ZeroDivisionError: division by zero"
        self.assertEqual(self.refused("raises"), told)

    def test_a_module_that_exits(self) -> None:
        self.write("leaves", "raise SystemExit(3)")
        self.assertEqual(self.refused("leaves"), "leaves does not import: SystemExit: 3")

    def test_a_module_with_a_mistake_in_its_syntax(self) -> None:
        self.write("mistyped", "def handle(:")
        self.assertIn("mistyped does not import: SyntaxError: ", self.refused("mistyped"))

    def test_a_name_that_is_missing(self) -> None:
        self.write("empty")
        self.assertEqual(self.refused("empty"), "empty has no handle")
        self.assertEqual(self.refused("empty", "a.b"), "empty has no a.b")

    def test_threads_are_counted(self) -> None:
        self.write("threaded", "handle = 7")
        self.threads = [2]
        self.assertIn("threaded starts 1 thread when it is imported", self.refused("threaded"))
        self.threads = [3]
        self.assertIn("threaded starts 2 threads when it is imported", self.refused("threaded"))

    def test_threads_that_are_about_to_end_are_waited_for(self) -> None:
        self.write("ended", "handle = 7")
        self.threads = [3, 2, 1]
        self.assertEqual(resolve(named("ended", "handle")), 7)

    def test_a_reactor_is_noticed(self) -> None:
        self.write("reacting", "import sys", "sys.modules['twisted.internet.reactor'] = handle = 7")
        self.assertIn("reacting installs a reactor when it is imported", self.refused("reacting"))
