"""Tests for the children of a pool where something comes at an unusual moment."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any, cast

from twisted.python.failure import Failure

from tests.unit.cases import Case
from tests.unit.fakes import NO_PID, FakeProcess, pass_time
from tests.unit.world import FakeChannel, RecordingProtocol, World, channel_of, process_of
from twisted_fork.kernel.channels import Channel
from twisted_fork.pool.child import Child, State
from twisted_fork.wire import messages


class ChannelTests(Case):
    """Children without a channel, and channels without a child."""

    def test_one_that_waits_without_a_channel_is_killed_and_not_counted_on(self) -> None:
        world = World()
        world.pool.placement.launch(None)
        (child,) = world.launcher.launched
        child.lives(FakeProcess(NO_PID))
        world.pool.alive(child)
        self.assertEqual((process_of(child).signals, world.pool.children.idle), (["KILL"], 0))

    def test_one_that_was_given_a_connection_and_closes_its_channel_is_killed(self) -> None:
        world = World()
        child = world.spare()
        connection = world.connect()
        world.pool.channel_lost(child)
        self.assertEqual(process_of(child).signals, ["KILL"])
        world.end(child, signal.SIGKILL)
        self.assertIs(world.launcher.launched[-1].connection, connection)

    def test_one_that_serves_and_closes_its_channel_has_none(self) -> None:
        world = World(connections_per_child=2)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        world.pool.channel_lost(child)
        self.assertIsNone(child.channel)

    def test_that_of_one_that_broke_the_rules_is_closed(self) -> None:
        world = World()
        child = world.spare()
        channel = channel_of(child)
        world.says(child, messages.TAKEN)
        self.assertEqual((channel.closed, child.channel), (True, None))

    def test_that_of_one_that_has_ended_is_closed(self) -> None:
        world = World()
        child = world.spare()
        channel = channel_of(child)
        world.end(child)
        self.assertTrue(channel.closed)

    def test_one_that_lives_without_having_taken_its_connection_is_sent_it_over_its_own(
        self,
    ) -> None:
        world = World()
        connection = world.connect()
        (child,) = world.launcher.launched
        world.live(child, took=False)
        (message,) = channel_of(child).sent
        self.assertEqual(message.kind, messages.CONNECTION)
        self.assertEqual(message.descriptors, [connection.descriptor])


class EndingTests(Case):
    """Children that end."""

    def test_one_that_has_a_process_and_ends_before_it_lives_costs_no_connection(self) -> None:
        world = World()
        connection = world.connect()
        (child,) = world.launcher.launched
        child.lives(FakeProcess(NO_PID))
        child.channel = cast(Channel, FakeChannel())
        world.end(child, signal.SIGKILL)
        self.assertFalse(connection.closed)
        self.assertIs(world.launcher.launched[-1].connection, connection)
        self.assertIsNot(world.launcher.launched[-1], child)

    def test_its_protocol_is_told_that_it_has_exited_and_then_that_it_has_ended(self) -> None:
        class Exiting(RecordingProtocol):
            def processExited(self, reason: Failure) -> None:
                self.told.append("exited")

        world = World(protocol=Exiting)
        child = world.spare()
        world.end(child)
        told: list[Any] = cast(RecordingProtocol, child.protocol).told
        self.assertEqual(told[1:], ["exited", told[-1]])

    def test_time_limits_end_with_it(self) -> None:
        world = World(session_timeout=3600.0)
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        pass_time(world.clock, 10)
        self.assertEqual(len(world.clock.getDelayedCalls()), 1)
        world.end(child)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_one_that_never_was_does_not_keep_the_pool_from_its_end(self) -> None:
        world = World()
        world.pool.placement.launch(None)
        stopped = world.pool.stop()
        assert world.launcher.stopped is not None
        world.launcher.stopped.callback(None)
        self.assertNoResult(stopped)
        world.pool.never_was(world.launcher.launched[0])
        self.successResultOf(stopped)

    def test_one_that_has_long_waited_has_five_seconds_to_take_a_connection(self) -> None:
        self.patch(os, "killpg", lambda group, number: None)
        world = World(spare_children=1)
        child = world.spare()
        pass_time(world.clock, 100)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        world.launcher.is_ready = False
        world.connect()
        pass_time(world.clock, 5.1)
        self.assertEqual(process_of(child).signals, ["KILL"])


class WaitingTests(Case):
    """Connections that wait for a child."""

    def test_one_that_is_ready_again_is_given_the_first(self) -> None:
        world = World(connections_per_child=3)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        world.launcher.is_ready = False
        first, second = world.connect(), world.connect()
        self.assertEqual(len(world.pool.places.waiting), 2)
        world.says(child, messages.READY)
        self.assertIs(child.connection, first)
        self.assertEqual((len(world.pool.places.waiting), second.closed), (1, False))

    def test_a_thousand_are_given_to_children_that_live_at_once(self) -> None:
        world = World(max_children=2000)
        world.launcher.is_ready = False
        connections = [world.connect() for _ in range(1000)]
        world.launcher.is_ready = True
        launched: list[Child] = []

        def launch(child: Child) -> None:
            launched.append(child)
            world.live(child)

        self.patch(world.launcher, "launch", launch)
        world.pool.launcher_changed()
        self.assertEqual([child.connection for child in launched], connections)
        self.assertEqual({child.state for child in launched}, {State.SERVING})


class FailingTests(Case):
    """Children that cannot be made, while others are."""

    def next_call(self, world: World) -> float:
        """Seconds until then."""
        return min(c.getTime() for c in world.clock.getDelayedCalls()) - world.clock.seconds()

    def test_several_at_the_same_time_are_one_failure(self) -> None:
        world = World()
        for _ in range(3):
            world.connect()
        for child in list(world.launcher.launched):
            world.pool.failed(child, errno.EAGAIN)
        self.assertAlmostEqual(self.next_call(world), 0.05)
        world.launcher.error = OSError(errno.EAGAIN, "again")
        pass_time(world.clock, 0.05)
        self.assertAlmostEqual(self.next_call(world), 0.1)

    def test_once_the_pool_stops_it_is_no_matter(self) -> None:
        world = World()
        connection = world.connect()
        world.pool.stop()
        world.pool.failed(world.launcher.launched[0], errno.EAGAIN)
        self.assertTrue(connection.closed)
        refused = f"connection refused peer={connection.peer} reason='shutting down'"
        self.assertEqual(world.lines, [refused])

    def test_whoever_was_ordered_before_does_not_end_the_spell(self) -> None:
        world = World()
        world.connect()
        world.connect()
        early, failing = world.launcher.launched
        pass_time(world.clock, 1)
        world.pool.failed(failing, errno.EAGAIN)
        world.live(early)
        self.assertNotIn("launch recovered failures=1", world.lines)
        pass_time(world.clock, 1)
        world.live(world.launcher.launched[-1])
        self.assertIn("launch recovered failures=1", world.lines)

    def test_the_connection_is_given_to_one_that_waits(self) -> None:
        world = World()
        connection = world.connect()
        failing = world.launcher.launched[0]
        spare = world.spare()
        world.pool.failed(failing, errno.EAGAIN)
        self.assertIs(spare.connection, connection)
