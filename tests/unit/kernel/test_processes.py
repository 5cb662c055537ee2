"""Tests for waiting for children, each by its own pidfd."""

from __future__ import annotations

import errno
import os
import resource
import signal
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from zope.interface.verify import verifyObject

from tests.unit.cases import Case
from tests.unit.kernel.cases import ProcessCase
from tests.unit.processes import descriptors_before, status_of
from twisted_fork.kernel import processes
from twisted_fork.kernel.processes import reason_for
from twisted_fork.wire import calls


class ReasonTests(Case):
    """A wait status, as a ProcessProtocol is told it."""

    def test_every_status_has_its_reason(self) -> None:
        for status, kind, code, number in [
            (0, ProcessDone, 0, None),
            (3 << 8, ProcessTerminated, 3, None),
            (signal.SIGKILL, ProcessTerminated, None, signal.SIGKILL),
            (signal.SIGSEGV | 0x80, ProcessTerminated, None, signal.SIGSEGV),
            (None, ProcessTerminated, None, None),
        ]:
            value: Any = reason_for(status).value
            self.assertIs(type(value), kind)
            self.assertEqual((value.exitCode, value.signal), (code, number), status)


class ForkedProcessTests(ProcessCase):
    """One child, and its end."""

    def test_it_is_a_process_transport(self) -> None:
        process = self.watch(self.fork())
        verifyObject(IProcessTransport, process)

    def test_its_end_is_told_once_with_its_status(self) -> None:
        for status in (0, 3):
            self.ends.clear()
            pid = self.fork(status)
            self.watch(pid)
            self.assertFalse(self.reactor.turn(), "it has not ended yet")
            self.let_go()
            self.reactor.turn_until(lambda: self.ends)
            self.assertEqual(self.how_it_ended(), (status, None))
            self.assertTrue(self.is_gone(pid))

    def test_a_signal_ends_it(self) -> None:
        for name in ("KILL", "SIGTERM", signal.SIGUSR1):
            self.ends.clear()
            process = self.watch(self.fork())
            process.signalProcess(name)
            self.reactor.turn_until(lambda: self.ends)
            self.assertIsNotNone(self.how_it_ended()[1])

    def test_nothing_is_left_open_after_its_end(self) -> None:
        before = len(descriptors_before())
        process = self.watch(self.fork())
        self.let_go()
        self.reactor.turn_until(lambda: self.ends)
        process.doRead() if process in self.reactor.readers else None
        self.assertEqual(self.reactor.readers, [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_after_its_end_it_takes_no_signal(self) -> None:
        process = self.watch(self.fork())
        self.let_go()
        self.reactor.turn_until(lambda: self.ends)
        self.assertRaises(ProcessExitedAlready, process.signalProcess, "KILL")

    def test_one_that_had_ended_before_is_told_all_the_same(self) -> None:
        pid = self.fork(4)
        self.let_go()
        self.has_ended(pid)
        self.watch(pid)
        self.reactor.turn_until(lambda: self.ends)
        self.assertEqual(self.how_it_ended(), (4, None))

    def test_only_the_one_that_has_ended_is_waited_for(self) -> None:
        others = [self.watch(self.fork()) for _ in range(3)]
        process = self.watch(self.fork())
        process.signalProcess("KILL")
        self.reactor.turn_until(lambda: self.ends)
        self.assertEqual(self.reactor.readers, others)

    def test_a_status_that_somebody_else_has_taken_is_unknown(self) -> None:
        pid = self.fork()
        process = self.watch(pid)
        self.let_go()
        os.waitpid(pid, 0)
        self.assertRaises(ProcessExitedAlready, process.signalProcess, "TERM")
        self.reactor.turn_until(lambda: self.ends)
        self.assertEqual(self.how_it_ended(), (None, None))

    def test_it_has_no_streams(self) -> None:
        process = self.watch(self.fork())
        process.loseConnection()
        process.closeStdin()
        process.closeChildFD(1)
        self.assertRaises(KeyError, process.write, b"x")
        self.assertRaises(KeyError, process.writeSequence, [b"x"])
        self.assertRaises(KeyError, process.writeToChild, 0, b"x")

    def test_with_its_end_its_group_is_ended_if_that_is_wanted(self) -> None:
        for wanted in (False, True):
            self.ends.clear()
            leader = self.fork(group=0)
            other = self.fork(group=leader)
            self.watch(leader).ends_its_group = wanted
            os.kill(leader, signal.SIGTERM)
            self.has_ended(leader)
            self.reactor.turn_until(lambda: self.ends)
            if not wanted:
                os.kill(other, signal.SIGTERM)
            self.has_ended(other)
            ended = signal.SIGKILL if wanted else signal.SIGTERM
            self.assertEqual(status_of(other), -ended)

    def test_what_it_has_used_is_told_if_it_is_more_than_we_have(self) -> None:
        used = resource.struct_rusage((0.5, 0.25, 2**40, *range(13)))
        less = resource.struct_rusage((0.5, 0.25, 1, *range(13)))
        self.assertEqual(processes._without_ours(used), used)
        self.assertEqual(tuple(processes._without_ours(less)), (0.5, 0.25, 0, *range(13)))


class WithoutPidfdTests(ProcessCase):
    """When there is no descriptor for a pidfd."""

    def setUp(self) -> None:
        super().setUp()
        self.refusals = 0
        self.patch(calls, "pidfd_open", self.refuse)

    def refuse(self, pid: int) -> int:
        self.refusals += 1
        raise OSError(errno.EMFILE, "too many open files")

    def test_a_child_is_looked_for_again_and_again(self) -> None:
        pid = self.fork(5)
        self.watch(pid)
        self.reactor.pump([1] * 30)
        self.assertTrue(5 <= self.refusals <= 31, self.refusals)
        self.assertEqual(self.ends, [])
        self.let_go()
        self.has_ended(pid)
        self.reactor.advance(5)
        self.assertEqual(self.how_it_ended(), (5, None))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_its_group_is_ended_when_it_has_ended_itself_and_not_before(self) -> None:
        leader = self.fork(group=0)
        other = self.fork(group=leader)
        self.watch(leader).ends_its_group = True
        self.reactor.pump([1] * 30)
        self.assertEqual(self.ends, [])
        os.kill(leader, signal.SIGTERM)
        self.has_ended(leader)
        self.reactor.advance(5)
        self.assertEqual(self.how_it_ended(), (None, signal.SIGTERM))
        self.assertEqual(status_of(other), -signal.SIGKILL)

    def test_it_is_watched_as_soon_as_there_is_a_descriptor(self) -> None:
        pid = self.fork(6)
        process = self.watch(pid)
        self.patch(calls, "pidfd_open", os.pidfd_open)
        self.reactor.advance(5)
        self.assertEqual(self.reactor.readers, [process])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.let_go()
        self.reactor.turn_until(lambda: self.ends)
        self.assertEqual(self.how_it_ended(), (6, None))
