"""Tests for what templates and spawned children are told, and for the look before it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.unit.cases import Case
from tests.unit.processes import (
    descriptors_before,
    forked,
    leaving_somebody,
    status_of,
    wait_until_ended,
    wait_until_written,
)
from twisted_fork.handler import Echo, Imported
from twisted_fork.inside import start
from twisted_fork.launchers import check, interpreter
from twisted_fork.launchers.check import verdict
from twisted_fork.launchers.orders import give_orders, orders_for
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders


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


class OrdersTests(Case):
    """The orders, and how they are given."""

    def setUp(self) -> None:
        self.certificate = Path(self.mktemp())
        self.certificate.write_bytes(b"first")

    def orders(self, **given: str) -> Orders:
        settings = Settings(tls_certificate=str(self.certificate), **given)  # type: ignore[arg-type]
        return orders_for(Echo(), settings, listened_to=False)

    def test_files_for_tls_are_told_as_they_were(self) -> None:
        told = self.orders(tls_client_ca=str(self.certificate))["tls"]
        self.certificate.write_bytes(b"second")
        first = (os.path.abspath(self.certificate), b"first")
        self.assertEqual(told, {"certificate": first, "key": None, "client_ca": first})

    def test_one_that_cannot_be_read_is_named_with_its_option(self) -> None:
        wanted = "--tls-client-ca /no/such/file: No such file or directory"
        with self.assertRaises(InvalidSetting) as raised:
            self.orders(tls_client_ca="/no/such/file")
        self.assertEqual(str(raised.exception), wanted)

    def test_they_arrive_however_many_bytes_they_are(self) -> None:
        self.certificate.write_bytes(os.urandom(3_000_000))
        told = self.orders()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        before = descriptors_before()
        give_orders(partial(messages.send, ours), told)
        self.assertEqual(os.listdir("/proc/self/fd"), before)
        message = messages.receive(theirs)
        assert message is not None
        self.assertEqual(start.orders_in(message), told)
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class CheckTests(Case):
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
        found = orders_for(Echo(), Settings(), False, clone="neither")
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
