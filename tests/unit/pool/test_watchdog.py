"""Tests for children that stay too long in a state that should be short."""

from __future__ import annotations

import os
import signal

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.world import World, process_of
from twisted_fork.pool.child import State
from twisted_fork.wire import messages


class StuckTests(Case):
    """Children that do not do what they were told."""

    def setUp(self) -> None:
        self.patch(os, "killpg", lambda group, number: None)

    def test_five_seconds_are_enough(self) -> None:
        for told_to_go in (False, True):
            world = World()
            pass_time(world.clock, 100)
            child = world.spare()
            if told_to_go:
                world.pool.children.dismiss(child)
            else:
                world.connect()
            pass_time(world.clock, 4.9)
            self.assertEqual(process_of(child).signals, [])
            pass_time(world.clock, 0.2)
            self.assertEqual(process_of(child).signals, ["KILL"])

    def test_who_is_given_a_connection_has_its_own_five_seconds(self) -> None:
        world = World()
        pass_time(world.clock, 100)
        child = world.spare()
        pass_time(world.clock, 3)
        world.connect()
        pass_time(world.clock, 4.9)
        self.assertEqual(process_of(child).signals, [])
        pass_time(world.clock, 2.2)
        self.assertEqual(process_of(child).signals, ["KILL"], "at the second look")

    def test_so_has_who_is_told_to_go(self) -> None:
        world = World()
        pass_time(world.clock, 100)
        child = world.spare()
        pass_time(world.clock, 3)
        world.pool.children.dismiss(child)
        pass_time(world.clock, 4.9)
        self.assertEqual(process_of(child).signals, [])
        pass_time(world.clock, 2.2)
        self.assertEqual(process_of(child).signals, ["KILL"], "at the second look")

    def test_one_that_does_not_take_its_connection_is_killed(self) -> None:
        world = World()
        child = world.spare()
        connection = world.connect()
        pass_time(world.clock, 11)
        self.assertIn("KILL", process_of(child).signals)
        self.assertIn(f"child stuck pid={child.pid} peer={connection.peer}", world.lines[0])
        self.assertFalse(connection.closed)

    def test_one_that_takes_it_in_time_is_let_be_however_long_it_serves(self) -> None:
        world = World(spare_children=1)
        child = world.spare()
        pass_time(world.clock, 60)
        world.connect()
        pass_time(world.clock, 4)
        world.says(child, messages.TAKEN)
        pass_time(world.clock, 60)
        self.assertEqual((process_of(child).signals, world.lines[1:]), ([], []))

    def test_one_that_does_not_come_to_life_is_the_launchers_to_judge(self) -> None:
        world = World()
        world.connect()
        world.pool.placement.launch(None)
        pass_time(world.clock, 6)
        stuck = {child for child, seconds in world.launcher.stuck_ones if seconds >= 5}
        self.assertEqual(stuck, set(world.launcher.launched))

    def test_one_that_does_not_go_when_it_is_told_to_is_killed(self) -> None:
        groups: list[tuple[int, int]] = []
        self.patch(os, "killpg", lambda *which: groups.append(which))
        world = World(connections_per_child=2)
        child = world.spare()
        world.pool.renew()
        self.assertEqual(child.state, State.LEAVING)
        pass_time(world.clock, 4)
        self.assertEqual(process_of(child).signals, [])
        pass_time(world.clock, 7)
        self.assertIn(f"child does not end pid={child.pid} seconds=", world.lines[0])
        self.assertIn("KILL", process_of(child).signals)
        self.assertIn((child.pid, signal.SIGKILL), groups)

    def test_it_goes_on_looking_while_there_is_somebody_to_look_after(self) -> None:
        world = World()
        world.connect()
        pass_time(world.clock, 30)
        self.assertGreater(len(world.launcher.stuck_ones), 3)

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
