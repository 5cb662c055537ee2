"""Tests for templates: they die, are late or stuck, and are replaced."""

from __future__ import annotations

import errno
import os

from tests.unit.fakes import pass_time
from tests.unit.launchers.cases import ForkLauncherCase
from twisted_fork.pool.child import State
from twisted_fork.wire import messages


class DyingTests(ForkLauncherCase):
    """A template may die at any moment."""

    def test_its_successor_gets_the_requests_anew_and_in_order(self) -> None:
        channel = self.start()
        connections = [self.connect() for _ in range(4)]
        self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
        self.ends()
        self.channel_ends(channel)
        self.assertEqual([c.descriptor >= 0 for c in connections], [False, True, True, True])
        self.reactor.advance(1)
        self.assertEqual(len(self.reactor.started), 2)
        channel = self.is_ready()
        details = [self.asked(channel).payload for _ in range(3)]
        self.assertEqual(details, [connection.details() for connection in connections[1:]])
        self.assertEqual(self.swept, [self.template(0)[0].pid])

    def test_its_spares_go_when_its_successor_is_ready(self) -> None:
        channel = self.start()
        self.pool.placement.launch(None)
        self.spare_lives(channel, 777)
        self.ends()
        self.channel_ends(channel)
        (spare,) = self.pool.children
        self.assertIs(spare.state, State.IDLE)
        self.reactor.advance(1)
        self.is_ready()
        self.assertIs(spare.state, State.LEAVING)

    def test_a_child_that_it_forked_may_still_be_heard_of_after_its_end(self) -> None:
        channel = self.start()
        connection = self.connect()
        ticket = self.asked(channel).ticket
        self.ends()
        self.assertGreaterEqual(connection.descriptor, 0)
        self.say(channel, messages.ALIVE, ticket, 777)
        self.channel_ends(channel)
        self.assertEqual([child.pid for child in self.pool.children], [777])
        self.assertEqual(len(self.pool.places.waiting), 0)

    def test_without_a_channel_it_is_of_no_use(self) -> None:
        channel = self.start()
        self.connect()
        self.channel_ends(channel)
        self.assertEqual(self.template()[0].signals, ["KILL"])
        self.assertEqual(len(self.pool.places.waiting), 0, "a child of it may live")
        self.ends()
        self.assertEqual(len(self.pool.places.waiting), 1)

    def test_garbage_ends_it(self) -> None:
        channel = self.start()
        channel.send(b"garbage")
        self.reactor.turn()
        self.assertEqual(self.template()[0].signals, ["KILL"])

    def test_it_is_replaced_with_a_growing_delay(self) -> None:
        self.launcher.start(self.pool)
        waits = []
        for number in range(1, 6):
            self.channel_ends(self.template()[1])
            self.ends()
            begin = self.reactor.seconds()
            while len(self.reactor.started) == number:
                self.reactor.advance(0.05)
            waits.append(self.reactor.seconds() - begin)
        self.assertEqual(waits, sorted(waits))
        self.assertGreater(waits[-1], 8 * waits[0])

    def test_one_that_has_served_is_replaced_at_once_always(self) -> None:
        channel = self.start()
        for number in range(2, 12):
            self.connect()
            self.say(channel, messages.ALIVE, self.asked(channel).ticket, 700 + number)
            self.channel_ends(channel)
            self.ends()
            self.assertIn(" retry=0.000", self.lines[-1])
            self.reactor.advance(0)
            self.assertEqual(len(self.reactor.started), number)
            channel = self.is_ready()

    def test_one_that_was_ready_and_has_not_served_waits_for_five_seconds_at_most(self) -> None:
        self.start()
        for number in range(1, 12):
            self.channel_ends(self.template()[1])
            self.ends()
            pass_time(self.reactor, 5.0)
            self.assertEqual(len(self.reactor.started), number + 1)
            self.is_ready()
        self.assertIn(" retry=5.000", " ".join(self.lines))

    def test_one_that_cannot_be_started_is_tried_again(self) -> None:
        self.reactor.spawn_error = OSError(errno.EAGAIN, "again")
        self.launcher.start(self.pool)
        self.assertEqual(
            self.lines,
            [f"template not started errno=EAGAIN reason={os.strerror(errno.EAGAIN)!r} retry=0.100"],
        )
        self.assertEqual(self.reactor.readers, [])
        self.reactor.spawn_error = None
        self.reactor.advance(0.1)
        self.is_ready()
        self.assertTrue(self.pool.places.may_accept())

    def test_one_that_does_not_answer_is_killed_and_replaced(self) -> None:
        channel = self.start()
        connection = self.connect()
        self.reactor.pump([1] * 6)
        self.assertEqual(self.template()[0].signals, ["KILL"])
        self.assertIn("template stuck", self.lines[-1])
        self.ends()
        self.channel_ends(channel)
        self.reactor.advance(1)
        self.assertEqual(self.asked(self.is_ready()).payload, connection.details())

    def test_one_that_is_not_ready_in_its_time_is_killed_and_replaced(self) -> None:
        self.launcher.start(self.pool)
        self.told()
        process, channel = self.template()
        pass_time(self.reactor, 59)
        self.assertEqual(process.signals, [])
        pass_time(self.reactor, 2)
        self.assertEqual(process.signals, ["KILL"])
        self.assertIsNone(messages.receive(channel))
        self.ends()
        self.assertEqual(
            self.lines,
            [
                f"template not ready pid={process.pid} seconds=60.000",
                f"template ended pid={process.pid} signal=SIGKILL retry=0.100",
            ],
        )
        pass_time(self.reactor, 1)
        self.is_ready()
        self.assertTrue(self.pool.places.may_accept())

    def test_one_that_is_ready_has_no_limit(self) -> None:
        self.start()
        pass_time(self.reactor, 1000)
        self.assertEqual(self.template()[0].signals, [])

    def test_whoever_it_has_started_before_it_is_ready_ends_with_it_and_nobody_later(
        self,
    ) -> None:
        self.launcher.start(self.pool)
        self.assertTrue(self.template()[0].ends_its_group)
        self.is_ready()
        self.assertFalse(self.template()[0].ends_its_group, "a child would be ended with it")

    def test_a_child_that_is_never_heard_of_does_not_keep_its_connection(self) -> None:
        self.start()  # whose channel a stopped child holds
        connection = self.connect()
        self.ends()
        self.reactor.pump([1] * 12)
        self.assertEqual(self.asked(self.is_ready()).payload, connection.details())
