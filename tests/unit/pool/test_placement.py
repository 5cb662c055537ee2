"""Tests for which child gets a connection, and for a child or a launcher that fails."""

from __future__ import annotations

import errno
import signal

from tests.unit.cases import Case
from tests.unit.pool.cases import FaultCase, Once, Unexpected, raising, told
from tests.unit.world import FakeConnection, RecordingProtocol, World, channel_of, process_of
from twisted_fork.places.connection import Connection
from twisted_fork.pool.child import Child, State
from twisted_fork.pool.launcher import Impossible
from twisted_fork.wire import messages


class PlacingTests(Case):
    """Which child gets a connection."""

    def test_a_child_that_waits_comes_first_the_latest_before_the_others(self) -> None:
        world = World()
        first, second = world.spare(), world.spare()
        connection = world.connect()
        self.assertEqual((first.state, second.state), (State.IDLE, State.GIVEN))
        (message,) = channel_of(second).sent
        self.assertEqual(message.kind, messages.CONNECTION)
        self.assertEqual(message.descriptors, [connection.descriptor])
        self.assertEqual(message.payload, connection.details())
        self.assertEqual(len(world.launcher.launched), 2)

    def test_without_one_a_child_is_launched_for_it(self) -> None:
        world = World()
        connection = world.connect()
        (child,) = world.launcher.launched
        self.assertEqual((child.state, child.connection), (State.BEARING, connection))
        self.assertFalse(connection.closed)

    def test_the_reactor_process_closes_it_when_it_is_taken(self) -> None:
        world = World()
        connection = world.connect()
        (child,) = world.launcher.launched
        process = world.live(child)
        self.assertTrue(connection.closed)
        self.assertEqual((child.state, child.connection), (State.SERVING, connection))
        self.assertEqual(told(child), ["alive", f"taken {connection.peer}"])
        self.assertIn(f"handed over peer={connection.peer} pid={process.pid}", world.lines)

    def test_a_child_that_lives_without_having_taken_it_is_sent_it(self) -> None:
        world = World()
        connection = world.connect()
        (child,) = world.launcher.launched
        world.live(child, took=False)
        self.assertEqual((child.state, connection.closed), (State.GIVEN, False))
        world.says(child, messages.TAKEN)
        self.assertEqual((child.state, connection.closed), (State.SERVING, True))


class DyingTests(Case):
    """When a child ends before it has taken its connection."""

    def test_the_connection_goes_to_another(self) -> None:
        world = World()
        first, second = world.spare(), world.spare()
        connection = world.connect()
        world.end(second, signal.SIGSEGV)
        self.assertEqual((first.connection, first.state), (connection, State.GIVEN))
        self.assertIn(
            f"child ended without serving peer={connection.peer} pid={process_of(second).pid}"
            " signal=SIGSEGV tries=1",
            world.lines,
        )

    def test_what_it_said_before_it_ended_counts(self) -> None:
        world = World()
        child = world.spare()
        connection = world.connect()
        channel_of(child).unheard = lambda: world.says(child, messages.TAKEN)
        world.end(child, signal.SIGSEGV)
        self.assertTrue(connection.closed)
        self.assertEqual(len(world.launcher.launched), 1, "no other child serves it again")
        self.assertIn(f"child ended peer={connection.peer}", world.lines[-1])

    def test_one_that_was_ready_again_and_ended_is_given_nothing(self) -> None:
        world = World(connections_per_child=2)
        child = world.spare()
        world.connect()
        world.says(child, messages.TAKEN)
        channel_of(child).unheard = lambda: world.says(child, messages.READY)
        world.end(child, signal.SIGSEGV)
        self.assertEqual((world.pool.children.idle, len(world.pool.children)), (0, 0))

    def test_it_is_closed_and_logged_when_three_have_ended(self) -> None:
        world = World()
        connection = world.connect()
        for _ in range(3):
            self.assertFalse(connection.closed)
            child = world.launcher.launched[-1]
            world.live(child, took=False)
            world.end(child, signal.SIGKILL)
        self.assertTrue(connection.closed)
        self.assertEqual(len(world.launcher.launched), 3)
        self.assertIn("without serving", world.lines[-2])
        self.assertTrue(world.lines[-2].endswith(" tries=3"))
        self.assertEqual(
            world.lines[-1],
            f"connection refused peer={connection.peer} reason='no child took it'",
        )

    def test_children_that_never_were_do_not_count(self) -> None:
        world = World()
        connection = world.connect()
        for _ in range(5):
            world.pool.never_was(world.launcher.launched[-1])
            world.pool.launcher_changed()
        self.assertFalse(connection.closed)
        self.assertIs(world.launcher.launched[-1].connection, connection)

    def test_a_child_that_cannot_be_sent_to_is_killed(self) -> None:
        world = World()
        child = world.spare()
        channel_of(child).error = BrokenPipeError()
        connection = world.connect()
        self.assertEqual(process_of(child).signals, ["KILL"])
        self.assertFalse(connection.closed)

    def test_a_child_whose_channel_is_full_is_killed(self) -> None:
        world = World()
        child = world.spare()
        channel_of(child).error = BlockingIOError(errno.EAGAIN, "full")
        world.connect()
        self.assertEqual(process_of(child).signals, ["KILL"])

    def test_a_child_that_closes_its_channel_is_given_nothing(self) -> None:
        world = World(connections_per_child=2)
        idle = world.spare()
        world.pool.channel_lost(idle)
        self.assertEqual((process_of(idle).signals, world.pool.children.idle), (["KILL"], 0))
        world.connect()
        self.assertEqual(len(world.launcher.launched), 2)

    def test_a_child_that_serves_may_close_its_channel(self) -> None:
        world = World(connections_per_child=2)
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        world.pool.channel_lost(child)
        self.assertEqual((process_of(child).signals, child.state), ([], State.SERVING))

    def test_a_protocol_that_fails_takes_no_connection_with_it(self) -> None:
        class Failing(RecordingProtocol):
            def processEnded(self, reason: object) -> None:
                raise ValueError("the application's mistake")

        world = World(protocol=Failing)
        connection = world.connect()
        child = world.launcher.launched[0]
        world.live(child, took=False)
        try:
            world.end(child, signal.SIGKILL)
        except ValueError:
            pass
        self.flushLoggedErrors(ValueError)
        self.assertEqual([c.connection for c in world.launcher.launched[1:]], [connection])


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


class PlacingFaultTests(FaultCase):
    """On the way of a connection to a child."""

    def test_a_spare_that_cannot_be_given_one_for_whatever_reason_is_lost_with_it(self) -> None:
        child = self.world.spare()
        self.patch(FakeConnection, "details", raising)
        connection = self.world.connect()
        self.assertOver(connection)
        self.assertEqual(process_of(child).signals, ["KILL"])
        self.assertEqual((child.state, len(self.faults())), (State.LEAVING, 1))

    def test_one_that_was_to_wait_for_a_better_time_is_closed_and_waits_no_more(self) -> None:
        world = self.world
        spare = world.spare()
        channel_of(spare).error = OSError(errno.ETOOMANYREFS, "full")
        take_back = world.pool.placement._take_back

        def raises_at_its_end(child: Child, connection: Connection) -> None:
            take_back(child, connection)
            raise Unexpected

        self.patch(world.pool.placement, "_take_back", raises_at_its_end)
        connection = world.connect()
        self.assertTrue(connection.closed)
        self.assertEqual(len(world.pool.places.waiting), 0)

    def test_so_is_a_connection_that_could_not_even_be_noted(self) -> None:
        child = self.world.spare()
        self.patch(Child, "given", raising)
        self.assertOver(self.world.connect())
        self.assertIs(child.state, State.LEAVING)

    def test_a_launcher_that_raises_costs_the_connection(self) -> None:
        self.patch(self.world.launcher, "launch", raising)
        connection = self.world.connect()
        self.assertOver(connection)
        self.assertEqual((len(self.world.pool.children), len(self.faults())), (0, 1))

    def test_a_child_that_could_not_be_noted_costs_the_connection(self) -> None:
        self.patch(Child, "given", raising)
        self.assertOver(self.world.connect())
        self.assertEqual(len(self.world.pool.children), 0)

    def test_a_spare_that_raises_costs_nothing_else(self) -> None:
        self.patch(self.world.launcher, "launch", raising)
        self.world.pool.placement.launch(None)
        self.assertEqual((len(self.world.pool.children), len(self.faults())), (0, 1))

    def test_a_connection_for_which_no_child_can_be_made_is_refused_with_the_reason(self) -> None:
        def impossible(child: Child) -> None:
            raise Impossible("such a thing does not exist")

        self.patch(self.world.launcher, "launch", impossible)
        connection = self.world.connect()
        self.assertOver(connection)
        self.assertEqual(len(self.world.pool.children), 0)
        told = f"connection refused peer={connection.peer} reason='such a thing does not exist'"
        self.assertEqual(self.world.lines, [told])

    def test_one_of_those_who_wait_costs_no_other(self) -> None:
        world = self.world
        world.launcher.is_ready = False
        first, second = world.connect(), world.connect()
        world.launcher.is_ready = True
        self.patch(world.pool.placement, "place", Once(world.pool.placement.place))
        world.pool.launcher_changed()
        self.assertTrue(first.closed)
        self.assertEqual([c.connection for c in world.launcher.launched], [second])

    def test_others_are_let_in_though_that_raised_once(self) -> None:
        world = self.world = World(max_children=1)
        child, _ = self.serving()
        self.assertFalse(world.pool.places.may_accept())
        rooms = world.rooms
        self.patch(world.pool.places, "_room", Once(world._room))
        world.end(child)
        self.assertEqual((world.rooms, len(self.faults())), (rooms, 1))
        world.clock.advance(0)
        self.assertEqual(world.rooms, rooms + 1)
