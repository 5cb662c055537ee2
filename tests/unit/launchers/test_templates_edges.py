"""Tests for templates that say something twice, end at a bad moment, or take over late."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from tests.unit.fakes import pass_time
from tests.unit.launchers.cases import ForkLauncherCase
from twisted_fork.handler import Echo
from twisted_fork.kernel.processes import ForkedProcess
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_for
from twisted_fork.pool.child import State
from twisted_fork.settings import Settings
from twisted_fork.wire import messages

NEW = orders_for(Echo(print=True), Settings(spare_children=0), listened_to=False)


class ReadyTests(ForkLauncherCase):
    """A template becomes ready."""

    def test_one_that_says_so_twice_is_ready_once(self) -> None:
        channel = self.start()
        self.pool.placement.launch(None)
        self.spare_lives(channel, 777)
        self.say(channel, messages.READY, 0, self.template()[0].pid)
        (spare,) = self.pool.children
        self.assertIs(spare.state, State.IDLE)
        self.assertEqual(self.lines, [f"template ready pid={self.template()[0].pid}"])

    def test_where_there_is_one_no_other_is_started(self) -> None:
        self.start()
        self.launcher.start(self.pool)
        self.assertEqual(len(self.reactor.started), 1)

    def test_one_that_takes_over_is_not_replaced_though_the_old_one_was_to_be(self) -> None:
        for served in (False, True):
            channel = self.start()
            if served:
                self.connect()
                self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
            self.launcher.reload(NEW)
            self.channel_ends(channel)
            self.ends(-2)
            self.assertIn("template ended", self.lines[-1])
            self.is_ready()
            self.pool.children.watchdog.cancel()
            self.assertEqual(self.reactor.getDelayedCalls(), [], served)


class StreamTests(ForkLauncherCase):
    """Children to come are given another standard error."""

    def test_the_template_is_sent_it_and_spares_with_the_old_one_go(self) -> None:
        given: list[Any] = []
        begin = Starter.start

        def start(starter: Starter, *arguments: Any) -> ForkedProcess:
            given.append(arguments[3])
            return begin(starter, *arguments)

        self.patch(Starter, "start", start)
        channel = self.start()
        self.pool.placement.launch(None)
        self.spare_lives(channel, 777)
        give: Callable[[bytes, tuple[int, ...]], object] = given[-1]
        with open(os.devnull, "wb") as stderr:
            give(messages.pack(messages.STREAMS, number=1), (stderr.fileno(),))
        message = self.asked(channel)
        self.assertEqual((message.kind, message.number), (messages.STREAMS, 1))
        self.assertEqual(len(message.descriptors), 1)
        (spare,) = self.pool.children
        self.assertIs(spare.state, State.LEAVING)


class EndingTests(ForkLauncherCase):
    """The end of a template."""

    def test_what_the_old_one_was_asked_for_and_has_not_done_is_asked_of_the_new_at_once(
        self,
    ) -> None:
        old = self.start()
        connection = self.connect()
        self.launcher.reload(NEW)
        new = self.is_ready()
        self.ends(0)
        self.channel_ends(old)
        self.assertEqual(self.asked(new).payload, connection.details())

    def test_one_that_ended_without_a_word_has_no_channel_when_it_is_given_up(self) -> None:
        channel = self.start()
        self.connect()
        self.ends()
        pass_time(self.reactor, 5.1)
        self.assertEqual(self.asked(channel).kind, messages.FORK)
        self.assertIsNone(messages.receive(channel))

    def test_five_seconds_to_end_are_enough(self) -> None:
        self.start()
        self.launcher.stop()
        pass_time(self.reactor, 5.1)
        self.assertEqual(self.template()[0].signals, ["KILL"])

    def test_whoever_stops_starts_no_successor_of_one_that_has_served(self) -> None:
        channel = self.start()
        self.connect()
        self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
        self.channel_ends(channel)
        self.ends()
        self.pool.children.watchdog.cancel()
        (call,) = self.reactor.getDelayedCalls()
        self.assertEqual(call.getTime(), self.reactor.seconds())
        self.successResultOf(self.launcher.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_has_served_ends_a_spell_of_those_that_have_not(self) -> None:
        self.launcher.start(self.pool)
        for number in range(2, 5):
            self.channel_ends(self.template()[1])
            self.ends()
            pass_time(self.reactor, 5)
            self.assertEqual(len(self.reactor.started), number)
        channel = self.is_ready()
        self.connect()
        self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
        self.channel_ends(channel)
        self.ends()
        self.reactor.advance(0)
        self.channel_ends(self.template()[1])
        self.ends()
        self.assertIn(" retry=0.100", self.lines[-1])

    def test_one_that_cannot_be_started_and_one_that_ends_are_of_one_spell(self) -> None:
        self.reactor.spawn_error = OSError(errno.EAGAIN, "again")
        self.launcher.start(self.pool)
        self.reactor.spawn_error = None
        self.reactor.advance(0.1)
        self.channel_ends(self.template()[1])
        self.ends()
        self.assertIn(" retry=0.200", self.lines[-1])
