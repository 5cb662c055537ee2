"""Tests for processes that Twisted starts, and that are waited for here."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from twisted.internet import process as twisted_process
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.process import reapAllProcesses, reapProcessHandlers

from tests.unit.kernel.cases import ProcessCase
from twisted_fork.kernel.processes import ForkedProcess
from twisted_fork.kernel.spawn import start_process
from twisted_fork.wire import calls


class StartProcessTests(ProcessCase):
    """Processes that Twisted starts, and that it would wait for."""

    def start(self, status: int = 3) -> ForkedProcess:
        """A process that exits with *status* as soon as it may; see let_go."""
        words = ["sh", "-c", f"read line; exit {status}"]
        process = start_process(
            self.reactor,
            self.reactor,
            self.ends.append,
            "/bin/sh",
            words,
            env={},
            childFDs={0: self.reading},
        )
        self.pids.append(process.pid)
        return process

    def let_go(self, children: int = 1) -> None:
        os.write(self.writing, b"\n" * children)

    def test_its_end_is_told_once_and_what_it_has_used(self) -> None:
        process = self.start()
        self.let_go()
        self.has_ended(process.pid)
        reapAllProcesses()
        self.assertFalse(self.is_gone(process.pid), "Twisted does not wait for it")
        self.reactor.turn_until(lambda: self.ends)
        self.assertEqual(self.how_it_ended(), (3, None))
        self.assertTrue(self.is_gone(process.pid))
        assert process.usage is not None
        self.assertGreater(process.usage.ru_utime + process.usage.ru_stime, 0)
        self.assertEqual(process.usage.ru_maxrss, 0, "a shell has less memory than this process")
        self.assertEqual(self.reactor.readers, [])

    def test_twisted_knows_nothing_of_it_any_more(self) -> None:
        process = self.start()
        self.assertNotIn(process.pid, reapProcessHandlers)
        process.signalProcess("KILL")
        self.reactor.turn_until(lambda: self.ends)
        self.assertEqual(self.how_it_ended(), (None, signal.SIGKILL))

    def test_one_that_has_ended_before_anybody_could_wait_is_told_of_later(self) -> None:
        register: Any = twisted_process.registerReapProcessHandler

        def late(pid: int, process: Any) -> None:
            self.let_go()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            register(pid, process)

        self.patch(twisted_process, "registerReapProcessHandler", late)
        process = self.start()
        self.assertTrue(self.is_gone(process.pid))
        self.assertEqual(self.ends, [])
        self.assertRaises(ProcessExitedAlready, process.signalProcess, "KILL")
        self.reactor.advance(0)
        self.assertEqual(self.how_it_ended(), (3, None))
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_without_a_pidfd_it_is_looked_for(self) -> None:
        def refuse(pid: int) -> int:
            raise OSError(errno.ENOSYS, "not implemented")

        self.patch(calls, "pidfd_open", refuse)
        process = self.start()
        self.let_go()
        self.has_ended(process.pid)
        self.reactor.advance(5)
        self.assertEqual(self.how_it_ended(), (3, None))
