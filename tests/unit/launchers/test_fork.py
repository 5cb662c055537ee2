"""Tests for the fork launcher, with a template that says what the test wants."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket

from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from tests.unit.fakes import pass_time
from tests.unit.launchers.cases import ForkLauncherCase
from tests.unit.processes import forked
from twisted_fork.pool.child import Child, State
from twisted_fork.wire import messages


class AskingTests(ForkLauncherCase):
    """What a template is asked for, and what it answers."""

    def test_it_is_ready_when_the_template_is(self) -> None:
        self.launcher.start(self.pool)
        self.assertFalse(self.pool.places.may_accept())
        self.is_ready()
        self.assertTrue(self.pool.places.may_accept())
        self.assertEqual(self.lines, [f"template ready pid={self.template()[0].pid}"])

    def test_a_request_carries_what_the_child_needs(self) -> None:
        for each, spare, carried in [
            (1, False, messages.CARRIES_CONNECTION),
            (2, False, messages.CARRIES_CONNECTION | messages.CARRIES_CHANNEL),
            (1, True, messages.CARRIES_CHANNEL),
        ]:
            channel = self.start(connections_per_child=each)
            if spare:
                self.pool.placement.launch(None)
            else:
                connection = self.connect()
            message = self.asked(channel)
            self.assertEqual((message.kind, message.number), (messages.FORK, carried))
            self.assertEqual(len(message.descriptors), carried.bit_count())
            if not spare:
                self.assertEqual(message.payload, connection.details())

    def test_a_child_that_lives_has_its_connection(self) -> None:
        channel = self.start()
        connection = self.connect()
        self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
        (child,) = self.pool.children
        self.assertEqual((child.state, child.pid), (State.SERVING, 777))
        self.assertEqual(connection.descriptor, -1)
        self.processes[777].ended(Failure(ProcessDone(0)))
        self.assertEqual(len(self.pool.children), 0)

    def test_a_child_that_could_not_be_made_is_asked_for_again(self) -> None:
        channel = self.start()
        connection = self.connect()
        self.say(channel, messages.FAILED, self.asked(channel).ticket, errno.EAGAIN)
        self.assertIn("launch failing errno=EAGAIN", self.lines[-1])
        self.reactor.advance(5)
        self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
        self.assertEqual(connection.descriptor, -1)

    def test_who_finds_the_template_dead_is_served_by_the_next(self) -> None:
        channel = self.start()
        channel.close()
        found, waits = self.connect(), self.connect()
        self.assertFalse(self.pool.places.may_accept())
        while self.reactor.turn():
            pass  # now its channel is seen to have ended
        self.connect()
        self.ends()
        self.reactor.advance(5)
        channel = self.is_ready()
        asked = [self.asked(channel).payload for _ in range(3)]
        self.assertEqual({*asked[:2]}, {found.details(), waits.details()})
        self.assertNotIn("launch failing", "".join(self.lines))

    def test_requests_that_are_not_answered_are_bounded(self) -> None:
        channel = self.start()
        asked = 0
        while self.pool.places.may_accept():
            self.connect()
            asked += 1
        self.assertTrue(10 <= asked <= 64, asked)
        self.say(channel, messages.ALIVE, self.asked(channel).ticket, 777)
        self.assertTrue(self.pool.places.may_accept())

    def test_answers_to_what_nobody_asked_are_passed_over(self) -> None:
        channel = self.start()
        for kind in (messages.ALIVE, messages.FAILED, b"?"):
            self.say(channel, kind, 999, 777)
        self.assertEqual((len(self.pool.children), self.processes), (0, {}))

    def test_a_child_may_be_ready_again_before_it_is_heard_that_it_lives(self) -> None:
        # Two channels: what came first may be read last.
        channel = self.start(connections_per_child=5)
        self.connect()
        message = messages.receive(channel)
        assert message is not None
        own = socket.socket(fileno=message.descriptors[0])
        os.close(message.descriptors[1])
        with own:
            self.say(own, messages.READY)
            self.say(channel, messages.ALIVE, message.ticket, 777)
            (child,) = self.pool.children
            self.assertEqual((child.state, self.processes[777].signals), (State.IDLE, []))
            self.assertFalse([line for line in self.lines if "channel protocol error" in line])

    def test_a_child_that_nobody_knows_of_is_killed_and_waited_for(self) -> None:
        channel = self.start()
        pid = forked(signal.pause)
        self.say(channel, messages.ALIVE, 12345, pid)
        with contextlib.suppress(ChildProcessError):  # it may have been waited for already
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        pass_time(self.reactor, 5)
        self.assertRaises(ChildProcessError, os.waitpid, pid, 0)

    def test_what_raises_about_one_child_costs_that_child_alone(self) -> None:
        channel = self.start()
        first, second = self.connect(), self.connect()
        tickets = [self.asked(channel).ticket for _ in range(2)]
        taken = self.pool.taken

        def fail(child: Child) -> None:
            self.patch(self.pool, "taken", taken)
            raise ZeroDivisionError("why")

        self.patch(self.pool, "taken", fail)
        for ticket, pid in zip(tickets, (701, 702), strict=True):
            self.say(channel, messages.ALIVE, ticket, pid)
        self.assertEqual(self.processes[701].signals, ["KILL"])
        self.assertEqual(self.processes[702].signals, [])
        self.assertEqual((first.descriptor, second.descriptor), (-1, -1))
        states = [child.state for child in self.pool.children]
        self.assertEqual(states, [State.LEAVING, State.SERVING])
        self.assertIn(f"fault peer={first.peer} pid=701 ", " ".join(self.lines))
        self.assertEqual(self.template()[0].signals, [])


class StoppingTests(ForkLauncherCase):
    """The end of the launcher."""

    def test_a_template_that_has_nothing_to_do_is_let_go_at_once(self) -> None:
        channel = self.start()
        stopped = self.launcher.stop()
        self.assertIsNone(messages.receive(channel))
        self.assertNoResult(stopped)
        self.ends(signal=None)
        self.successResultOf(stopped)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_what_was_asked_for_is_done_first(self) -> None:
        channel = self.start()
        connection = self.connect()
        stopped = self.launcher.stop()
        ticket = self.asked(channel).ticket
        self.say(channel, messages.ALIVE, ticket, 777)
        self.assertEqual(connection.descriptor, -1)
        self.assertIsNone(messages.receive(channel))
        self.ends(signal=None)
        self.successResultOf(stopped)

    def test_one_that_dies_is_not_replaced(self) -> None:
        channel = self.start()
        self.connect()
        stopped = self.pool.stop()
        self.ends()
        self.channel_ends(channel)
        self.successResultOf(stopped)
        self.reactor.advance(100)
        self.assertEqual(len(self.reactor.started), 1)

    def test_one_that_dies_may_have_done_what_it_was_asked_for(self) -> None:
        channel = self.start()
        self.connect()
        ticket = self.asked(channel).ticket
        stopped = self.launcher.stop()
        self.launcher.kill()
        self.ends()
        self.assertNoResult(stopped)
        self.say(channel, messages.ALIVE, ticket, 777)
        self.successResultOf(stopped)

    def test_one_that_died_and_was_not_heard_out_keeps_nobody(self) -> None:
        channel = self.start()
        self.connect()
        ticket = self.asked(channel).ticket
        self.ends()
        messages.send(channel, messages.pack(messages.ALIVE, ticket, 777))
        stopped = self.launcher.stop()
        while self.reactor.turn():
            pass
        self.successResultOf(stopped)

    def test_while_there_is_none_it_stops_at_once(self) -> None:
        self.reactor.spawn_error = OSError(errno.EAGAIN, "again")
        self.launcher.start(self.pool)
        self.successResultOf(self.launcher.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_is_not_ready_is_killed_at_once(self) -> None:
        self.launcher.start(self.pool)
        stopped = self.launcher.stop()
        self.assertEqual(self.template()[0].signals, ["KILL"])
        self.ends()
        self.successResultOf(stopped)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_one_that_does_not_go_is_killed(self) -> None:
        self.start()
        stopped = self.launcher.stop()
        pass_time(self.reactor, 4)
        self.assertEqual(self.template()[0].signals, [])
        pass_time(self.reactor, 2)
        self.assertEqual(self.template()[0].signals, ["KILL"])
        self.assertNoResult(stopped)
        self.ends()
        self.successResultOf(stopped)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_it_can_be_killed(self) -> None:
        self.start()
        self.launcher.stop()
        self.launcher.kill()
        self.assertEqual(self.template()[0].signals, ["KILL"])
