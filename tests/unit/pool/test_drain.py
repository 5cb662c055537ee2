"""Tests for draining: from "stop" to the last child, told every ten seconds."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.unit.cases import Case
from tests.unit.fakes import journal_of, pass_time
from tests.unit.world import World, process_of
from twisted_fork.pool.child import Child
from twisted_fork.pool.drain import Drain
from twisted_fork.pool.pool import Pool


class DrainTests(Case):
    """Of a pool among fakes."""

    def begin(self, children: int = 2, grace: float = 1000.0) -> Deferred[None]:
        self.world = World()
        self.lines: list[str] = []
        self.templates_killed = 0
        self.patch(self.world.launcher, "kill", self.kill_templates)
        for _ in range(children):
            self.world.connect()
        self.busy: list[Child] = list(self.world.launcher.launched)
        for child in self.busy:
            self.world.live(child)
        self.drain = Drain(self.world.clock, self.world.pool, journal_of(self.lines), grace)
        over = self.drain.begin()
        assert self.world.launcher.stopped is not None
        self.world.launcher.stopped.callback(None)
        return over

    def kill_templates(self) -> None:
        self.templates_killed += 1

    def end(self, *children: Child) -> None:
        for child in children:
            self.world.end(child)

    def signals(self) -> list[list[str]]:
        return [process_of(child).signals for child in self.busy]

    def after_it(self, over: Deferred[Any]) -> None:
        """It is over, and there is nothing to do any more."""
        self.successResultOf(over)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_every_ten_seconds_it_says_how_many_are_left(self) -> None:
        over = self.begin(3)
        self.assertEqual(self.lines, ["stopping children=3 grace=1000.000"])
        pass_time(self.world.clock, 9.9)
        self.assertEqual(len(self.lines), 1)
        pass_time(self.world.clock, 0.2)
        self.end(self.busy[0])
        pass_time(self.world.clock, 10)
        self.end(self.busy[1])
        pass_time(self.world.clock, 20)
        self.assertEqual(self.lines[1:], [f"draining children={left}" for left in (3, 2, 1, 1)])
        self.assertNoResult(over)
        self.end(self.busy[2])
        self.after_it(over)

    def test_nobody_is_signalled_before_the_grace_has_passed(self) -> None:
        over = self.begin(grace=60)
        pass_time(self.world.clock, 59)
        self.assertEqual(self.signals(), [[], []])
        pass_time(self.world.clock, 2)
        self.assertEqual(self.signals(), [["TERM"], ["TERM"]])
        pass_time(self.world.clock, 57)
        self.assertEqual(self.signals(), [["TERM"], ["TERM"]])
        pass_time(self.world.clock, 2)
        self.assertEqual(self.signals(), [["TERM", "KILL"]] * 2)
        self.assertNoResult(over)

    def test_asked_again_it_does_not_wait(self) -> None:
        self.begin()
        self.drain.hurry()
        self.assertEqual(self.signals(), [["TERM"], ["TERM"]])
        self.assertEqual(self.lines[-1], "children signalled signal=SIGTERM children=2")
        self.drain.hurry()
        self.assertEqual(self.signals(), [["TERM", "KILL"]] * 2)
        self.assertEqual(self.lines[-1], "children signalled signal=SIGKILL children=2")
        self.assertEqual(self.templates_killed, 1)

    def test_asked_a_fourth_time_it_has_done_what_it_can(self) -> None:
        over = self.begin(1)
        for _ in range(5):
            self.drain.hurry()
        self.assertEqual(self.signals(), [["TERM", "KILL"]])
        self.end(*self.busy)
        self.after_it(over)

    def test_the_second_grace_begins_when_sigterm_was_sent(self) -> None:
        self.begin(1, grace=60)
        pass_time(self.world.clock, 50)
        self.drain.hurry()
        pass_time(self.world.clock, 59)
        self.assertEqual(self.signals(), [["TERM"]])
        pass_time(self.world.clock, 2)
        self.assertEqual(self.signals(), [["TERM", "KILL"]])

    def test_it_goes_on_telling_how_many_are_left_whatever_they_were_sent(self) -> None:
        self.begin(1, grace=21)
        pass_time(self.world.clock, 41)
        self.assertEqual(self.lines.count("draining children=1"), 4)

    def test_whom_even_sigkill_does_not_end_it_waits_for_no_longer_than_a_second(self) -> None:
        over = self.begin(2, grace=12)
        pass_time(self.world.clock, 24.5)
        self.assertNoResult(over)
        pass_time(self.world.clock, 0.5)
        self.after_it(over)
        self.assertEqual(self.lines[-1], "children left behind children=2")
        self.end(*self.busy)

    def test_while_killed_children_end_it_waits_for_the_others(self) -> None:
        over = self.begin(3, grace=12)
        pass_time(self.world.clock, 24)
        for child in self.busy:
            self.assertNoResult(over)
            pass_time(self.world.clock, 0.8)
            self.end(child)
        self.after_it(over)
        self.assertNotIn("left behind", self.lines[-1])

    def test_where_the_pool_cannot_be_stopped_its_children_are_killed_at_once(self) -> None:
        def fail(*_: object) -> Deferred[None]:
            raise ZeroDivisionError

        self.patch(Pool, "stop", fail)
        self.world = World()
        self.lines = []
        self.templates_killed = 0
        self.patch(self.world.launcher, "kill", self.kill_templates)
        self.world.connect()
        self.busy = list(self.world.launcher.launched)
        self.world.live(self.busy[0])
        drain = Drain(self.world.clock, self.world.pool, journal_of(self.lines), 1000)
        over = drain.begin()
        self.assertEqual((self.signals(), self.templates_killed), ([["KILL"]], 1))
        self.assertNoResult(over)
        pass_time(self.world.clock, 1)
        self.successResultOf(over)

    def test_spares_are_not_counted(self) -> None:
        self.world = World(spare_children=2)
        self.lines = []
        self.world.spare()
        self.world.spare()
        self.world.connect()
        self.world.spare()
        drain = Drain(self.world.clock, self.world.pool, journal_of(self.lines), 100.0)
        drain.begin()
        pass_time(self.world.clock, 10)
        self.assertEqual(self.lines, ["stopping children=1 grace=100.000", "draining children=1"])

    def test_who_finishes_in_time_is_never_signalled(self) -> None:
        over = self.begin()
        pass_time(self.world.clock, 5)
        self.end(*self.busy)
        self.after_it(over)
        self.assertEqual(self.signals(), [[], []])

    def test_an_idle_pool_has_nothing_to_drain(self) -> None:
        over = self.begin(0)
        self.after_it(over)
