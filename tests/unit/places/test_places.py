"""Tests for what the pool counts: who is let in, whose place is kept, who goes to make room."""

from __future__ import annotations

import errno
import os

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.world import FakeConnection, World, channel_of, process_of
from twisted_fork.pool.child import Breach, Child, State
from twisted_fork.wire import messages

SOON = 0.01
"""More seconds than it takes to order a spare when nothing happens."""


class RoomTests(Case):
    """Whether one more connection may be accepted, and when others are let in."""

    def test_not_when_as_many_are_served_as_may_be(self) -> None:
        world = World(max_children=2)
        world.connect()
        self.assertTrue(world.pool.places.may_accept())
        world.connect()
        self.assertFalse(world.pool.places.may_accept())
        first, _ = world.launcher.launched
        world.live(first)
        self.assertFalse(world.pool.places.may_accept())
        rooms = world.rooms
        world.end(first)
        self.assertTrue(world.pool.places.may_accept())
        self.assertGreater(world.rooms, rooms)

    def test_not_while_the_launcher_is_not_ready_unless_a_child_waits(self) -> None:
        world = World()
        spare = world.spare()
        world.launcher.is_ready = False
        self.assertTrue(world.pool.places.may_accept())
        world.end(spare)
        self.assertFalse(world.pool.places.may_accept())
        rooms = world.rooms
        world.launcher.is_ready = True
        world.pool.launcher_changed()
        self.assertEqual((world.pool.places.may_accept(), world.rooms), (True, rooms + 1))

    def test_not_while_another_connection_waits(self) -> None:
        world = World()
        connection = world.connect()
        world.launcher.is_ready = False
        world.pool.never_was(world.launcher.launched[0])
        world.launcher.is_ready = True
        self.assertFalse(world.pool.places.may_accept())
        world.pool.launcher_changed()
        self.assertIs(world.launcher.launched[1].connection, connection)
        self.assertTrue(world.pool.places.may_accept())

    def test_not_in_a_failing_spell(self) -> None:
        world = World()
        world.launcher.error = OSError(errno.EAGAIN, "again")
        world.connect()
        self.assertFalse(world.pool.places.may_accept())

    def test_not_once_it_stops(self) -> None:
        world = World()
        world.spare()
        world.pool.stop()
        self.assertFalse(world.pool.places.may_accept())

    def test_once_for_each_time_that_somebody_was_kept_out(self) -> None:
        world = World(max_children=1)
        world.pool.launcher_changed()
        self.assertEqual(world.rooms, 1, "nobody had been let in")
        world.pool.launcher_changed()
        world.connect()
        child = world.launcher.launched[0]
        world.live(child)
        world.end(child)
        self.assertEqual(world.rooms, 1, "nobody has been kept out")
        world.connect()
        self.assertFalse(world.pool.places.may_accept())
        child = world.launcher.launched[1]
        world.live(child)
        world.end(child)
        self.assertEqual(world.rooms, 2)

    def test_not_while_there_is_none(self) -> None:
        world = World(max_children=1)
        world.pool.launcher_changed()
        world.connect()
        self.assertFalse(world.pool.places.may_accept())
        world.pool.launcher_changed()
        self.assertEqual(world.rooms, 1)

    def test_not_because_somebody_may_come_in(self) -> None:
        world = World()
        world.pool.launcher_changed()
        self.assertTrue(world.pool.places.may_accept())
        world.pool.launcher_changed()
        self.assertEqual(world.rooms, 1)

    def test_it_is_full_when_as_many_are_served_as_may_be_until_it_stops(self) -> None:
        world = World(max_children=2)
        full = []
        for _ in range(2):
            full.append(world.pool.places.is_full())
            world.connect()
        full.append(world.pool.places.is_full())
        world.pool.stop()
        full.append(world.pool.places.is_full())
        self.assertEqual(full, [False, False, True, False])

    def test_a_place_that_is_not_kept_any_more_is_anothers(self) -> None:
        world = World(max_children=1)
        world.pool.launcher_changed()
        connection = FakeConnection(1)
        world.pool.places.reserve(connection)
        self.assertEqual((world.pool.places.taken, world.pool.places.may_accept()), (1, False))
        world.pool.unreserve(connection)
        self.assertEqual((world.pool.places.taken, world.rooms), (0, 2))

    def test_a_connection_that_is_over_counts_for_its_source_no_more(self) -> None:
        world = World(connections_per_child=2)
        child = world.spare()
        alive = []
        for goes_on in (True, False):
            connection = world.connect()
            world.says(child, messages.TAKEN)
            alive.append(world.pool.places.sources.alive(connection.source))
            if goes_on:
                world.says(child, messages.READY)
            else:
                world.end(child)
            alive.append(world.pool.places.sources.alive(connection.source))
            self.assertIsNone(child.connection)
        self.assertEqual(alive, [1, 0, 1, 0])


class SheddingTests(Case):
    """When descriptors are short."""

    def setUp(self) -> None:
        self.patch(os, "killpg", lambda group, number: None)
        self.world = World(spare_children=2)
        self.spares = [self.world.spare() for _ in range(2)]
        pass_time(self.world.clock, 100)

    def test_who_has_waited_longest_goes_and_is_not_replaced_at_once(self) -> None:
        world = self.world
        self.assertEqual(world.clock.getDelayedCalls(), [])
        world.pool.shed()
        self.assertEqual([child.state for child in self.spares], [State.LEAVING, State.IDLE])
        world.end(self.spares[0])
        pass_time(world.clock, SOON)
        self.assertEqual(len(world.launcher.launched), 2)
        pass_time(world.clock, 0.1)
        self.assertEqual(len(world.launcher.launched), 3)

    def test_who_does_not_go_is_killed(self) -> None:
        self.world.launcher.is_ready = False
        self.world.pool.shed()
        pass_time(self.world.clock, 5.1)
        self.assertEqual(process_of(self.spares[0]).signals, ["KILL"])

    def test_where_nobody_waits_nobody_goes(self) -> None:
        world = World()
        world.connect()
        world.live(world.launcher.launched[0])
        calls = len(world.clock.getDelayedCalls())
        world.pool.shed()
        self.assertEqual(world.launcher.launched[0].state, State.SERVING)
        self.assertEqual(len(world.clock.getDelayedCalls()), calls)

    def test_whoever_serves_cannot_be_let_go(self) -> None:
        self.world.connect()
        child = self.spares[1]
        self.world.says(child, messages.TAKEN)
        self.assertRaises(Breach, self.world.pool.children.dismiss, child)


class RenewingTests(Case):
    """Children of a generation before."""

    def renewed(self) -> tuple[World, Child, Child]:
        """A world that was renewed while one child served and one had been ordered."""
        world = World(connections_per_child=2)
        serving = world.spare()
        world.connect()
        world.says(serving, messages.TAKEN)
        world.pool.placement.launch(None)
        world.pool.renew()
        return world, serving, world.launcher.launched[-1]

    def test_whoever_serves_goes_when_it_is_ready(self) -> None:
        world, serving, _ = self.renewed()
        channel = channel_of(serving)
        world.says(serving, messages.READY)
        self.assertEqual((serving.state, channel.closed), (State.LEAVING, True))

    def test_whoever_was_ordered_goes_as_soon_as_it_lives(self) -> None:
        world, _, ordered = self.renewed()
        world.live(ordered)
        self.assertIs(ordered.state, State.LEAVING)

    def test_those_that_are_ordered_afterwards_stay(self) -> None:
        world, _, _ = self.renewed()
        self.assertIs(world.spare().state, State.IDLE)

    def test_those_that_go_are_replaced(self) -> None:
        world = World(spare_children=1)
        old = world.spare()
        pass_time(world.clock, 1)
        world.pool.renew()
        pass_time(world.clock, SOON)
        self.assertEqual((old.state, len(world.launcher.launched)), (State.LEAVING, 2))

    def test_when_they_have_gone_nothing_is_said_about_it(self) -> None:
        world = World()
        old = world.spare()
        world.pool.renew()
        world.end(old)
        self.assertEqual(world.lines, [])
