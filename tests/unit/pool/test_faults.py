"""
Tests for what the pool does when something raises that nobody expected: it costs the
connection that it is about and the child that has it, and nothing else.
"""

from __future__ import annotations

import signal

from twisted.internet.defer import fail, succeed

from tests.unit.fakes import NO_PID, pass_time
from tests.unit.pool.cases import FaultCase, Once, Unexpected, raising
from tests.unit.world import FakeConnection, RecordingProtocol, World, channel_of, process_of
from twisted_fork.pool import children, faults
from twisted_fork.pool.child import State
from twisted_fork.pool.deadlines import end_group
from twisted_fork.wire import messages


class ChildFaultTests(FaultCase):
    """What becomes of a child and its connection."""

    def test_it_is_killed_with_its_group_and_its_connection_is_closed(self) -> None:
        child, connection = self.serving()
        channel = channel_of(child)
        self.fault(child)
        self.assertOver(connection)
        self.assertEqual((child.state, child.connection), (State.LEAVING, None))
        self.assertEqual(self.groups, [(child.pid, signal.SIGKILL)])
        self.assertEqual(process_of(child).signals, ["KILL"])
        self.assertTrue(channel.closed)
        self.assertIn(f"peer={connection.peer}", self.faults()[0])
        self.assertIn(f"pid={child.pid}", self.faults()[0])
        self.assertEqual(self.world.pool.places.taken, 0)
        self.world.end(child, signal.SIGKILL)
        self.assertEqual(len(self.world.pool.children), 0)

    def test_its_time_limits_end_with_its_connection(self) -> None:
        self.world = World(session_timeout=10.0)
        child, _ = self.serving()
        self.assertIsNotNone(child.deadline)
        self.fault(child)
        self.assertIsNone(child.deadline)

    def test_it_is_killed_again_if_it_does_not_go(self) -> None:
        child, _ = self.serving()
        pass_time(self.world.clock, 100)
        self.fault(child)
        pass_time(self.world.clock, 4.9)
        self.assertEqual(len(self.groups), 1)
        pass_time(self.world.clock, 0.2)
        self.assertEqual(self.groups, [(child.pid, signal.SIGKILL)] * 2)

    def test_it_has_its_own_five_seconds_to_go(self) -> None:
        pass_time(self.world.clock, 100)
        child, _ = self.serving()
        pass_time(self.world.clock, 3)
        self.fault(child)
        pass_time(self.world.clock, 4.9)
        self.assertEqual(len(self.groups), 1)
        pass_time(self.world.clock, 2.2)
        self.assertEqual(len(self.groups), 2, "at the second look")

    def test_those_who_wait_are_placed_soon(self) -> None:
        world = self.world = World(max_children=1)
        child, _ = self.serving()
        world.launcher.is_ready = False
        waiting = world.connect()
        world.launcher.is_ready = True
        self.fault(child)
        self.assertEqual(len(world.launcher.launched), 1, "not in the midst of a fault")
        self.assertEqual(self.next_call(), 0)
        world.clock.advance(0)
        self.assertIs(world.launcher.launched[-1].connection, waiting)

    def test_one_that_is_still_expected_is_killed_as_soon_as_it_lives(self) -> None:
        world = self.world
        connection = world.connect()
        (child,) = world.launcher.launched
        self.fault(child)
        self.assertOver(connection)
        self.assertEqual((list(world.pool.children), child.state), ([child], State.LEAVING))
        world.live(child, took=False)
        self.assertEqual(process_of(child).signals, ["KILL"])
        self.assertEqual(len(world.lines), 1, "that it lives is no other fault")
        world.end(child, signal.SIGKILL)
        self.assertEqual(len(world.pool.children), 0)

    def test_one_that_nobody_will_hear_of_is_forgotten(self) -> None:
        world = self.world
        world.connect()
        child = world.launcher.launched.pop()
        self.fault(child)
        self.assertEqual(len(world.pool.children), 0)
        self.assertEqual(self.groups, [])

    def test_one_that_has_a_pid_but_no_process_yet_is_buried(self) -> None:
        buried: list[tuple[object, int]] = []
        self.patch(children, "bury", lambda clock, pid: buried.append((clock, pid)))
        self.world.connect()
        child = self.world.launcher.launched.pop()
        child.pid = NO_PID
        self.fault(child)
        self.assertEqual(buried, [(self.world.clock, NO_PID)])

    def test_whoever_has_a_process_or_no_pid_is_not(self) -> None:
        self.patch(children, "bury", raising)
        child, _ = self.serving()
        self.fault(child)
        self.world.connect()
        self.fault(self.world.launcher.launched[-1])
        self.assertEqual(len(self.faults()), 2)

    def test_one_that_has_ended_is_forgotten(self) -> None:
        child, connection = self.serving()
        process_of(child).over = True
        self.fault(child)
        self.assertOver(connection)
        self.assertEqual((len(self.world.pool.children), self.groups), (0, []))

    def test_the_last_one_does_not_keep_the_pool_from_its_end(self) -> None:
        self.world.connect()
        child = self.world.launcher.launched.pop()
        stopped = self.world.pool.stop()
        assert self.world.launcher.stopped is not None
        self.world.launcher.stopped.callback(None)
        self.assertNoResult(stopped)
        self.fault(child)
        self.successResultOf(stopped)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class ConnectionFaultTests(FaultCase):
    """What becomes of a connection and whoever has it."""

    def test_one_that_is_not_yet_served_is_closed_and_its_place_is_free(self) -> None:
        world = self.world = World(max_children=1)
        connection = FakeConnection(1)
        world.pool.places.reserve(connection)
        self.assertFalse(world.pool.places.may_accept())
        rooms = world.rooms
        self.abandon(connection)
        self.assertTrue(connection.closed)
        self.assertIn(f"peer={connection.peer}", self.faults()[0])
        self.assertEqual(world.pool.places.taken, 0)
        self.assertEqual(self.next_call(), 0)
        world.clock.advance(0)
        self.assertEqual(world.rooms, rooms + 1, "others are let in")

    def test_one_that_has_a_child_costs_that_and_no_other(self) -> None:
        other, served = self.serving()
        child, connection = self.serving()
        self.abandon(connection)
        self.assertEqual((connection.closed, served.closed), (True, True))
        self.assertEqual((child.state, other.state), (State.LEAVING, State.SERVING))
        self.assertEqual(self.groups, [(child.pid, signal.SIGKILL)])
        self.assertEqual(self.world.pool.places.sources.alive(connection.source), 1)

    def test_one_whose_child_nobody_will_hear_of_costs_no_other(self) -> None:
        connection = self.world.connect()
        self.world.launcher.launched.pop()
        self.world.connect()
        self.abandon(connection)
        self.assertTrue(connection.closed)
        self.assertEqual(list(self.world.pool.children), self.world.launcher.launched)

    def test_one_that_waits_waits_no_more(self) -> None:
        self.world.launcher.is_ready = False
        first, second = self.world.connect(), self.world.connect()
        self.abandon(first)
        self.assertTrue(first.closed)
        self.assertEqual(len(self.world.pool.places.waiting), 1)
        self.world.launcher.is_ready = True
        self.world.pool.launcher_changed()
        self.assertIs(self.world.launcher.launched[0].connection, second)


class TellingFaultTests(FaultCase):
    """When a child lives, says something, or has ended."""

    def test_one_that_comes_to_life_is_lost(self) -> None:
        self.world.pool.placement.launch(None)
        (child,) = self.world.launcher.launched
        self.patch(self.world.pool.children, "becomes_idle", raising)
        self.world.live(child)
        self.assertEqual((child.state, process_of(child).signals), (State.LEAVING, ["KILL"]))

    def test_one_that_says_something_is_lost(self) -> None:
        child, connection = self.serving()
        self.patch(self.world.pool, "_ready", raising)
        self.world.says(child, messages.READY)
        self.assertOver(connection)
        self.assertIs(child.state, State.LEAVING)
        self.assertIn("Unexpected", self.faults()[0])

    def test_one_that_has_ended_is_forgotten_with_its_connection(self) -> None:
        child, connection = self.serving()
        self.patch(self.world.pool.children, "forget", raising)
        self.world.end(child)
        self.assertOver(connection)
        self.assertEqual(len(self.world.pool.children), 0)

    def test_whose_end_is_told_twice_has_ended_once(self) -> None:
        child, _ = self.serving()
        self.world.end(child)
        lines = list(self.world.lines)
        self.world.end(child)
        self.assertEqual(self.world.lines, lines)

    def test_whatever_a_protocol_raises_is_logged_and_harms_nothing(self) -> None:
        class Failing(RecordingProtocol):
            def connectionMade(self) -> None:
                raise Unexpected

            def connection_taken(self, peer: str) -> None:
                raise Unexpected

            def message_received(self, message: bytes) -> None:
                raise Unexpected

        self.world = World(protocol=Failing)
        child, connection = self.serving()
        self.world.says(child, messages.TELL, b"hello")
        self.assertEqual(process_of(child).signals, [])
        self.assertEqual(self.world.lines.count("ChildProtocol raised"), 3)
        self.world.end(child)
        self.assertIn(f"child ended peer={connection.peer}", self.world.lines[-1])


class StoppingFaultTests(FaultCase):
    """When all are signalled, let go or given up, one that raises costs no other."""

    def test_whoever_cannot_be_signalled_is_lost(self) -> None:
        (first, closed), (second, _) = self.serving(), self.serving()
        self.patch(faults, "end_group", Once(end_group))
        self.assertEqual(self.world.pool.signal("TERM"), 2)
        self.assertEqual((closed.closed, first.state), (True, State.LEAVING))
        self.assertEqual(second.state, State.SERVING)
        self.assertIn((second.pid, signal.SIGTERM), self.groups)

    def test_whoever_cannot_be_let_go_is_lost(self) -> None:
        first, second = self.world.spare(), self.world.spare()
        self.patch(self.world.pool.children, "dismiss", Once(self.world.pool.children.dismiss))
        self.world.pool.stop()
        self.assertEqual((first.state, second.state), (State.LEAVING, State.LEAVING))
        self.assertEqual(process_of(first).signals, ["KILL"])
        self.assertEqual(process_of(second).signals, [])

    def test_a_connection_that_cannot_be_given_up_is_closed_all_the_same(self) -> None:
        self.world.launcher.is_ready = False
        connections = [self.world.connect() for _ in range(3)]
        self.patch(self.world.pool.places, "give_up", Once(self.world.pool.places.give_up))
        self.world.pool.stop()
        for connection in connections:
            self.assertOver(connection)
        self.assertEqual(len(self.faults()), 1)
        refused = [line for line in self.world.lines if "shutting down" in line]
        self.assertEqual(len(refused), 2)

    def test_a_launcher_that_cannot_stop_is_killed(self) -> None:
        for stop in (lambda: fail(ZeroDivisionError()), lambda: succeed(1 // 0)):
            self.setUp()
            killed: list[bool] = []
            self.patch(self.world.launcher, "stop", stop)
            self.patch(self.world.launcher, "kill", lambda killed=killed: killed.append(True))
            self.successResultOf(self.world.pool.stop())
            self.assertEqual(killed, [True])
            self.assertIn("ZeroDivisionError", self.world.lines[-1])
