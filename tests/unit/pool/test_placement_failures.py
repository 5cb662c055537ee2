"""Tests for connections while no child can be made, or nothing can be sent to any."""

from __future__ import annotations

import errno
import os
from itertools import pairwise

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.world import World, channel_of, process_of
from twisted_fork.pool.child import State


class FailingTests(Case):
    """When no child can be made."""

    def setUp(self) -> None:
        self.world = World()
        self.world.launcher.error = OSError(errno.EAGAIN, "Resource temporarily unavailable")

    def test_the_connection_is_kept_and_tried_again_with_a_growing_delay(self) -> None:
        world = self.world
        connection = world.connect()
        waits = []
        for _ in range(4):
            (call,) = world.clock.getDelayedCalls()
            waits.append(round(call.getTime() - world.clock.seconds(), 6))
            world.clock.advance(waits[-1])
        self.assertEqual([later / earlier for earlier, later in pairwise(waits)], [2.0] * 3)
        self.assertFalse(connection.closed)
        world.launcher.error = None
        world.clock.advance(5)
        (child,) = world.launcher.launched
        self.assertIs(child.connection, connection)

    def test_a_spell_is_logged_once_and_so_is_its_end(self) -> None:
        world = self.world
        world.connect()
        world.clock.pump([0.05, 0.1, 0.2])  # the first delays of a spell
        self.assertEqual(
            world.lines,
            ["launch failing errno=EAGAIN reason='Resource temporarily unavailable' retry=0.050"],
        )
        world.launcher.error = None
        world.clock.advance(5)
        world.live(world.launcher.launched[0])
        self.assertEqual(world.lines[1], "launch recovered failures=4")
        self.assertFalse([line for line in world.lines[2:] if "launch" in line])

    def test_of_several_that_failed_each_goes_to_a_spare_that_waits(self) -> None:
        world = World(max_children=9)
        connections = [world.connect() for _ in range(2)]
        first, second = world.launcher.launched
        spares = [world.spare() for _ in range(2)]
        for child in (first, second):
            world.pool.failed(child, errno.EAGAIN)
        self.assertEqual({spare.connection for spare in spares}, set(connections))

    def test_children_that_the_template_could_not_fork_are_the_same(self) -> None:
        world = self.world
        world.launcher.error = None
        connections = [world.connect() for _ in range(3)]
        for child in list(world.launcher.launched):
            world.pool.failed(child, errno.EAGAIN)
        self.assertEqual(len(world.lines), 1)
        self.assertEqual(len(world.pool.places.waiting), 3)
        world.clock.advance(5)
        self.assertEqual({c.connection for c in world.launcher.launched[3:]}, set(connections))


class FailingAmongOthersTests(Case):
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


class FullKernelTests(Case):
    """When nothing can be sent to any child."""

    def setUp(self) -> None:
        self.world = World(max_children=3)
        self.spares = [self.world.spare(), self.world.spare()]
        self.channels = [channel_of(spare) for spare in self.spares]
        self.full(errno.ETOOMANYREFS)

    def full(self, number: int | None) -> None:
        for channel in self.channels:
            channel.error = None if number is None else OSError(number, os.strerror(number))

    def hinder_launches(self) -> None:
        self.world.launcher.error = OSError(errno.EAGAIN, "no more")

    def test_spares_stay_and_the_connection_goes_to_a_new_child(self) -> None:
        world = self.world
        connection = world.connect()
        self.assertEqual(world.launcher.launched[-1].connection, None)
        self.assertEqual((world.pool.children.idle, len(world.pool.places.waiting)), (2, 1))
        other = world.connect()  # nobody is tried again before it is time
        self.assertIs(world.launcher.launched[-1].connection, other)
        self.assertEqual([process_of(spare).signals for spare in self.spares], [[], []])
        self.assertFalse(connection.closed)

    def test_who_waits_is_handed_over_when_it_is_time(self) -> None:
        world = self.world
        self.hinder_launches()
        connections = [world.connect(), world.connect()]
        self.full(None)
        self.assertEqual(len(world.pool.places.waiting), 2)
        world.clock.advance(0.05)
        self.assertEqual({spare.connection for spare in self.spares}, set(connections))

    def test_a_spell_is_logged_once_and_so_is_its_end(self) -> None:
        world = self.world
        self.hinder_launches()
        world.connect()
        world.clock.pump([0.05, 0.1, 0.2])
        why = "errno=ETOOMANYREFS reason='Too many references: cannot splice'"
        self.assertEqual(
            [line for line in world.lines if "hand" in line],
            [f"hand-over failing {why} retry=0.050"],
        )
        self.full(None)
        world.clock.advance(0.5)
        self.assertIn("hand-over recovered failures=4", world.lines)
        self.assertEqual(len(world.pool.places.waiting), 0)

    def test_it_is_tried_twice_a_second_at_least(self) -> None:
        world = self.world
        self.hinder_launches()
        connection = world.connect()
        pass_time(world.clock, 5)
        self.full(None)
        world.clock.advance(0.5)
        self.assertIn(connection, [spare.connection for spare in self.spares])

    def test_too_little_memory_is_the_same(self) -> None:
        for number in (errno.ENOMEM, errno.ENOBUFS):
            self.full(number)
            self.world.connect()
            self.assertEqual([process_of(spare).signals for spare in self.spares], [[], []])
            self.full(None)
            self.world.clock.advance(1)
            self.assertEqual(len(self.world.pool.places.waiting), 0)

    def test_whoever_stops_waits_for_no_better_time(self) -> None:
        world = self.world
        self.hinder_launches()
        connection = world.connect()
        world.pool.stop()
        self.assertTrue(connection.closed)
        soon = [call for call in world.clock.getDelayedCalls() if call.getTime() < 1]
        self.assertEqual(soon, [])  # later on those who do not go are killed

    def test_while_stopping_it_is_refused(self) -> None:
        world = World()
        connection = world.connect()
        (child,) = world.launcher.launched
        world.pool.stop()
        world.full = True
        world.live(child, took=False)
        self.assertTrue(connection.closed)
        self.assertIn(
            f"connection refused peer={connection.peer} reason='shutting down'", world.lines
        )
        self.assertIs(child.state, State.LEAVING)
        self.assertFalse([line for line in world.lines if "failing" in line])
        soon = [call for call in world.clock.getDelayedCalls() if call.getTime() < 1]
        self.assertEqual(soon, [])
