"""Tests for what is done with a child whose channel is lost, or that ends."""

from __future__ import annotations

import signal
from typing import Any, cast

from twisted.python.failure import Failure

from tests.unit.cases import Case
from tests.unit.fakes import NO_PID, FakeProcess
from tests.unit.world import FakeChannel, RecordingProtocol, World, channel_of, process_of
from twisted_fork.kernel.channels import Channel
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

    def test_one_that_never_was_does_not_keep_the_pool_from_its_end(self) -> None:
        world = World()
        world.pool.placement.launch(None)
        stopped = world.pool.stop()
        assert world.launcher.stopped is not None
        world.launcher.stopped.callback(None)
        self.assertNoResult(stopped)
        world.pool.never_was(world.launcher.launched[0])
        self.successResultOf(stopped)
