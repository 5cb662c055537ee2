"""Tests for what the pool does later."""

from __future__ import annotations

import signal
from itertools import pairwise
from typing import Any

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.world import World
from twisted_fork.pool.child import State
from twisted_fork.wire import messages

QUIET = 0.01
"""More seconds than it takes to notice that nothing happens."""


def let_all_live(world: World) -> None:
    """Every child that has been launched comes to life."""
    for child in world.launcher.launched:
        if child.process is None:
            world.live(child)


class SpareTests(Case):
    """Children that wait for connections to come."""

    def test_spares_are_ordered_one_after_the_other_until_there_are_enough(self) -> None:
        world = World(spare_children=3)
        world.pool.launcher_changed()
        for number in (1, 2, 3):
            pass_time(world.clock, QUIET)
            self.assertEqual(len(world.launcher.launched), number)
            self.assertEqual(world.launcher.launched[-1].state, State.ORDERED)
            world.pool.launcher_changed()
            pass_time(world.clock, QUIET)
            self.assertEqual(len(world.launcher.launched), number, "the last does not live yet")
            world.live(world.launcher.launched[-1])
        pass_time(world.clock, 100)
        self.assertEqual(len(world.launcher.launched), 3)

    def test_one_that_gets_a_connection_is_replaced(self) -> None:
        world = World(spare_children=1)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        pass_time(world.clock, QUIET)
        self.assertEqual(world.launcher.launched[-1].state, State.ORDERED)

    def test_none_is_ordered_while_connections_keep_coming(self) -> None:
        world = World(spare_children=1)
        for _ in range(200):
            world.connect()
            let_all_live(world)
            pass_time(world.clock, 0.0005)
        self.assertEqual(len(world.launcher.launched), 200)
        pass_time(world.clock, 0.1)
        self.assertEqual(len(world.launcher.launched), 201)

    def test_a_thousandth_of_a_second_is_quiet_enough(self) -> None:
        world = World(spare_children=1)
        world.connect()
        pass_time(world.clock, 0.001)
        self.assertEqual(len(world.launcher.launched), 2)

    def test_when_it_was_not_quiet_it_looks_again_though_nothing_happens_any_more(self) -> None:
        world = World(spare_children=1)
        world.connect()
        pass_time(world.clock, 0.0005)
        world.connect()
        pass_time(world.clock, 0.0031)
        self.assertEqual(len(world.launcher.launched), 3)

    def test_while_it_is_busy_it_looks_less_and_less_often(self) -> None:
        world = World(spare_children=1, max_children=5000)
        looks: list[float] = []
        looked = world.pool.upkeep._refill._what

        def look() -> None:
            looks.append(world.clock.seconds())
            looked()

        self.patch(world.pool.upkeep._refill, "_what", look)
        for _ in range(500):
            world.connect()
            let_all_live(world)
            pass_time(world.clock, 0.0005)
        gaps = [round(later - earlier, 6) for earlier, later in pairwise(looks)]
        self.assertEqual(gaps, [0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05, 0.05])
        pass_time(world.clock, 0.05)
        self.assertEqual(len(world.launcher.launched), 501, "the burst is over")
        world.live(world.launcher.launched[-1])
        world.connect()
        pass_time(world.clock, 0.0011)
        self.assertEqual(len(world.launcher.launched), 502, "it looks as often as at first")

    def test_none_is_ordered_while_the_launcher_is_not_ready(self) -> None:
        world = World(spare_children=1)
        world.launcher.is_ready = False
        world.pool.launcher_changed()
        pass_time(world.clock, 10)
        self.assertEqual(world.launcher.launched, [])
        self.assertEqual(world.clock.getDelayedCalls(), [])
        world.launcher.is_ready = True
        world.pool.launcher_changed()
        pass_time(world.clock, QUIET)
        self.assertEqual(len(world.launcher.launched), 1)

    def test_spares_that_die_are_replaced_with_a_growing_delay(self) -> None:
        world = World(spare_children=1)
        times = []
        world.pool.launcher_changed()
        for _ in range(6):
            while not world.launcher.launched or world.launcher.launched[-1].process is not None:
                pass_time(world.clock, 0.01)
            times.append(world.clock.seconds())
            child = world.launcher.launched[-1]
            world.live(child)
            world.end(child, signal.SIGKILL)
            self.assertIn("idle child ended", world.lines[-1])
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertEqual(gaps, sorted(gaps))
        self.assertGreater(gaps[-1], 8 * gaps[0])

    def test_a_death_long_ago_does_not_delay_the_next_spare(self) -> None:
        world = World(spare_children=1)
        for _ in range(8):
            child = world.spare()
            world.end(child, signal.SIGKILL)
            pass_time(world.clock, QUIET)
            let_all_live(world)
            pass_time(world.clock, 24 * 3600)
            let_all_live(world)
        launched = len(world.launcher.launched)
        for spare in [c for c in world.pool.children if c.state is State.IDLE]:
            world.end(spare, signal.SIGKILL)
        pass_time(world.clock, 0.5)
        self.assertEqual(len(world.launcher.launched), launched + 1)

    def test_a_death_is_forgiven_after_more_than_a_minute_without_another(self) -> None:
        world = World()
        delays = []
        for seconds in (0, 60, 60.5, 1, 59.5, 60.5):
            world.clock.advance(seconds)
            world.pool.upkeep.idle_child_ended()
            (call,) = world.clock.getDelayedCalls()
            delays.append(round(call.getTime() - world.clock.seconds(), 6))
        self.assertEqual(delays, [0.05, 0.1, 0.05, 0.1, 0.2, 0.05])

    def test_none_is_ordered_or_looked_for_once_the_pool_stops(self) -> None:
        for dies in (False, True):
            world = World(spare_children=1)
            world.pool.launcher_changed()
            if dies:
                world.end(world.spare(), signal.SIGKILL)
            self.assertNotEqual(world.clock.getDelayedCalls(), [])
            world.pool.stop()
            world.pool.children.watchdog.cancel()
            world.pool.upkeep.look_after()
            self.assertEqual(world.clock.getDelayedCalls(), [])


class SurplusTests(Case):
    """More children wait than were asked for."""

    def surplus(self, **given: Any) -> World:
        """A world whose children have all become idle."""
        world = World(connections_per_child=10, **given)
        children = [world.spare() for _ in range(5)]
        for _ in children:
            world.connect()
        for child in children:
            world.says(child, messages.TAKEN)
            world.says(child, messages.READY)
        return world

    def states(self, world: World) -> list[State]:
        return [child.state for child in world.launcher.launched]

    def test_they_go_after_ten_quiet_seconds(self) -> None:
        world = self.surplus(spare_children=2)
        pass_time(world.clock, 9.9)
        self.assertEqual(self.states(world), [State.IDLE] * 5)
        pass_time(world.clock, 0.2)
        self.assertEqual(self.states(world).count(State.LEAVING), 3)
        self.assertEqual(world.pool.children.idle, 2)

    def test_those_that_waited_longest_go_first(self) -> None:
        world = self.surplus(spare_children=2)
        pass_time(world.clock, 11)
        self.assertEqual(self.states(world), [State.LEAVING] * 3 + [State.IDLE] * 2)

    def test_they_stay_while_connections_come(self) -> None:
        world = self.surplus(spare_children=2)
        for _ in range(4):
            pass_time(world.clock, 6)
            world.connect()
            child = next(c for c in world.launcher.launched if c.state is State.GIVEN)
            world.says(child, messages.TAKEN)
            world.says(child, messages.READY)
        self.assertEqual(self.states(world), [State.IDLE] * 5)
        pass_time(world.clock, 12)
        self.assertEqual(world.pool.children.idle, 2)

    def test_they_go_ten_seconds_after_the_last_connection_whatever_was_before(self) -> None:
        world = self.surplus(spare_children=2)
        pass_time(world.clock, 6)
        world.connect()
        child = next(c for c in world.launcher.launched if c.state is State.GIVEN)
        world.says(child, messages.TAKEN)
        world.says(child, messages.READY)
        pass_time(world.clock, 9.9)
        self.assertEqual(self.states(world), [State.IDLE] * 5)
        pass_time(world.clock, 0.2)
        self.assertEqual(self.states(world).count(State.LEAVING), 3)

    def test_when_there_are_none_any_more_nobody_looks_for_them(self) -> None:
        world = self.surplus(spare_children=2)
        pass_time(world.clock, 8)
        for _ in range(3):
            world.connect()
            child = next(c for c in world.launcher.launched if c.state is State.GIVEN)
            world.says(child, messages.TAKEN)
        pass_time(world.clock, 5.1)
        self.assertEqual(world.clock.getDelayedCalls(), [])


class IdleTests(Case):
    """An idle server does nothing."""

    def test_no_delayed_call_is_left_when_nothing_happens(self) -> None:
        world = World(spare_children=2, connections_per_child=2)
        world.pool.launcher_changed()
        for _ in range(5):
            pass_time(world.clock, 1)
            let_all_live(world)
        world.connect()
        child = next(child for child in world.launcher.launched if child.state is State.GIVEN)
        world.says(child, messages.TAKEN)
        for _ in range(30):
            pass_time(world.clock, 1)
            let_all_live(world)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(world.pool.children.idle, 2)
