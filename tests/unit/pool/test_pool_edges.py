"""Tests for the pool at its edges: what is told once, not at all, or a moment too late."""

from __future__ import annotations

import os
import signal
from typing import Any, cast

from twisted.internet.error import ProcessExitedAlready

from tests.unit.cases import Case
from tests.unit.fakes import NO_PID, FakeProcess, pass_time
from tests.unit.world import FakeChannel, RecordingProtocol, World, channel_of, process_of
from twisted_fork.kernel.channels import Channel
from twisted_fork.pool.child import Child, State
from twisted_fork.wire import messages

QUIET = 0.01
"""More seconds than it takes to notice that nothing happens."""


class Unexpected(BaseException):
    """Nobody expects it."""


def raising_once(function: Any) -> Any:
    """*function*, but the first call raises."""
    calls: list[object] = []

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise Unexpected
        return function(*arguments)

    return call


class SettlingTests(Case):
    """Something has changed."""

    def test_when_those_who_waited_are_placed_others_are_let_in(self) -> None:
        world = World(max_children=2)
        world.pool.launcher_changed()
        world.launcher.is_ready = False
        world.connect()
        self.assertFalse(world.pool.places.may_accept())
        rooms = world.rooms
        world.launcher.is_ready = True
        world.pool.launcher_changed()
        self.assertEqual((len(world.launcher.launched), world.rooms), (1, rooms + 1))

    def test_while_connections_wait_nobody_looks_for_spares(self) -> None:
        world = World(spare_children=1)
        world.launcher.is_ready = False
        world.connect()
        pass_time(world.clock, QUIET)
        world.pool.launcher_changed()
        self.assertEqual(len(world.pool.places.waiting), 1)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_others_are_let_in_when_the_end_of_a_child_is_told_again_after_a_fault(self) -> None:
        world = World(max_children=1)
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        self.assertFalse(world.pool.places.may_accept())
        rooms = world.rooms
        self.patch(world.pool.places, "_room", raising_once(world._room))
        self.patch(world.pool.journal, "fault", raising_once(world.pool.journal.fault))
        self.assertRaises(Unexpected, world.end, child)
        self.assertEqual(world.rooms, rooms)
        world.end(child)
        self.assertEqual(world.rooms, rooms + 1)

    def test_a_fault_while_spares_are_seen_to_does_not_end_that(self) -> None:
        world = World(spare_children=1)
        world.pool.placement.launch(None)
        self.patch(os, "killpg", lambda group, number: None)
        self.patch(world.pool.upkeep, "look_after", raising_once(world.pool.upkeep.look_after))
        world.live(world.launcher.launched[0])
        self.assertIs(world.launcher.launched[0].state, State.LEAVING)
        pass_time(world.clock, QUIET)
        self.assertEqual(len(world.launcher.launched), 2)


class UpkeepTests(Case):
    """Spares that are still to be ordered, and those that are too many."""

    def test_what_could_not_be_ordered_is_as_soon_as_anything_happens(self) -> None:
        world = World(spare_children=1)
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        world.launcher.is_ready = False
        pass_time(world.clock, QUIET)
        world.launcher.is_ready = True
        world.end(child)
        pass_time(world.clock, QUIET)
        self.assertEqual(len(world.launcher.launched), 2)

    def test_none_is_ordered_that_has_become_too_many(self) -> None:
        world = World(spare_children=1, connections_per_child=2)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        world.says(child, messages.READY)
        self.assertNotEqual(world.clock.getDelayedCalls(), [], "one was to be ordered")
        pass_time(world.clock, QUIET)
        self.assertEqual(len(world.launcher.launched), 1)

    def test_one_that_is_too_many_goes(self) -> None:
        world = World(spare_children=1)
        first, second = world.spare(), world.spare()
        world.pool.launcher_changed()
        pass_time(world.clock, 10.1)
        self.assertEqual((first.state, second.state), (State.LEAVING, State.IDLE))

    def test_spares_are_seen_to_once_for_each_change(self) -> None:
        world = World(spare_children=1)
        world.pool.launcher_changed()
        self.assertFalse(world.pool.children.changed)


class ChildTests(Case):
    """Children that are told of, signalled or lost at an unusual moment."""

    def test_a_protocol_that_was_not_told_of_a_life_is_not_told_of_its_end(self) -> None:
        world = World()
        world.connect()
        (child,) = world.launcher.launched
        child.lives(FakeProcess(NO_PID))
        child.channel = cast(Channel, FakeChannel())
        world.end(child, signal.SIGKILL)
        self.assertEqual(cast(RecordingProtocol, child.protocol).told, [])

    def test_one_whose_time_is_up_and_says_that_it_is_ready_has_its_grace_all_the_same(
        self,
    ) -> None:
        self.patch(os, "killpg", lambda group, number: None)
        world = World(connections_per_child=3, session_timeout=10.0)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        pass_time(world.clock, 10.1)
        signals = list(process_of(child).signals)
        world.says(child, messages.READY)
        self.assertEqual(process_of(child).signals, signals)
        self.assertFalse([line for line in world.lines if "channel protocol error" in line])

    def test_one_that_has_ended_is_given_no_connection_that_waits(self) -> None:
        world = World(connections_per_child=2)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        world.launcher.is_ready = False
        waits = world.connect()
        channel_of(child).unheard = lambda: world.says(child, messages.READY)
        world.end(child, signal.SIGSEGV)
        self.assertEqual((waits.tries, list(world.pool.places.waiting)), (0, [waits]))

    def test_one_that_closed_its_channel_while_it_waited_has_died(self) -> None:
        world = World(spare_children=1)
        child = world.spare()
        pass_time(world.clock, 100)
        world.pool.channel_lost(child)
        world.end(child, signal.SIGKILL)
        self.assertEqual(
            world.lines, [f"idle child ended pid={process_of(child).pid} signal=SIGKILL"]
        )

    def test_one_that_ends_in_the_moment_of_a_signal_needs_none(self) -> None:
        class Ending(FakeProcess):
            def signalProcess(self, signalID: str | int) -> None:
                raise ProcessExitedAlready

        child = Child(1, RecordingProtocol(), 0.0, 1)
        child.lives(Ending(NO_PID))
        child.kill()

    def test_one_whose_time_is_up_is_overdue(self) -> None:
        self.patch(os, "killpg", lambda group, number: None)
        world = World(session_timeout=10.0)
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        pass_time(world.clock, 10.1)
        self.assertIs(child.state, State.OVERDUE)
