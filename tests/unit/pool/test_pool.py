"""Tests for the pool: what its children tell it, and its end."""

from __future__ import annotations

import os
import signal

from twisted.internet.error import ProcessDone

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.pool.cases import told
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
