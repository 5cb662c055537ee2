"""Tests for the check, in real processes: before the reactor runs, and while it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, pass_time
from tests.unit.processes import (
    descriptors_before,
    forked,
    leaving_somebody,
    status_of,
    wait_until_ended,
    wait_until_written,
)
from twisted_fork.handler import Echo, Imported
from twisted_fork.launchers import check, interpreter
from twisted_fork.launchers.check import Check, verdict
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_for
from twisted_fork.settings import Settings

MODULE = "checked_module"


def until_two_are_written(pids: Path) -> Callable[..., int]:
    """In the place of Popen.wait: the time is over as soon as two pids are in that file."""
    wait: Callable[..., int] = subprocess.Popen.wait

    def waited(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout != interpreter.PATIENCE:
            return wait(process, timeout)
        for _ in range(1000):
            if wait_until_written(pids).count("\n") == 2:
                break
            time.sleep(0.01)
        raise subprocess.TimeoutExpired("check", timeout)

    return waited


class VerdictTests(Case):
    """What a check has said."""

    def test_only_an_answer_from_its_end_is_a_yes(self) -> None:
        self.assertIsNone(verdict(0, b"checked clone\n", b""))
        # a handler may say something, too
        self.assertIsNone(verdict(0, b"checked clone3\n", b"imported\n"))
        told = "the handler ends the process when it is imported"
        once = b"checked clone\n"
        for stdout in (b"", b"checked\n", once[:-1], once * 2, once + b"\n"):
            self.assertEqual(verdict(0, stdout, b"imported\n"), told)

    def test_a_refusal_is_the_last_line_of_standard_error(self) -> None:
        self.assertEqual(verdict(1, b"", b"imported\n\nno such thing\n"), "no such thing")
        self.assertEqual(verdict(1, b"", b"caf\xff\x1b\n"), "caf\ufffd\x1b")

    def test_any_other_end_is_told(self) -> None:
        for status, how in [
            (1, " with exit status 1"),
            (7, " with exit status 7"),
            (-11, " by SIGSEGV"),
            (-63, " by signal 63"),
        ]:
            told = f"the handler ends the process{how} when it is imported"
            self.assertEqual(verdict(status, b"", b"" if status == 1 else b"something\n"), told)
        # whatever it had answered before
        self.assertIn("by SIGKILL", verdict(-9, b"checked clone3\n", b"") or "")


class CheckBeforeStartTests(Case):
    """The look itself, in real processes, before the reactor runs."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.patch(sys, "path", [str(self.folder), *sys.path])

    def check(self, *lines: str, launcher: str = "fork") -> str | None:
        """What is wrong with a handler whose module begins with these lines."""
        text = "\n".join([*lines, "def serve(connection, peer):", "    pass", ""])
        (self.folder / "checked_module.py").write_text(text)
        settings = Settings(launcher=launcher)
        orders = orders_for(Imported("checked_module", "serve"), settings, False)
        return check.check(orders)

    def test_a_handler_that_can_be_imported_is_all_right(self) -> None:
        before = descriptors_before()
        for launcher in ("fork", "spawn"):
            self.assertIsNone(self.check(launcher=launcher))
        self.assertEqual(os.listdir("/proc/self/fd"), before)

    def test_the_call_that_forks_children_here_is_found_out(self) -> None:
        found = orders_for(Echo(), Settings(), False)
        found["clone"] = "neither"
        self.assertIsNone(check.check(found))
        self.assertIn(found["clone"], ("clone3", "clone"))
        orders = orders_for(Imported("no_such_module", "serve"), Settings(), False)
        self.assertIsNotNone(check.check(orders))

    def test_what_it_prints_is_not_taken_for_an_answer(self) -> None:
        self.assertIsNone(self.check("print('hello')"))
        wrong = self.check("print('checked clone3')", "import os", "os._exit(0)")
        self.assertEqual(wrong, "the handler ends the process when it is imported")

    def test_one_that_hangs_is_ended_with_all_that_it_has_started(self) -> None:
        pids = self.folder / "pids"
        self.patch(subprocess.Popen, "wait", until_two_are_written(pids))
        wrong = self.check(
            "import os, time",
            "other = os.fork()",
            f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')",
            "time.sleep(1000)",
        )
        self.assertEqual(wrong, "the handler was not imported within 60 seconds")
        written = pids.read_text().split()
        self.assertEqual(len(written), 2)
        wait_until_ended(*map(int, written))

    def test_whoever_it_has_started_and_stays_is_not_waited_for(self) -> None:
        pid = self.folder / "pid"
        wrong = self.check(*leaving_somebody(pid))
        os.kill(int(pid.read_text()), signal.SIGKILL)
        self.assertIsNone(wrong)

    def test_one_that_hangs_does_not_outlive_whoever_waits_for_it(self) -> None:
        pid = self.folder / "pid"
        hang = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
        waiting = forked(lambda: self.check(hang))
        looking = int(wait_until_written(pid))
        os.kill(waiting, signal.SIGKILL)
        self.assertEqual(status_of(waiting), -signal.SIGKILL)
        wait_until_ended(looking)


class CheckTests(Case):
    """One check while the reactor runs, to its end."""

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
