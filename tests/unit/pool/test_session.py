"""Tests for what is done while a connection is served, and when that ends."""

from __future__ import annotations

import signal

from twisted.internet.error import ProcessDone, ProcessTerminated

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.pool.cases import told
from tests.unit.world import World


class SessionTests(Case):
    """The end of a child that serves."""

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

    def test_time_limits_end_with_it(self) -> None:
        world = World(session_timeout=3600.0)
        world.connect()
        (child,) = world.launcher.launched
        world.live(child)
        pass_time(world.clock, 10)
        self.assertEqual(len(world.clock.getDelayedCalls()), 1)
        world.end(child)
        self.assertEqual(world.clock.getDelayedCalls(), [])
