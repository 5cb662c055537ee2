"""Tests for time limits: when they end a connection, and how."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tests.unit.fakes import NO_PID, FakeReactor, journal_of, pass_time
from tests.unit.pool.cases import FIRST, DeadlineCase
from twisted_fork.ending import Ending
from twisted_fork.kernel.processes import ForkedProcess
from twisted_fork.pool.child import Child, ChildProtocol
from twisted_fork.pool.deadlines import Deadline, end_group, limit_of
from twisted_fork.settings import Settings
from twisted_fork.wire import messages


class DeadlineTests(DeadlineCase):
    """SIGTERM to the group, then SIGKILL."""

    def test_a_session_ends_when_it_has_lasted_long_enough(self) -> None:
        self.limit(session=60)
        pass_time(self.clock, 59.9)
        self.assertEqual(self.groups, [])
        pass_time(self.clock, 0.2)
        self.assertEqual(self.groups, [(NO_PID, signal.SIGTERM)])
        self.assertEqual(
            self.lines,
            [
                f"limit reached peer=192.0.2.1:5000 pid={NO_PID} limit=session-timeout",
            ],
        )

    def test_who_does_not_obey_is_killed(self) -> None:
        self.limit(session=60, grace=7)
        pass_time(self.clock, 66.9)
        self.assertEqual(len(self.groups), 1)
        pass_time(self.clock, 0.2)
        self.assertEqual(self.groups[1:], [(NO_PID, signal.SIGKILL)])

    def test_who_obeys_is_not_killed(self) -> None:
        self.limit(session=60)
        pass_time(self.clock, 61)
        self.child.over()
        pass_time(self.clock, 100)
        self.assertEqual(len(self.groups), 1)

    def test_a_connection_that_ends_in_time_has_no_deadline_any_more(self) -> None:
        self.limit(session=60, idle=10)
        self.child.over()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.child.traffic)

    def test_one_that_is_idle_for_long_enough_ends(self) -> None:
        self.limit(idle=10)
        pass_time(self.clock, 9.9)
        self.assertEqual(self.groups, [])
        pass_time(self.clock, 0.2)
        self.assertEqual(self.groups, [(NO_PID, signal.SIGTERM)])
        self.assertIn("limit=idle-timeout", self.lines[0])

    def test_one_whose_bytes_flow_does_not(self) -> None:
        self.limit(idle=10)
        for _ in range(20):
            pass_time(self.clock, 9)
            self.traffic.flow()
        self.assertEqual(self.groups, [])
        pass_time(self.clock, 10.1)
        self.assertEqual(len(self.groups), 1)

    def test_it_looks_only_when_it_may_be_time(self) -> None:
        self.limit(idle=10)
        pass_time(self.clock, 9)
        self.traffic.flow()
        pass_time(self.clock, 2)
        (call,) = self.clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime(), FIRST + 19)

    def test_one_that_has_a_moment_left_is_given_it(self) -> None:
        self.limit(idle=10)
        pass_time(self.clock, 0.5)
        self.traffic.flow()
        pass_time(self.clock, 9.9)
        self.assertEqual(self.groups, [])
        pass_time(self.clock, 0.2)
        self.assertEqual(len(self.groups), 1)

    def test_one_whose_traffic_cannot_be_known_is_never_idle(self) -> None:
        journal, child = journal_of(self.lines), self.child
        deadline = Deadline(self.clock, journal, child, self.fail, None, 10.0, 5.0)
        deadline.begin()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_went_over_it_until_then_is_remembered(self) -> None:
        self.limit(idle=10)
        pass_time(self.clock, 10.1)
        self.assertEqual(self.child.amount, (3, 4))

    def test_a_child_whose_connection_is_gone_has_as_much_time_again(self) -> None:
        self.limit(idle=10)
        pass_time(self.clock, 5)
        self.traffic.gone = True
        pass_time(self.clock, 14.9)
        self.assertEqual(self.groups, [])
        pass_time(self.clock, 0.2)
        self.assertEqual(self.groups, [(NO_PID, signal.SIGTERM)])
        self.assertIsNone(self.child.amount)

    def test_it_has_as_much_time_again_however_often_it_was_looked_at_before(self) -> None:
        self.limit(idle=10)
        answers = iter([1.0, None, 1.0, None, None])
        self.patch(self.traffic, "idle", lambda: next(answers))
        pass_time(self.clock, 10 + 9 + 10 + 9 + 9.9)
        self.assertEqual(self.groups, [])
        pass_time(self.clock, 0.2)
        self.assertEqual(self.groups, [(NO_PID, signal.SIGTERM)])

    def test_a_child_of_whom_the_kernel_does_not_tell_is_looked_at_again_later(self) -> None:
        self.limit(idle=10)
        self.traffic.secret = True
        pass_time(self.clock, 35)
        self.assertEqual(self.groups, [])
        self.traffic.secret = False
        pass_time(self.clock, 5.1)
        self.assertEqual(self.groups, [(NO_PID, signal.SIGTERM)])

    def test_the_first_limit_that_is_reached_is_told_and_no_other(self) -> None:
        self.limit(session=12, idle=10, grace=100)
        pass_time(self.clock, 50)
        self.assertEqual(len(self.lines), 1)
        self.assertEqual(len(self.groups), 1)
        self.assertEqual(self.deadline.limit, "idle-timeout")

    def test_without_limits_nothing_happens(self) -> None:
        self.limit()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndGroupTests(DeadlineCase):
    """The instant before a child leads its group, and children that never lived."""

    def test_a_child_that_does_not_lead_a_group_yet_is_signalled_alone(self) -> None:
        def no_such_group(group: int, number: int) -> None:
            raise ProcessLookupError

        self.patch(os, "killpg", no_such_group)
        end_group(self.child, signal.SIGTERM)
        self.assertEqual(self.process.signals, ["TERM"])

    def test_so_is_one_that_has_left_its_group(self) -> None:
        leads = True
        self.patch(os, "getpgid", lambda pid: pid if leads else pid + 1)
        end_group(self.child, signal.SIGTERM)
        self.assertEqual(self.process.signals, [])
        leads = False
        end_group(self.child, signal.SIGTERM)
        self.assertEqual(self.process.signals, ["TERM"])
        self.assertEqual(self.groups, [(NO_PID, signal.SIGTERM)] * 2)

    def test_sigkill_reaches_the_child_wherever_it_goes(self) -> None:
        self.patch(os, "getpgid", lambda pid: pid)
        end_group(self.child, signal.SIGKILL)
        self.assertEqual(self.process.signals, ["KILL"])
        self.assertEqual(self.groups, [(NO_PID, signal.SIGKILL)])

    def test_one_that_has_not_lived_yet_is_not_signalled(self) -> None:
        child = Child(2, ChildProtocol(), 0.0, 1)
        end_group(child, signal.SIGTERM)
        child.pid = NO_PID
        end_group(child, signal.SIGTERM)
        self.assertEqual(self.groups, [])

    def test_who_is_left_of_the_group_when_the_child_has_ended_is_killed(self) -> None:
        self.patch(os, "killpg", _REAL_KILLPG)
        reactor = FakeReactor()
        ends: list[Failure] = []
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _lead_a_deaf_grandchild(write)
        os.close(write)
        self.addCleanup(os.close, read)
        self.assertEqual(os.read(read, 1), b"!")
        process = ForkedProcess(reactor, reactor, pid, ends.append)
        self.child.lives(process)
        end_group(self.child, signal.SIGTERM)
        reactor.turn_until(lambda: ends)
        self.assertEqual(cast(ProcessTerminated, ends[0].value).signal, signal.SIGTERM)
        # the grandchild had the pipe, too
        self.assertEqual(os.read(read, 1), b"")


_REAL_KILLPG: Callable[[int, int], None] = os.killpg


def _lead_a_deaf_grandchild(write: int) -> None:
    """A child in a group of its own, whose child does not listen to SIGTERM."""
    try:
        os.setpgid(0, 0)
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, b"!")
            while True:
                signal.pause()
        os.close(write)
        while True:
            signal.pause()
    finally:
        os._exit(1)


class LimitOfTests(DeadlineCase):
    """Which limit ended a child."""

    def of(self, ending: ProcessDone | ProcessTerminated, **given: Any) -> str | None:
        return limit_of(self.child, Ending.of(Failure(ending)), Settings(**given))

    def test_the_kernels_own_signals_tell(self) -> None:
        self.assertEqual(self.of(ProcessTerminated(None, signal.SIGXCPU)), "cpu-seconds")
        self.assertEqual(self.of(ProcessTerminated(None, signal.SIGXFSZ)), "file-size")

    def test_another_end_is_no_limits(self) -> None:
        every = {"cpu_seconds": 1, "memory": 2**30, "tls_certificate": "cert.pem"}
        for ending in (
            ProcessDone(0),
            ProcessTerminated(1),
            ProcessTerminated(None, signal.SIGSEGV),
            ProcessTerminated(None, signal.SIGKILL),
        ):
            self.assertIsNone(self.of(ending))
            self.assertIsNone(self.of(ending, **every))

    def test_a_child_that_ran_out_of_memory_says_so(self) -> None:
        ending = ProcessTerminated(messages.EXIT_MEMORY)
        self.assertEqual(self.of(ending, memory=2**30), "memory")
        self.assertIsNone(self.of(ending))

    def test_a_child_whose_peer_did_not_shake_hands_says_so(self) -> None:
        ending = ProcessTerminated(messages.EXIT_HANDSHAKE)
        self.assertEqual(self.of(ending, tls_certificate="cert.pem"), "handshake-timeout")
        self.assertIsNone(self.of(ending))

    def test_killed_after_its_cpu_time_it_had_ignored_the_signal(self) -> None:
        ending = ProcessTerminated(None, signal.SIGKILL)
        for used, limit in ((2.01, "cpu-seconds"), (2.0, None), (1.9, None)):
            usage = SimpleNamespace(ru_utime=used - 0.5, ru_stime=0.5)
            self.child.process = cast(Any, SimpleNamespace(usage=usage))
            self.assertEqual(self.of(ending, cpu_seconds=2), limit)
            self.assertIsNone(self.of(ending))

    def test_a_time_limit_is_told_however_the_child_ended(self) -> None:
        self.limit(session=1)
        pass_time(self.clock, 2)
        for ending in (ProcessDone(0), ProcessTerminated(None, signal.SIGKILL)):
            self.assertEqual(self.of(ending), "session-timeout")

    def test_one_that_was_not_reached_is_not_told(self) -> None:
        self.limit(session=10)
        self.assertIsNone(self.of(ProcessTerminated(None, signal.SIGKILL)))
