"""Tests for the check while the reactor runs: real processes, which are never waited for."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, pass_time
from tests.unit.processes import descriptors_before, leaving_somebody, wait_until_ended
from twisted_fork.handler import Imported
from twisted_fork.launchers import interpreter
from twisted_fork.launchers.check import Check
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_for
from twisted_fork.settings import Settings

MODULE = "checked_module"


class CheckTests(Case):
    """One check, to its end."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.patch(sys, "path", [str(self.folder), *sys.path])
        self.reactor = FakeReactor()
        self.found: list[str | None] = []
        self.before = len(descriptors_before())

    def begin(self, *lines: str) -> Check:
        """Check a handler whose module begins with these lines."""
        text = "\n".join([*lines, "def serve(connection, peer):", "    pass", ""])
        (self.folder / f"{MODULE}.py").write_text(text)
        orders = orders_for(Imported(MODULE, "serve"), Settings(), False)
        another: Any = None  # a check has pipes
        starter = Starter(self.reactor, self.reactor, another, (1024, 1024), None)
        return Check(self.reactor, self.reactor, starter, orders, self.found.append)

    def end(self) -> str | None:
        """What was found, once; nothing is left of it."""
        self.reactor.turn_until(lambda: self.found)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.before)
        (found,) = self.found
        return found

    def hang(self) -> tuple[Check, list[int]]:
        """Two processes import a handler, and do not come to an end: their pids."""
        pids = self.folder / "pids"
        check = self.begin(
            "import os, time",
            "os.fork()",
            f"with open({str(pids)!r}, 'a') as file:",
            "    file.write(f'{os.getpid()}\\n')",
            "if open(file.name).read().count('\\n') == 2:",
            "    os.write(1, b'\\n')",  # of a line that says nothing
            "time.sleep(1000)",
        )
        self.reactor.turn_until(lambda: check._stderr._data)
        return check, [int(pid) for pid in pids.read_text().split()]

    def test_a_handler_that_can_be_imported_is_all_right(self) -> None:
        self.begin()
        self.assertIsNone(self.end())

    def test_one_that_cannot_is_told_of(self) -> None:
        self.begin("import no_such_module")
        self.assertRegex(str(self.end()), f"^{MODULE} does not import: .*no_such_module")

    def test_one_that_ends_the_process_is_told_of(self) -> None:
        self.begin("print('checked')", "import os", "os._exit(0)")
        self.assertEqual(self.end(), "the handler ends the process when it is imported")

    def test_one_that_is_killed_is_told_of(self) -> None:
        self.begin("import os", "os.kill(os.getpid(), 11)")
        self.assertEqual(self.end(), "the handler ends the process by SIGSEGV when it is imported")

    def test_one_that_hangs_is_ended_in_time_with_all_that_it_has_started(self) -> None:
        _, pids = self.hang()
        pass_time(self.reactor, interpreter.PATIENCE - 1)
        for pid in pids:
            os.kill(pid, 0)
        self.assertEqual(self.found, [])
        pass_time(self.reactor, 2)
        self.assertEqual(self.end(), "the handler was not imported within 60 seconds")
        wait_until_ended(*pids)

    def test_it_can_be_ended_at_any_time(self) -> None:
        check, pids = self.hang()
        check.kill()
        check.kill()
        self.assertEqual(self.end(), "the handler ends the process by SIGKILL when it is imported")
        wait_until_ended(*pids)
        check.kill()

    def test_it_can_be_ended_before_it_has_begun(self) -> None:
        self.begin("import time", "time.sleep(1000)").kill()
        self.assertEqual(self.end(), "the handler ends the process by SIGKILL when it is imported")

    def test_what_it_writes_is_read_and_not_all_of_it_is_kept(self) -> None:
        check = self.begin(
            "import os",
            "for _ in range(100):",
            "    os.write(1, b'out' * 30000)",
            "    os.write(2, b'err' * 30000)",
            "import no_such_module",
        )
        self.assertIn("no_such_module", str(self.end()))
        self.assertLessEqual(len(check._stderr._data), 65536)

    def test_whoever_holds_its_output_is_not_waited_for(self) -> None:
        pid = self.folder / "pid"
        self.begin(*leaving_somebody(pid))
        found = self.end()
        os.kill(int(pid.read_text()), signal.SIGKILL)
        self.assertIsNone(found)

    def test_one_that_cannot_be_begun_leaves_nothing(self) -> None:
        def cannot(*given: object, **more: object) -> None:
            raise OSError("why")

        self.patch(interpreter, "start_process", cannot)
        self.assertRaises(OSError, self.begin)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.before)
