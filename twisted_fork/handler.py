"""
Handlers as the reactor process knows them: what a template is told to load.

The reactor process does not import handlers; the template does.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from twisted_fork import kinds
from twisted_fork.wire.orders import EchoOrder, ImportOrder, ProgramOrder

__all__ = ["Echo", "Handler", "Imported", "InvalidHandler", "Program", "handler_from"]


class InvalidHandler(ValueError):
    """Not a handler; the message says why and what it takes."""


@dataclass(frozen=True)
class Echo:
    """
    The built-in uppercase echo.

    :ivar print: children also write what they receive to standard output.
    """

    print: bool = False

    def order(self) -> EchoOrder:
        """What a template is told to load."""
        return {"kind": "echo", "print": self.print}


@dataclass(frozen=True)
class Imported:
    """
    A handler that is imported, of any kind; see docs/handlers.md.

    :ivar module: the module's import path, or the path of a script.
    :ivar name: the handler's name in it, which may have dots.
    :ivar script: *module* is the path of a script.
    """

    module: str
    name: str
    script: bool = False

    @classmethod
    def parse(cls, path: str) -> Imported:
        """
        Make one from ``module:name``.

        :raises InvalidHandler: the text does not have that form.
        """
        module, colon, name = path.partition(":")
        if not (module and colon and name):
            raise InvalidHandler(
                f"{path!r} names no handler: it takes MODULE:NAME, such as mypackage.server:handle"
            )
        if "/" in module or (module.endswith(".py") and os.path.isfile(module)):
            found = os.path.basename(module).removesuffix(".py") or "server"
            raise InvalidHandler(
                f"{path!r} names a file: it takes MODULE:NAME, such as {found}:{name}, as import"
                " finds it"
            )
        return cls(module, name)

    def order(self) -> ImportOrder:
        """What a template is told to load."""
        script, name = self.script, self.name
        return {"kind": "import", "module": self.module, "script": script, "name": name}


@dataclass(frozen=True)
class Program:
    """
    A program to execute, with the connection as its standard input and output.

    :ivar argv: its name, looked up in PATH, and its arguments; becomes a tuple of str.
    :ivar env: its environment variables, besides those about the connection.
    :ivar clear_env: it gets no variables of the server's own environment.
    :ivar chdir: the folder that it starts in; by default the server's.
    :raises InvalidHandler: the program or folder does not exist, the program may not be
        executed, or an argument cannot be passed to a program.
    """

    argv: Sequence[str | os.PathLike[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    clear_env: bool = False
    chdir: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        argv = _argv(self.argv)
        # the object is frozen, and not yet in use
        object.__setattr__(self, "argv", argv)
        object.__setattr__(self, "env", _env(self.env))
        if not isinstance(self.clear_env, bool):
            raise InvalidHandler(f"clear_env cannot be {self.clear_env!r}: it takes True or False")
        if self.chdir is not None:
            object.__setattr__(self, "chdir", _text("chdir", self.chdir))
        name = argv[0]
        if not name:
            raise InvalidHandler(
                "the program's name is empty: it takes a path or a name found in PATH"
            )
        if shutil.which(name) is None:
            if os.path.exists(name) and "/" in name:
                raise InvalidHandler(
                    f"{name} cannot be executed: it is no file with permission to execute"
                )
            raise InvalidHandler(f"{name} is not found; it takes a path or a name found in PATH")
        if self.chdir is not None and not os.path.isdir(self.chdir):
            raise InvalidHandler(f"chdir (--chdir) cannot be {self.chdir!r}: it is no folder")

    def order(self) -> ProgramOrder:
        """
        What a template is told to execute.

        :raises InvalidHandler: the program does not exist any more.
        """
        found = shutil.which(self.argv[0])
        if found is None:
            raise InvalidHandler(f"{self.argv[0]} is not found any more")
        return {
            "kind": "program",
            "path": os.path.abspath(found),
            "argv": [os.fspath(each) for each in self.argv],
            "env": dict(self.env),
            "clear": self.clear_env,
            "chdir": None if self.chdir is None else os.fspath(self.chdir),
        }


def _argv(given: Any) -> tuple[str, ...]:
    if isinstance(given, (str, bytes, os.PathLike)):
        raise InvalidHandler(f"argv cannot be {given!r}: a program is a list, such as [{given!r}]")
    if not isinstance(given, Iterable):
        raise InvalidHandler(f"argv cannot be {given!r}: it takes a list of texts")
    argv = tuple(_text(f"argv[{place}]", each) for place, each in enumerate(given))
    if not argv:
        raise InvalidHandler("no program: it takes -- PROGRAM [ARGUMENT ...]")
    return argv


def _env(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise InvalidHandler(
            f"env cannot be {given!r}: it takes a dict, such as {{'NAME': 'value'}}"
        )
    env = {_text("env", name): _text(f"env[{name!r}]", value) for name, value in given.items()}
    for name in env:
        if not name or "=" in name:
            raise InvalidHandler(f"env cannot be {given!r}: a name is not empty, and has no =")
    return env


def _text(argument: str, given: Any) -> str:
    """*given* as str, which the kernel can take: it can be encoded, and has no NUL."""
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str):
        example = f", such as '{given}'" if isinstance(given, (int, float)) else ""
        raise InvalidHandler(f"{argument} cannot be {given!r}: it takes a text{example}")
    if not kinds.for_the_kernel(text):
        raise InvalidHandler(
            f"{argument} cannot be {given!r}: it takes a text without NUL that can be encoded"
        )
    return str.__str__(text)


Handler = Echo | Imported | Program


def handler_from(given: Handler | str | Callable[..., Any]) -> Handler:
    """
    Make a handler from what an application gives: an object of one of these classes, an import
    path ``module:name``, or a function or class that has one.

    A function or class of the script that runs is found by the script's path.  The template
    imports the script again, under another name than ``__main__``.

    :raises InvalidHandler: another process could not find it.
    """
    if isinstance(given, (Echo, Imported, Program)):
        return given
    if isinstance(given, str):
        return Imported.parse(given)
    if not callable(given):
        raise InvalidHandler(
            f"the handler cannot be {given!r}: it takes 'module:name', a function or class, or a"
            " Program"
        )
    module = getattr(given, "__module__", None)
    name = getattr(given, "__qualname__", None)
    bound_to = getattr(given, "__self__", None)
    if bound_to is not None and not isinstance(bound_to, (type, ModuleType)):
        raise InvalidHandler(f"{given!r} belongs to an object that another process does not have")
    if not module or module == "builtins":
        raise InvalidHandler(
            f"{given!r} cannot be imported by another process: define it in a module, not in a"
            " .tac file"
        )
    if not name or "<" in name:
        raise InvalidHandler(
            f"{given!r} cannot be imported by another process: define it at the top of a module"
        )
    if module == "__main__":
        main: ModuleType = sys.modules["__main__"]
        path = getattr(main, "__file__", None)
        if path is None:
            raise InvalidHandler(f"{given!r} is defined where there is no file to import it from")
        if main.__spec__ is not None:
            return Imported(main.__spec__.name, name)
        return Imported(os.path.abspath(path), name, script=True)
    return Imported(module, name)
