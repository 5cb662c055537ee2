"""Tests for handlers as the parent side knows them."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.internet.protocol import Factory

from twisted_fork.handler import Echo, Imported, InvalidHandler, Program, handler_from
from twisted_fork.wire import messages

from .cases import Case


class Outer:
    """A class of a module."""

    class Inner:
        """A class of that class."""

    @staticmethod
    def static() -> None:
        """A function that needs no object."""

    @classmethod
    def of_class(cls) -> None:
        """A function that needs no object but the class."""

    def method(self) -> None:
        """A function that needs an object."""


class ImportedTests(Case):
    """Import paths."""

    def test_a_path_has_a_module_and_a_name(self) -> None:
        handler = Imported.parse("package.module:Class.name")
        self.assertEqual((handler.module, handler.name), ("package.module", "Class.name"))
        wanted = {
            "kind": "import",
            "module": "package.module",
            "script": False,
            "name": "Class.name",
        }
        self.assertEqual(handler.order(), wanted)

    def test_a_script_is_found_by_its_path(self) -> None:
        wanted = {"kind": "import", "module": "/a/b.py", "script": True, "name": "handle"}
        self.assertEqual(Imported("/a/b.py", "handle", script=True).order(), wanted)

    def test_a_file_is_told_from_a_module(self) -> None:
        for path in ("./good.py:h", "good:h/i.py", "a/b/good:h", "/good.py:h"):
            if "/" in path.partition(":")[0]:
                with self.assertRaisesRegex(InvalidHandler, "names a file: .* such as good:h, as"):
                    Imported.parse(path)
            else:
                self.assertEqual(Imported.parse(path).module, "good")
        # a package may have a module of that name
        self.assertEqual(Imported.parse("good.py:h").module, "good.py")

    def test_anything_else_is_refused(self) -> None:
        for path in ("", ":", "module", "module:", ":name"):
            with self.assertRaisesRegex(InvalidHandler, "it takes MODULE:NAME"):
                Imported.parse(path)


class ProgramTests(Case):
    """Programs, which have to be there."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.script = os.path.join(self.folder, "script")
        with open(self.script, "w") as file:
            file.write("#!/bin/sh\n")

    def test_its_path_is_found_and_its_arguments_are_as_given(self) -> None:
        order = Program(["sh", "-c", "exit"], {"A": "b"}, clear_env=True).order()
        self.assertTrue(os.path.isabs(order["path"]))
        self.assertTrue(order["path"].endswith("/sh"))
        wanted = {"kind": "program", "argv": ["sh", "-c", "exit"], "env": {"A": "b"}}
        wanted["path"] = order["path"]
        self.assertEqual(order, {**wanted, "clear": True, "chdir": None})

    def test_a_relative_path_is_made_absolute(self) -> None:
        os.chmod(self.script, 0o755)
        self.assertEqual(Program([self.script]).order()["path"], os.path.abspath(self.script))

    def test_nothing_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidHandler, "no program"):
            Program([])

    def test_what_is_not_found_is_refused(self) -> None:
        for name in ("no-such-program", "/no/such/program"):
            with self.assertRaisesRegex(InvalidHandler, f"^{name} is not found"):
                Program([name])

    def test_what_cannot_be_executed_is_refused(self) -> None:
        for name in (self.script, "/"):
            with self.assertRaisesRegex(InvalidHandler, f"^{name} cannot be executed"):
                Program([name])

    def test_a_folder_that_is_none_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidHandler, "chdir .--chdir. cannot be '/no/such': it"):
            Program(["sh"], chdir="/no/such")

    def test_a_command_line_in_one_piece_is_refused(self) -> None:
        for piece in ("sh -c exit", b"sh", Path("sh")):
            with self.assertRaisesRegex(InvalidHandler, "^argv cannot be .*: a program is a list"):
                Program(piece)  # type: ignore[arg-type]

    def test_paths_may_be_pathlibs(self) -> None:
        program = Program([Path("/bin/sh"), Path("a")], chdir=Path("/"))
        self.assertEqual((program.argv, program.chdir), (("/bin/sh", "a"), "/"))
        # what a template is told is plain
        messages.marshalled(program.order())

    def test_what_no_program_can_be_given_is_refused_by_the_name_of_its_argument(self) -> None:
        class Text(str):
            """Not one that can be marshalled."""

        cases: list[tuple[dict[str, Any], str]] = [
            (
                {"argv": ["sh", "a\0b"]},
                r"argv\[1\] cannot be 'a\\x00b': it takes a text without NUL",
            ),
            ({"argv": ["sh", 5]}, r"argv\[1\] cannot be 5: it takes a text, such as '5'"),
            ({"argv": ["sh", "\ud800"]}, r"argv\[1\] cannot be .*that can be encoded"),
            ({"argv": 5}, "argv cannot be 5: it takes a list of texts"),
            ({"argv": [""]}, "the program's name is empty"),
            ({"env": {"A": 1}}, r"env\['A'\] cannot be 1: it takes a text, such as '1'"),
            ({"env": {"A": "\0"}}, r"env\['A'\] cannot be '\\x00': it takes a text without NUL"),
            ({"env": {"A": None}}, r"env\['A'\] cannot be None: it takes a text$"),
            ({"env": {1: "A"}}, "env cannot be 1: it takes a text"),
            ({"env": {"A=B": "C"}}, "env cannot be .*: a name is not empty, and has no ="),
            ({"env": {"": "C"}}, "env cannot be .*: a name is not empty, and has no ="),
            ({"env": ["A=B"]}, "env cannot be .*: it takes a dict, such as {'NAME': 'value'}"),
            ({"clear_env": 1}, "clear_env cannot be 1: it takes True or False"),
            ({"chdir": "/\0"}, r"chdir cannot be '/\\x00': it takes a text without NUL"),
            ({"chdir": 5}, "chdir cannot be 5: it takes a text"),
        ]
        for given, told in cases:
            arguments: Any = {"argv": ["sh"], **given}
            with self.assertRaisesRegex(InvalidHandler, f"^{told}"):
                Program(**arguments)
        messages.marshalled(Program([Text("sh")], {Text("A"): Text("B")}).order())


class HandlerFromTests(Case):
    """What an application may give."""

    def test_a_handler_is_itself(self) -> None:
        for handler in (Echo(), Imported("module", "name"), Program(["sh"])):
            self.assertIs(handler_from(handler), handler)

    def test_a_string_is_an_import_path(self) -> None:
        self.assertEqual(handler_from("module:name"), Imported("module", "name"))

    def test_functions_and_classes_are_found_by_their_names(self) -> None:
        for given, name in [
            (Outer, "Outer"),
            (Outer.Inner, "Outer.Inner"),
            (Outer.static, "Outer.static"),
            (Outer.of_class, "Outer.of_class"),
        ]:
            self.assertEqual(handler_from(given), Imported(__name__, name))

    def test_what_is_none_at_all_is_told_what_would_be(self) -> None:
        for given in (5, None, b"module:name", ["module:name"], sys, Factory()):
            wrong: Any = given
            with self.assertRaisesRegex(
                InvalidHandler, "^the handler cannot be .*'module:name', a"
            ):
                handler_from(wrong)

    def test_what_has_no_name_of_its_own_is_refused(self) -> None:
        def local() -> None:
            """Of this function only."""

        for given in (lambda: None, local, Outer().method, functools.partial(print)):
            unnameable: Any = given
            with self.assertRaises(InvalidHandler):
                handler_from(unnameable)

    def main(self, **attributes: object) -> Any:
        """A function of a __main__ module with these attributes."""
        made = ModuleType("__main__")
        vars(made).update(attributes)
        self.patch(sys, "modules", {**sys.modules, "__main__": made})

        def handle() -> None:
            """Belongs there."""

        handle.__module__, handle.__qualname__ = "__main__", "handle"
        return handle

    def test_a_scripts_own_is_found_by_the_scripts_path(self) -> None:
        given = self.main(__file__="script.py", __spec__=None)
        wanted = Imported(os.path.abspath("script.py"), "handle", script=True)
        self.assertEqual(handler_from(given), wanted)

    def test_a_module_that_is_run_is_found_as_a_module(self) -> None:
        spec = type("Spec", (), {"name": "package.module"})
        given = self.main(__file__="/a/package/module.py", __spec__=spec)
        self.assertEqual(handler_from(given), Imported("package.module", "handle"))

    def test_where_there_is_no_file_it_is_refused(self) -> None:
        with self.assertRaisesRegex(InvalidHandler, "no file to import it from"):
            handler_from(self.main(__spec__=None))
