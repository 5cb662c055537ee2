"""Tests for orphans: who is waited for, and who is left alone."""

from __future__ import annotations

import builtins
import ctypes
import os
import signal
import subprocess
import sys
from functools import partial
from typing import Any

from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, pass_time
from tests.unit.processes import TIME_LIMIT, forked
from twisted_fork.kernel import orphans, processes

_PR_SET_CHILD_SUBREAPER = 36


def exit_with(status: int, session: bool) -> None:
    """Perhaps begin a session, and end."""
    if session:
        os.setsid()
    os._exit(status)


class OrphansCase(Case):
    """This process is a subreaper; who has ended is a real process."""

    def setUp(self) -> None:
        self.clock = Clock()
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.addCleanup(prctl, _PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def watching(self, alone: bool) -> orphans.Orphans:
        made = orphans.Orphans(self.clock, alone)
        made.watch()
        self.addCleanup(made.stop)
        return made

    def child(self, session: bool) -> int:
        """A child that has ended, in our session or leading its own."""
        pid = forked(partial(exit_with, 3, session))
        self.addCleanup(self.wait_for, pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    def orphan(self, leads: bool = False) -> int:
        """One that has ended, in the session of its parent that has ended before."""
        read, write = os.pipe()

        def run() -> None:
            os.setsid()
            pid = forked(partial(exit_with, 4, leads))
            os.write(write, str(pid).encode())
            os._exit(0)

        parent = forked(run)
        os.waitpid(parent, 0)
        pid = int(os.read(read, 20))
        os.close(read)
        os.close(write)
        self.addCleanup(self.wait_for, pid)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    @staticmethod
    def wait_for(pid: int) -> int | None:
        """Its status; None if it has been waited for already."""
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:
            return None

    def pass_time(self, seconds: float) -> None:
        pass_time(self.clock, seconds)


class WaitingTests(OrphansCase):
    """Who is waited for."""

    def test_an_orphan_is_waited_for_within_two_seconds(self) -> None:
        for alone in (True, False):
            pid = self.orphan()
            self.watching(alone)
            self.pass_time(2)
            self.assertIsNone(self.wait_for(pid))

    def test_many_are_waited_for_in_several_looks(self) -> None:
        self.patch(orphans, "_MOST_SEEN", 4)
        self.patch(orphans, "_MOST_WAITED_FOR", 3)
        pids = [self.orphan() for _ in range(8)]
        waited_at: list[float] = []
        waitpid = os.waitpid

        def wait(pid: int, options: int) -> tuple[int, int]:
            waited_at.append(self.clock.seconds())
            return waitpid(pid, options)

        self.patch(os, "waitpid", wait)
        self.watching(alone=True)
        self.pass_time(5)
        self.assertEqual(len(waited_at), 8)
        self.assertLessEqual(max(map(waited_at.count, waited_at)), 3)
        self.assertLess(waited_at[-1], 4)
        self.assertEqual([self.wait_for(pid) for pid in pids], [None] * 8)

    def test_an_orphan_that_leads_a_session_is_waited_for_where_nobody_else_has_children(
        self,
    ) -> None:
        pid = self.orphan(leads=True)
        self.watching(alone=True)
        self.pass_time(2)
        self.assertIsNone(self.wait_for(pid))

    def test_the_kernel_need_not_tell_who_the_children_are(self) -> None:
        pids = [self.orphan(), self.orphan()]
        self.patch(builtins, "open", self.no_such_file)
        self.watching(alone=True)
        self.pass_time(4)
        self.assertEqual([self.wait_for(pid) for pid in pids], [None] * 2)

    @staticmethod
    def no_such_file(path: str) -> None:
        raise FileNotFoundError(path)


class LeavingAloneTests(OrphansCase):
    """Who is not."""

    def test_who_has_just_ended_may_have_to_be_heard_of(self) -> None:
        pid = self.orphan()
        self.watching(alone=True)
        self.pass_time(1.9)
        self.assertEqual(self.wait_for(pid), 4)

    def test_nobody_is_waited_for_twice_by_its_pid(self) -> None:
        self.watching(alone=True)
        for _ in range(2):
            pid = self.orphan()
            self.pass_time(2)
            self.assertIsNone(self.wait_for(pid))
        pid = self.orphan()
        self.pass_time(1)
        self.assertEqual(self.wait_for(pid), 4)

    def test_children_of_a_service_are_its_own(self) -> None:
        pid = self.child(session=True)
        ended: list[Any] = []
        reactor = FakeReactor()
        processes.adopt(reactor, reactor, pid, ended.append)
        orphan = self.orphan()
        self.watching(alone=True)
        self.pass_time(5)
        self.assertIsNone(self.wait_for(orphan))
        reactor.turn_until(lambda: ended)
        self.assertEqual(ended[0].value.exitCode, 3)
        self.assertFalse(processes.is_ours(pid))

    def test_what_twisted_waits_for_is_twisteds(self) -> None:
        pid = self.child(session=True)
        self.patch(orphans, "reapProcessHandlers", {pid: None})
        self.watching(alone=True)
        self.pass_time(5)
        self.assertEqual(self.wait_for(pid), 3)

    def test_an_applications_children_are_the_applications(self) -> None:
        for session in (False, True):
            command = [sys.executable, "-c", "raise SystemExit(5)"]
            started = subprocess.Popen(command, start_new_session=session)
            os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
            orphan = self.orphan()
            self.watching(alone=False)
            self.pass_time(5)
            self.assertIsNone(self.wait_for(orphan))
            self.assertEqual(started.wait(TIME_LIMIT), 5)

    def test_who_lives_is_left_alone(self) -> None:
        pid = forked(signal.pause)
        self.addCleanup(self.wait_for, pid)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        orphan = self.orphan()
        self.watching(alone=True)
        self.pass_time(5)
        self.assertIsNone(self.wait_for(orphan))
        os.kill(pid, 0)

    def test_once_stopped_it_looks_no_more(self) -> None:
        pid = self.orphan()
        self.watching(alone=True).stop()
        self.pass_time(5)
        self.assertEqual(self.wait_for(pid), 4)

    def test_where_orphans_go_elsewhere_nothing_is_done(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        self.watching(alone=True)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_first_process_of_a_container_has_them(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        self.assertFalse(orphans.come_here())
        self.patch(os, "getpid", lambda: 1)
        self.assertTrue(orphans.come_here())
