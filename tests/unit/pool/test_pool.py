"""Tests for the pool: who gets a connection, and what becomes of it."""

from __future__ import annotations

import errno
import os
import signal
from itertools import pairwise
from typing import cast

from twisted.internet.error import ProcessDone, ProcessTerminated

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.world import (
    FakeConnection,
    ListeningProtocol,
    RecordingProtocol,
    World,
    channel_of,
    process_of,
)
from twisted_fork.pool.child import Child, State
from twisted_fork.wire import messages


def told(child: Child) -> list[object]:
    """What the protocol of a child was told."""
    return cast(RecordingProtocol, child.protocol).told


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

    def test_its_end_is_logged_with_its_status_and_its_seconds(self) -> None:
        for number, ending, kind in [
            (None, "exit=0", ProcessDone),
            (signal.SIGKILL, "signal=SIGKILL", ProcessTerminated),
        ]:
            world = World()
            connection = world.connect()
            (child,) = world.launcher.launched
            process = world.live(child)
            world.clock.advance(1.5)
            world.end(child, number)
            line = f"child ended peer={connection.peer} pid={process.pid} {ending} seconds=1.500"
            self.assertEqual(world.lines[-1], line)
            self.assertEqual(told(child)[-1], kind)
            self.assertEqual(world.last_words, [process.pid] if number else [])
            self.assertEqual(len(world.pool.children), 0)


class RoomTests(Case):
    """Whether one more connection may be accepted."""

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


class LivingOnTests(Case):
    """Children that serve several connections."""

    def serve_one(self, world: World, child: Child) -> FakeConnection:
        connection = world.connect()
        self.assertIs(child.connection, connection)
        world.says(child, messages.TAKEN)
        return connection

    def test_a_child_is_given_as_many_as_were_asked_for(self) -> None:
        world = World(connections_per_child=3)
        child = world.spare()
        for left in (2, 1):
            connection = self.serve_one(world, child)
            world.clock.advance(0.25)
            world.says(child, messages.READY)
            self.assertEqual((child.state, child.left), (State.IDLE, left))
            self.assertIn(f"served peer={connection.peer}", world.lines[-1])
            self.assertIn("seconds=0.250", world.lines[-1])
        channel = channel_of(child)
        self.serve_one(world, child)
        self.assertEqual((child.left, channel.closed, child.channel), (0, True, None))

    def test_one_whose_time_is_up_is_not_believed_that_it_is_ready(self) -> None:
        self.patch(os, "killpg", lambda group, number: None)
        world = World(connections_per_child=3, session_timeout=10.0)
        child = world.spare()
        self.serve_one(world, child)
        pass_time(world.clock, 10.1)
        world.says(child, messages.READY)
        self.assertIs(child.state, State.OVERDUE)
        self.assertIsNone(child.channel)
        pass_time(world.clock, world.settings.grace)
        self.assertEqual(process_of(child).signals[-1], "KILL")
        world.end(child, signal.SIGKILL)
        self.assertIn("limit=session-timeout", world.lines[-1])

    def test_more_than_that_is_a_breach(self) -> None:
        for protocol in (RecordingProtocol, ListeningProtocol):
            world = World(protocol, connections_per_child=1)
            child = world.spare()
            self.serve_one(world, child)
            world.says(child, messages.READY)
            self.assertEqual(process_of(child).signals, ["KILL"], protocol)
            world.connect()
            self.assertEqual(len(world.launcher.launched), 2, "it is given no more")

    def test_breaches_kill_the_child_and_are_logged(self) -> None:
        for kind, why in [
            (messages.TAKEN, "taken while idle"),
            (messages.READY, "ready while idle"),
            (b"?", "b'?'"),
        ]:
            world = World()
            child = world.spare()
            world.says(child, kind)
            self.assertEqual(process_of(child).signals, ["KILL"])
            self.assertIn("channel protocol error", world.lines[-1])
            self.assertIn(why, world.lines[-1])

    def test_what_the_handler_tells_goes_to_the_protocol(self) -> None:
        world = World(ListeningProtocol, connections_per_child=1)
        child = world.spare()
        self.serve_one(world, child)
        world.says(child, messages.TELL, b"progress")
        self.assertEqual((told(child)[-1], process_of(child).signals), (b"progress", []))


class StoppingTests(Case):
    """The end of a pool."""

    def test_those_who_wait_go_and_those_who_serve_finish(self) -> None:
        world = World(connections_per_child=5)
        idle, serving = world.spare(), world.spare()
        world.connect()
        world.says(serving, messages.TAKEN)
        channel = channel_of(idle)
        stopped = world.pool.stop()
        self.assertEqual((idle.state, channel.closed), (State.LEAVING, True))
        self.assertEqual((serving.state, process_of(serving).signals), (State.SERVING, []))
        world.end(idle)
        world.says(serving, messages.READY)
        self.assertEqual(serving.state, State.LEAVING)
        world.end(serving)
        self.assertNoResult(stopped)
        assert world.launcher.stopped is not None
        world.launcher.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_connections_that_wait_are_refused_with_a_line(self) -> None:
        world = World()
        connection = world.connect()
        world.launcher.is_ready = False
        world.pool.never_was(world.launcher.launched[0])
        world.pool.stop()
        self.assertTrue(connection.closed)
        self.assertEqual(
            world.lines[-1], f"connection refused peer={connection.peer} reason='shutting down'"
        )

    def test_a_child_that_was_ordered_with_a_connection_still_serves_it(self) -> None:
        for took in (True, False):
            world = World()
            connection = world.connect()
            world.pool.stop()
            (child,) = world.launcher.launched
            world.live(child, took=took)
            self.assertEqual(child.state, State.SERVING if took else State.GIVEN)
            self.assertEqual(connection.closed, took)

    def test_a_connection_that_no_child_took_is_refused(self) -> None:
        world = World()
        connection = world.connect()
        world.pool.stop()
        (child,) = world.launcher.launched
        world.live(child, took=False)
        world.end(child, signal.SIGKILL)
        self.assertTrue(connection.closed)
        self.assertEqual(len(world.launcher.launched), 1)

    def test_everything_is_told_before_it_has_stopped(self) -> None:
        world = World()
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        stopped = world.pool.stop()
        assert world.launcher.stopped is not None
        world.launcher.stopped.callback(None)
        stopped.addCallback(lambda _: (told(child)[-1], world.lines[-1][:11]))
        world.end(child)
        self.assertEqual(self.successResultOf(stopped), (ProcessDone, "child ended"))

    def test_a_spare_that_was_ordered_leaves_as_soon_as_it_lives(self) -> None:
        world = World()
        world.pool.placement.launch(None)
        stopped = world.pool.stop()
        (child,) = world.launcher.launched
        world.live(child)
        self.assertEqual(child.state, State.LEAVING)
        world.end(child)
        assert world.launcher.stopped is not None
        world.launcher.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_a_signal_reaches_every_child_and_they_are_counted(self) -> None:
        world = World()
        children = [world.spare() for _ in range(3)]
        self.assertEqual(world.pool.signal("TERM"), 3)
        self.assertEqual([process_of(child).signals for child in children], [["TERM"]] * 3)
