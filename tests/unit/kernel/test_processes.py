"""Tests for waiting for children, each by its own pidfd."""

from __future__ import annotations

import errno
import os
import resource
import signal
from typing import Any

from twisted.internet import process as twisted_process
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.process import reapAllProcesses, reapProcessHandlers
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.processes import descriptors_before, forked, status_of
from twisted_fork.kernel import processes
from twisted_fork.kernel.processes import ForkedProcess, reason_for
from twisted_fork.kernel.spawn import start_process
from twisted_fork.kernel.sweep import Sweep
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


class ProcessCase(Case):
    """Real children, and a reactor that turns when it is told to."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.ends: list[Failure] = []
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.pids: list[int] = []
        self.addCleanup(self.end_all)

    def end_all(self) -> None:
        os.close(self.writing)
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ChildProcessError, ProcessLookupError):
                pass

    def fork(self, status: int = 0, group: int | None = None) -> int:
        """A child that exits with *status* as soon as it may; see let_go."""

        def run() -> None:
            if group is not None:
                os.setpgid(0, group)
            os.read(self.reading, 1)
            os._exit(status)

        pid = forked(run)
        self.pids.append(pid)
        if group is not None:
            os.setpgid(pid, group)
        return pid

    def let_go(self, children: int = 1) -> None:
        """Let children exit, and wait until the kernel knows that they have."""
        os.write(self.writing, b"x" * children)

    def has_ended(self, pid: int) -> None:
        """Wait until *pid* is a zombie, and leave it one."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    def watch(self, pid: int) -> ForkedProcess:
        return ForkedProcess(self.reactor, self.reactor, pid, self.ends.append)

    def how_it_ended(self) -> tuple[object, object]:
        (reason,) = self.ends
        value: Any = reason.value
        return value.exitCode, value.signal

    def is_gone(self, pid: int) -> bool:
        """Whether it has been waited for."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return True
        return False


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

    def test_what_it_has_used_is_told_if_it_is_more_than_we_have(self) -> None:
        used = resource.struct_rusage((0.5, 0.25, 2**40, *range(13)))
        less = resource.struct_rusage((0.5, 0.25, 1, *range(13)))
        self.assertEqual(processes._without_ours(used), used)
        self.assertEqual(tuple(processes._without_ours(less)), (0.5, 0.25, 0, *range(13)))

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


class SweepTests(ProcessCase):
    """Waiting for children that nobody has heard of."""

    def test_whatever_has_ended_in_the_group_is_waited_for(self) -> None:
        leader = self.fork(group=0)
        others = [self.fork(group=leader) for _ in range(2)]
        self.let_go(3)
        for pid in (leader, *others):
            self.has_ended(pid)
        Sweep(self.reactor, -leader).sweep()
        self.assertTrue(all(self.is_gone(pid) for pid in (leader, *others)))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_it_goes_on_until_the_last_has_ended(self) -> None:
        leader = self.fork(group=0)
        Sweep(self.reactor, -leader).sweep()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.let_go()
        self.has_ended(leader)
        self.reactor.advance(5)
        self.assertTrue(self.is_gone(leader))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_has_left_the_group_is_not_touched(self) -> None:
        leader, outside = self.fork(group=0), self.fork(group=0)
        self.let_go(2)
        for pid in (leader, outside):
            self.has_ended(pid)
        Sweep(self.reactor, -leader).sweep()
        self.assertEqual((self.is_gone(leader), self.is_gone(outside)), (True, False))
