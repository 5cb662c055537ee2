"""Tests for the clock that cannot be set."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from tests.unit.cases import Case
from twisted_fork.kernel.clock import keep_steady


class SteadyTests(Case):
    """The wall clock is what the test says."""

    def setUp(self) -> None:
        self.wall = self.monotonic = 0.0
        self.patch(time, "monotonic", lambda: self.monotonic)
        self.reactor: Any = SelectReactor()
        self.addCleanup(self.reactor.disconnectAll)
        for installed in (self.reactor.waker,):
            self.addCleanup(installed.connectionLost, None)
        self.reactor.seconds = lambda: self.wall
        self.called: list[str] = []

    def steady(self) -> None:
        wall = vars(self.reactor).pop("seconds")
        self.patch(type(self.reactor), "seconds", staticmethod(wall))
        keep_steady(self.reactor)

    def test_the_wall_clock_does_not_matter_any_more(self) -> None:
        self.wall = 1000.0
        self.steady()
        for self.wall in (-3600.0, 3600.0):
            self.monotonic += 1
            self.assertEqual(self.reactor.seconds(), self.monotonic)

    def test_calls_made_before_and_after_are_due_when_they_were(self) -> None:
        self.wall, self.monotonic = 1000.0, 7.0
        before = self.reactor.callLater(5, self.called.append, "before")
        self.steady()
        after = self.reactor.callLater(5, self.called.append, "after")
        self.wall = 0.0
        self.assertEqual((before.getTime(), after.getTime()), (12.0, 12.0))
        self.reactor.runUntilCurrent()
        self.assertEqual(self.called, [])
        self.monotonic = 12.0
        self.reactor.runUntilCurrent()
        self.assertEqual(sorted(self.called), ["after", "before"])

    def test_done_twice_it_does_nothing(self) -> None:
        self.steady()
        call = self.reactor.callLater(5, self.called.append, "once")
        self.monotonic = 3.0
        keep_steady(self.reactor)
        self.assertEqual(call.getTime(), 5.0)

    def test_a_clock_that_is_no_reactor_stays_as_it_is(self) -> None:
        clock = Clock()
        keep_steady(clock)
        clock.advance(3)
        self.assertEqual(clock.seconds(), 3.0)
