"""Tests for asking the kernel about a program."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before
from twisted_fork.inside import trial
from twisted_fork.inside.handlers import program


class FakeLibrary:
    """A libc under which nobody may be traced."""

    def __init__(self, *arguments: object) -> None:
        """As ctypes.PyDLL."""

    def prctl(self, *arguments: object) -> int:
        """Does nothing."""
        return 0

    def ptrace(self, *arguments: object) -> int:
        """EPERM."""
        return -1


class TrialTests(Case):
    """Programs in files."""

    def setUp(self) -> None:
        self.folder = Path(os.path.abspath(self.mktemp()))
        self.folder.mkdir()
        self.ran = self.folder / "ran"

    def program(self, contents: str, mode: int = 0o755) -> str:
        path = self.folder / "program"
        path.write_text(contents)
        path.chmod(mode)
        return str(path)

    def complaint(self, path: str, limit: Any = None, **given: Any) -> str | None:
        """What is said of a program; nothing is left of having tried it."""
        order: Any = {"path": path, "argv": ["name"], "env": {}, "clear": False, "chdir": None}
        order.update(given)
        before = descriptors_before()
        said = trial.complaint(order, limit)
        self.assertEqual(os.listdir("/proc/self/fd"), before)
        self.assertRaises(ChildProcessError, os.waitpid, -1, os.WNOHANG)
        self.assertFalse(self.ran.exists())
        return said

    def test_one_that_can_be_executed_is_not_run(self) -> None:
        self.assertIsNone(self.complaint(self.program(f"#!/bin/sh\necho > {self.ran}\n")))
        touch = ["-c", f"open({str(self.ran)!r}, 'w')"]
        self.assertIsNone(self.complaint(sys.executable, argv=["python", *touch]))

    def test_a_script_needs_its_first_line(self) -> None:
        told = "name is no program that this system executes: a script needs a first line"
        for contents in ("", "echo\n", "#!\n", "#! \t\n"):
            self.assertIn(told, self.complaint(self.program(contents)) or "")

    def test_an_interpreter_that_is_missing_is_named(self) -> None:
        for contents, told in [
            ("#!/no/such\n", "its first line names '/no/such', which does not exist"),
            ("#! \t/no/such -a b\n", "its first line names '/no/such', which does not exist"),
            ("#!/bin/sh\r\n", r"its first line names '/bin/sh\r', which does not exist"),
        ]:
            self.assertIn(told, self.complaint(self.program(contents)) or "")

    def test_what_the_program_is_given_may_be_too_much(self) -> None:
        path = self.program("#!/bin/sh\n")
        told = "name cannot be executed: Argument list too long"
        self.assertEqual(self.complaint(path, argv=["name", "x" * 1_000_000]), told)
        self.assertEqual(self.complaint(path, env={"A": "x" * 1_000_000}), told)

    def test_a_folder_is_entered_as_a_child_does(self) -> None:
        self.assertIsNone(self.complaint(self.program("#!/bin/sh\n"), chdir=str(self.folder)))
        told = "chdir (--chdir) cannot be '/no/such': No such file or directory, for the user"
        self.assertIn(told, self.complaint("/bin/sh", chdir="/no/such") or "")

    def test_limits_are_applied_before(self) -> None:
        path = self.program("#!/bin/sh\n")
        said = self.complaint(path, lambda: os.chmod(path, 0o644))
        self.assertIn("name cannot be executed: Permission denied, for the user", said or "")

    def test_one_that_would_be_killed_while_it_is_executed(self) -> None:
        for number in (signal.SIGSEGV, signal.SIGKILL):
            self.patch(program, "execute", lambda *given: os.kill(os.getpid(), number))  # noqa: B023
            told = f"name cannot be executed: it is ended by signal {int(number)} at once"
            self.assertEqual(self.complaint("/bin/sh"), told)

    def test_limits_that_cannot_be_applied_are_not_the_programs_fault(self) -> None:
        def fails() -> None:
            raise PermissionError(1, "no", "--nice")

        self.assertIsNone(self.complaint(self.program("no program"), fails))

    def test_where_nobody_may_be_traced_nothing_is_known(self) -> None:
        self.patch(ctypes, "PyDLL", FakeLibrary)
        self.assertIsNone(self.complaint(self.program(f"#!/bin/sh\necho > {self.ran}\n")))
        self.assertIsNone(self.complaint(self.program("no program")))
        self.assertIn("chdir", self.complaint("/bin/sh", chdir="/no/such") or "")
