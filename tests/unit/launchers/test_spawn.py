"""Tests for the spawn launcher, with interpreters that say what the test wants."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast

from twisted.internet import process as twisted_process
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.python.failure import Failure

from tests.unit.fakes import FakeProcess, FakeReactor
from tests.unit.launchers.cases import SpawnCase
from tests.unit.processes import descriptors_before
from twisted_fork.inside import start
from twisted_fork.kernel.processes import ForkedProcess
from twisted_fork.launchers import interpreter, spawn
from twisted_fork.pool.child import State
from twisted_fork.wire import messages
from twisted_fork.wire.orders import Orders


class FakeCheck:
    """A check that is over when the test says so."""

    made: FakeCheck | None = None

    def __init__(self, clock: Any, watcher: Any, starter: Any, orders: Any, over: Any) -> None:
        self.over = over
        self.kills = 0
        self.reload: Deferred[bool]
        FakeCheck.made = self

    def kill(self) -> None:
        self.kills += 1


class SpawnLauncherTests(SpawnCase):
    """The other ends of all channels are the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(interpreter, "start_process", self.reactor.start_process)

    def started(self, number: int = -1) -> tuple[FakeProcess, socket.socket]:
        """An interpreter that was started: its process, and its end of its channel."""
        started: dict[str, Any] = self.reactor.started[number]
        channel: socket.socket = started["channel"]
        channel.settimeout(10)
        self.addCleanup(channel.close)
        return cast(FakeProcess, started["process"]), channel

    def heard(self, channel: socket.socket) -> messages.Message:
        """What an interpreter is told next; its descriptors are closed."""
        message = messages.receive(channel)
        assert message is not None
        for descriptor in message.descriptors:
            os.close(descriptor)
        return message

    def say(self, kind: bytes, number: int = -1) -> None:
        messages.send(self.started(number)[1], messages.pack(kind))
        while self.reactor.turn():
            pass

    def ends(self, number: int = -1, signal: int | None = None) -> None:
        """An interpreter's process, and with it its channel, ends."""
        process, channel = self.started(number)
        channel.close()
        while self.reactor.turn():
            pass
        process.over = True
        reason = ProcessDone(0) if signal is None else ProcessTerminated(None, signal, signal)
        self.reactor.started[number]["ended"](Failure(reason))

    def test_a_connection_is_sent_when_its_interpreter_is_ready(self) -> None:
        connection = self.connect()
        process, channel = self.started()
        self.assertEqual(self.heard(channel).kind, messages.ORDERS)
        self.say(messages.READY)
        message = self.heard(channel)
        self.assertEqual(
            (message.kind, message.payload), (messages.CONNECTION, connection.details())
        )
        self.assertGreaterEqual(connection.descriptor, 0)
        self.say(messages.TAKEN)
        (child,) = self.pool.children
        self.assertEqual((child.state, child.pid), (State.SERVING, process.pid))
        self.assertEqual(connection.descriptor, -1)

    def test_a_spare_waits_when_it_is_ready(self) -> None:
        self.pool.placement.launch(None)
        self.say(messages.READY)
        self.assertEqual(self.pool.children.idle, 1)
        self.connect()
        self.assertEqual(len(self.reactor.started), 1)

    def test_interpreters_that_start_are_bounded(self) -> None:
        while self.pool.places.may_accept():
            self.connect()
        self.assertIn(len(self.reactor.started), range(1, 17))
        self.say(messages.READY, 0)
        self.assertTrue(self.pool.places.may_accept())

    def test_one_that_cannot_be_started_leaves_nothing_and_is_tried_again(self) -> None:
        before = len(descriptors_before())
        self.reactor.spawn_error = OSError(errno.EAGAIN, "again")
        connection = self.connect()
        self.assertEqual(self.reactor.readers, [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 2)
        self.assertIn("launch failing", self.lines[-1])
        self.reactor.spawn_error = None
        self.reactor.advance(5)
        (child,) = self.pool.children
        self.assertIs(child.connection, connection)

    def test_one_that_ends_before_it_is_ready_loses_no_connection(self) -> None:
        connection = self.connect()
        self.ends(signal=9)
        self.assertRegex(self.lines[-1], "without serving .* signal=SIGKILL tries=1$")
        self.assertEqual(len(self.reactor.started), 2)
        (child,) = self.pool.children
        self.assertIs(child.connection, connection)

    def test_one_that_takes_too_long_is_killed(self) -> None:
        self.connect()
        self.reactor.pump([1] * 50)
        self.assertEqual(self.started()[0].signals, [])
        self.reactor.pump([1] * 20)
        self.assertIn("KILL", self.started()[0].signals)
        self.assertIn("child stuck", self.lines[-1])

    def test_stopping_lets_spares_go_and_serves_what_waits(self) -> None:
        self.pool.placement.launch(None)
        connection = self.connect()
        stopped = self.pool.stop()
        self.heard(self.started(0)[1])
        self.assertIsNone(messages.receive(self.started(0)[1]))
        self.ends(0)
        self.assertEqual(self.lines, [], "that a spare goes is no news")
        self.say(messages.READY, 1)
        self.say(messages.TAKEN, 1)
        self.assertEqual(connection.descriptor, -1)
        self.assertNoResult(stopped)
        self.ends(1)
        self.successResultOf(stopped)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_stopping_without_children_takes_no_time(self) -> None:
        self.successResultOf(self.pool.stop())

    def test_only_a_reload_whose_orders_will_do_changes_them(self) -> None:
        new: Orders = {**self.orders(), "handler": {"kind": "echo", "print": True}}
        for wrong, others in (("the key does not fit", self.orders()), (None, new)):
            check = self.reload(new)
            self.assertNoResult(check.reload)
            check.over(wrong)
            self.assertEqual(self.successResultOf(check.reload), wrong is None)
            self.pool.placement.launch(None)
            message = messages.receive(self.started()[1])
            assert message is not None
            self.assertEqual(start.orders_in(message), others)
        failed = "reload failed reason='the key does not fit'"
        self.assertEqual(self.lines, [failed, "reloaded"])

    def reload(self, orders: Orders) -> FakeCheck:
        """A reload has begun; its check."""
        self.patch(spawn, "Check", FakeCheck)
        FakeCheck.made = None
        over = self.launcher.reload(orders)
        assert FakeCheck.made is not None
        FakeCheck.made.reload = over
        return FakeCheck.made

    def test_a_reload_that_cannot_be_begun_has_failed(self) -> None:
        def cannot(*given: object) -> None:
            raise OSError(errno.EAGAIN, "again")

        self.patch(spawn, "Check", cannot)
        self.assertFalse(self.successResultOf(self.launcher.reload(self.orders())))
        self.assertEqual(self.lines, [f"reload failed reason={os.strerror(errno.EAGAIN)!r}"])
        self.successResultOf(self.launcher.stop())

    def test_stopping_ends_a_reload_and_waits_for_its_end(self) -> None:
        check = self.reload(self.orders())
        stopped = self.launcher.stop()
        self.assertEqual(check.kills, 1)
        self.assertNoResult(stopped)
        check.over("it was killed")
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(check.reload))
        self.assertEqual(self.lines, [])

    def test_a_reload_can_be_killed(self) -> None:
        check = self.reload(self.orders())
        self.launcher.kill()
        self.assertEqual(check.kills, 1)

    def test_those_that_start_can_be_killed(self) -> None:
        self.connect()
        self.launcher.kill()
        self.assertEqual(self.started()[0].signals, ["KILL"])


class ShellReactor(FakeReactor):
    """Starts real processes, of a shell, instead of interpreters."""

    script = "exit 0"

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> Any:
        command = ["sh", "-c", self.script]
        return super().spawnProcess(protocol, "/bin/sh", command, {}, options["childFDs"])


class WaitingTests(SpawnCase):
    """Real processes, which are waited for."""

    reactor: ShellReactor

    def new_reactor(self) -> ShellReactor:
        return ShellReactor()

    def ends_at_once(self, script: str) -> None:
        """Processes run *script*, and have ended when Twisted looks for the first time."""
        register: Any = twisted_process.registerReapProcessHandler
        self.reactor.script = script

        def late(pid: int, process: Any) -> None:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            register(pid, process)

        self.patch(twisted_process, "registerReapProcessHandler", late)

    def test_its_end_is_told_once(self) -> None:
        self.reactor.script = "exec sleep 100"
        self.pool.placement.launch(None)
        (child,) = self.pool.children
        process = child.process
        assert isinstance(process, ForkedProcess)
        self.assertEqual(child.pid, process.pid)
        self.assertNotIn(process.pid, twisted_process.reapProcessHandlers)
        child.kill()
        self.reactor.turn_until(lambda: not self.pool.children)
        self.assertIsNotNone(process.usage)
        self.assertEqual(self.lines, [f"idle child ended pid={child.pid} signal=SIGKILL"])
        self.assertEqual(self.reactor.readers, [])
        self.assertRaises(ChildProcessError, os.waitpid, process.pid, os.WNOHANG)

    def test_one_that_ends_as_it_is_started_ends_once_with_its_status(self) -> None:
        before = len(descriptors_before())
        self.ends_at_once("exit 7")
        self.pool.placement.launch(None)
        (child,) = self.pool.children
        child.kill()
        self.assertEqual(self.lines, [])
        self.reactor.advance(0)
        self.assertEqual(self.lines, [f"idle child ended pid={child.pid} exit=7"])
        self.assertIsNotNone(child.pid)
        self.assertEqual(len(self.pool.children), 0)
        self.assertEqual(self.reactor.readers, [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertTrue(self.launcher.ready())
        self.successResultOf(self.pool.stop())

    def test_its_connection_is_handed_over_anew_but_not_for_ever(self) -> None:
        self.ends_at_once("kill -9 $$")
        connection = self.connect()
        self.reactor.pump([0] * 10)
        self.assertEqual(len([line for line in self.lines if "signal=SIGKILL" in line]), 3)
        self.assertIn("no child took it", self.lines[-1])
        self.assertEqual(connection.descriptor, -1)

    def test_stopping_waits_for_it(self) -> None:
        self.ends_at_once("exit 0")
        self.pool.placement.launch(None)
        stopped = self.pool.stop()
        self.assertNoResult(stopped)
        self.reactor.advance(0)
        self.successResultOf(stopped)
