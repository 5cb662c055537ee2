"""
What test cases of a pool have in common.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import NO_PID, FakeProcess, journal_of
from tests.unit.world import FakeConnection, RecordingProtocol, World
from twisted_fork.kernel.traffic import Traffic
from twisted_fork.pool.child import Child, ChildProtocol, State
from twisted_fork.pool.deadlines import Deadline


def told(child: Child) -> list[object]:
    """What the protocol of a child was told."""
    return cast(RecordingProtocol, child.protocol).told


class Unexpected(BaseException):
    """Nobody expects it, and it is not even an Exception."""


def raising(*arguments: object, **named: object) -> Any:
    """In the place of a function."""
    raise Unexpected


class Once:
    """In the place of a function: raises the first time, then calls it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.raised = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if not self.raised:
            self.raised = True
            raise Unexpected
        return self.function(*arguments, **named)


class FaultCase(Case):
    """A pool among fakes, whose children are in no groups."""

    def setUp(self) -> None:
        self.groups: list[tuple[int, int]] = []
        self.patch(os, "killpg", lambda *which: self.groups.append(which))
        self.world = World(connections_per_child=2)

    def serving(self) -> tuple[Child, FakeConnection]:
        """A child that serves a connection."""
        connection = self.world.connect()
        child = self.world.launcher.launched[-1]
        self.world.live(child)
        self.assertIs(child.state, State.SERVING)
        return child, connection

    def fault(self, child: Child) -> None:
        try:
            raising()
        except Unexpected:
            self.world.pool.fault(child)

    def abandon(self, connection: FakeConnection) -> None:
        try:
            raising()
        except Unexpected:
            self.world.pool.abandon(connection)

    def assertOver(self, connection: FakeConnection) -> None:
        """It is closed, and counts for its source no more."""
        self.assertTrue(connection.closed)
        self.assertEqual(self.world.pool.places.sources.alive(connection.source), 0)

    def next_call(self) -> float:
        """Seconds until then."""
        clock = self.world.clock
        return min(call.getTime() for call in clock.getDelayedCalls()) - clock.seconds()

    def faults(self) -> list[str]:
        """The lines that say so."""
        return [line for line in self.world.lines if "Unexpected" in line]


FIRST = 100.0
"""When the connection of these tests begins."""


class FakeTraffic:
    """Bytes come and go when the test says so."""

    def __init__(self, clock: Clock) -> None:
        self.gone = self.secret = False
        self._clock = clock
        self._last = clock.seconds()

    def flow(self) -> None:
        self._last = self._clock.seconds()

    def idle(self) -> float | None:
        if self.secret:
            raise PermissionError
        return None if self.gone else self._clock.seconds() - self._last

    def amount(self) -> tuple[int, int] | None:
        return None if self.gone else (3, 4)


class DeadlineCase(Case):
    """A child whose process is a fake, so that its group does not exist."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(FIRST)
        self.lines: list[str] = []
        self.groups: list[tuple[int, int]] = []
        self.patch(os, "killpg", self.killpg)
        self.child = Child(1, ChildProtocol(), FIRST, 1)
        self.process = FakeProcess(NO_PID)
        self.child.lives(self.process)
        self.child.peer = "192.0.2.1:5000"
        self.traffic = FakeTraffic(self.clock)

    def killpg(self, group: int, number: int) -> None:
        self.groups.append((group, number))

    def limit(
        self, session: float | None = None, idle: float | None = None, grace: float = 5.0
    ) -> Deadline:
        self.child.traffic = cast(Traffic, self.traffic) if idle is not None else None
        self.deadline = Deadline(
            self.clock,
            journal_of(self.lines),
            self.child,
            lambda child: None,
            session,
            idle,
            grace,
        )
        self.child.deadline = self.deadline
        self.deadline.begin()
        return self.deadline
