"""Tests for the fork launcher, with a template that says what the test wants."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from typing import Any, cast

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tests.unit.cases import Case
from tests.unit.fakes import FakeProcess, FakeReactor, journal_of, pass_time
from tests.unit.processes import forked
from tests.unit.world import RecordingProtocol
from twisted_fork.handler import Echo
from twisted_fork.inside import start
from twisted_fork.kernel.stderr import StandardError
from twisted_fork.launchers import fork, interpreter, templates
from twisted_fork.launchers.fork import ForkLauncher
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_for
from twisted_fork.places.connection import Connection
from twisted_fork.pool.child import Child, State
from twisted_fork.pool.pool import Pool
from twisted_fork.settings import Settings
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders


class ForkLauncherCase(Case):
    """A pool and its fork launcher; the other ends of all channels are the test's."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.processes: dict[int, FakeProcess] = {}
        self.swept: list[int] = []
        self.peers = 0
        self.patch(fork, "adopt", self.forked_process)
        test = self

        class FakeSweep:
            def __init__(self, clock: object, which: int) -> None:
                self.group = -which

            def sweep(self) -> None:
                test.swept.append(self.group)

        self.patch(templates, "Sweep", FakeSweep)
        self.build()

    def build(self, **given: Any) -> None:
        settings = Settings(**{"spare_children": 0, **given})
        told = orders_for(Echo(), settings, listened_to=False)
        journal = journal_of(self.lines)
        self.launcher = ForkLauncher(self.reactor, self.reactor, journal, told, self.starter())
        self.pool = Pool(
            settings,
            self.reactor,
            self.launcher,
            journal,
            RecordingProtocol,
            room=lambda: None,
            last_words=lambda pid: None,
        )

    def starter(self) -> Starter:
        """Starts nothing but what the fake reactor makes up."""
        self.patch(interpreter, "start_process", self.reactor.start_process)
        another = FakeReactor()
        stderr = StandardError(another, another, journal_of(self.lines))
        self.addCleanup(stderr.close)
        return Starter(self.reactor, self.reactor, stderr, (1024, 1024), None)

    def forked_process(self, reactor: object, clock: object, pid: int, ended: Any) -> FakeProcess:
        process = FakeProcess(pid)
        process.ended = ended
        self.processes[pid] = process
        return process

    def template(self, number: int = -1) -> tuple[FakeProcess, socket.socket]:
        """A template that was started: its process, and its end of its channel."""
        started = self.reactor.started[number]
        channel: socket.socket = started["channel"]
        if channel.fileno() >= 0:
            channel.settimeout(10)
        self.addCleanup(channel.close)
        return cast(FakeProcess, started["process"]), channel

    def start(self, **given: Any) -> socket.socket:
        """Start the launcher; its template is ready."""
        self.build(**given)
        self.launcher.start(self.pool)
        return self.is_ready()

    def is_ready(self) -> socket.socket:
        """The newest template has its orders, and says that it is ready."""
        process, channel = self.template()
        self.told()
        self.say(channel, messages.READY, 0, process.pid)
        return channel

    def told(self) -> Orders:
        """The orders of the newest template."""
        message = messages.receive(self.template()[1])
        assert message is not None
        self.assertEqual(message.kind, messages.ORDERS)
        return start.orders_in(message)

    def say(self, channel: socket.socket, kind: bytes, ticket: int = 0, number: int = 0) -> None:
        messages.send(channel, messages.pack(kind, ticket, number))
        while self.reactor.turn():
            pass

    def asked(self, channel: socket.socket) -> messages.Message:
        """What the template is asked for next; its descriptors are closed."""
        message = messages.receive(channel)
        assert message is not None
        for descriptor in message.descriptors:
            os.close(descriptor)
        return message

    def connect(self) -> Connection:
        """A connection, of a real descriptor, is given to the pool."""
        self.peers += 1
        served, peer = socket.socketpair()
        self.addCleanup(peer.close)
        connection = Connection(served.detach(), f"/peer/{self.peers}")
        self.addCleanup(connection.close)
        self.pool.serve(connection)
        return connection

    def ends(self, number: int = -1, signal: int | None = 9) -> None:
        """A template's process ends."""
        started = self.reactor.started[number]
        started["process"].over = True
        reason = ProcessDone(0) if signal is None else ProcessTerminated(None, signal, signal)
        started["ended"](Failure(reason))

    def channel_ends(self, channel: socket.socket) -> None:
        channel.close()
        while self.reactor.turn():
            pass


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
        asked = messages.receive(channel)
        assert asked is not None
        for descriptor in asked.descriptors:
            self.addCleanup(os.close, descriptor)
        self.say(channel, messages.ALIVE, asked.ticket, 777)
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
