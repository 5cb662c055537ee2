"""Tests for the service: its parts together, how it starts, and how it stops."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_fork.command.script import serve
from twisted_fork.entrance.ports import CannotListen
from twisted_fork.handler import Echo, InvalidHandler, Program
from twisted_fork.inside import start
from twisted_fork.kernel import descriptors, system
from twisted_fork.launchers import check, fork, interpreter
from twisted_fork.pool.child import ChildProtocol
from twisted_fork.service import NEXT, ForkingService, Stage, Step
from twisted_fork.settings import InvalidSetting, Settings
from twisted_fork.wire import messages

from .cases import Case
from .fakes import FakeProcess, FakeReactor, journal_of
from .processes import descriptors_before

LOCAL = "tcp:0:interface=127.0.0.1"


class ServiceCase(Case):
    """A service whose template and children are the test's."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.processes: list[FakeProcess] = []
        self.limits: list[tuple[int, int]] = []
        self.patch(fork, "adopt", self.forked_process)
        self.patch(check, "check", lambda *arguments: None)
        self.patch(interpreter, "start_process", self.reactor.start_process)
        self.patch(resource, "getrlimit", lambda which: (1024, 4096))
        self.patch(resource, "setrlimit", lambda which, limits: None)
        self.patch(resource, "prlimit", lambda pid, which, limits: self.limits.append(limits))
        self.pids = iter(range(7001, 8000))

    def forked_process(self, reactor: object, clock: object, pid: int, ended: Any) -> FakeProcess:
        process = FakeProcess(pid)
        process.ended = ended
        self.processes.append(process)
        return process

    def service(self, *endpoints: Any, **given: Any) -> ForkingService:
        settings = Settings(**{"spare_children": 0, **given})
        service = ForkingService(endpoints or [LOCAL], Echo(), settings, reactor=self.reactor)
        self.patch(service, "_journal", journal_of(self.lines))
        return service

    def turn(self) -> None:
        """Whatever is due now happens."""
        self.reactor.advance(0)
        while self.reactor.turn():
            self.reactor.advance(0)

    def started(self, **given: Any) -> ForkingService:
        """A service that accepts connections."""
        service = self.service(**given)
        service.startService()
        self.template_is_ready()
        return service

    def template_is_ready(self) -> None:
        process = self.reactor.started[-1]["process"]
        self.say(messages.pack(messages.READY, number=process.pid))

    def channel(self) -> socket.socket:
        """The newest template's end of its channel."""
        channel = self.reactor.started[-1]["channel"]
        self.addCleanup(channel.close)
        return cast(socket.socket, channel)

    def say(self, data: bytes) -> None:
        messages.send(self.channel(), data)
        self.turn()

    def address(self) -> tuple[str, int]:
        """Where the service listens, as it says."""
        host, _, port = self.lines[-1].strip("'").rpartition(" ")[2].rpartition(":")
        return host, int(port)

    def serve_one(self, service: ForkingService) -> FakeProcess:
        """A peer connects, and a child serves it; its process."""
        host, port = next(
            line.strip("'").rpartition(" ")[2].rpartition(":")[::2]
            for line in self.lines
            if line.startswith("accepting")
        )
        peer = socket.create_connection((host, int(port)), timeout=10)
        self.addCleanup(peer.close)
        self.turn()
        message = None
        while message is None or message.kind != messages.FORK:
            message = messages.receive(self.channel())
            assert message is not None
        for descriptor in message.descriptors:
            os.close(descriptor)
        self.say(messages.reply(message, messages.ALIVE, next(self.pids)))
        return self.processes[-1]

    def child_ends(self, process: FakeProcess, number: int | None = None) -> None:
        process.over = True
        reason = ProcessDone(0) if number is None else ProcessTerminated(None, number, number)
        process.ended(Failure(reason))
        self.turn()

    def template_ends(self) -> None:
        self.reactor.started[-1]["process"].over = True
        self.reactor.started[-1]["ended"](Failure(ProcessDone(0)))
        self.turn()

    def stop(self, service: ForkingService) -> Deferred[Any]:
        stopped: Deferred[Any] = service.stopService()
        self.turn()
        return stopped


class ArgumentTests(ServiceCase):
    """What a service is made of."""

    def made(self, **given: Any) -> ForkingService:
        return ForkingService([LOCAL], Echo(), reactor=self.reactor, **given)

    def test_settings_that_are_none_are_refused(self) -> None:
        for wrong in ({}, {"max_children": 5}, 0, "x", Settings):
            with self.assertRaisesRegex(TypeError, r"^settings cannot be .*: it takes Settings\("):
                self.made(settings=wrong)
        self.assertEqual(self.made(settings=None).settings, Settings())

    def test_a_protocol_that_cannot_be_made_for_each_child_is_refused(self) -> None:
        class Demanding(ChildProtocol):
            """Wants something."""

            def __init__(self, shop: object) -> None:
                """With a shop."""

        class Content(ChildProtocol):
            """Does not need anything."""

            def __init__(self, shop: object = None, *more: object) -> None:
                """With or without a shop."""

        for wrong in (Demanding, ChildProtocol(), ProcessProtocol, Echo, lambda: None, None):
            with self.assertRaisesRegex(
                TypeError, "^protocol cannot be .*: it takes a subclass of ChildProtocol|; it takes"
            ):
                self.made(protocol=wrong)
        self.made(protocol=Content)


class StartingTests(ServiceCase):
    """The beginning of a service."""

    def test_connections_are_accepted_when_the_template_is_ready(self) -> None:
        service = self.service()
        service.startService()
        self.turn()
        self.assertEqual(self.lines, [])
        self.template_is_ready()
        self.assertRegex(self.lines[-1], r"^accepting connections address='tcp 127\.0\.0\.1:\d+'$")
        process = self.serve_one(service)
        self.assertIn(f"pid={process.pid}", self.lines[-1])
        (info,) = service.children()
        self.assertEqual((info.pid, info.state), (process.pid, "serving"))

    def test_all_ports_are_opened_or_none(self) -> None:
        before = len(descriptors_before())
        service = self.service(LOCAL, LOCAL, "nonsense")
        self.assertRaises(CannotListen, service.open_ports)
        self.turn()
        self.assertLessEqual(len(os.listdir("/proc/self/fd")) - before, 1)
        service = self.service(LOCAL, LOCAL)
        service.open_ports()
        service.open_ports()
        service.startService()
        self.template_is_ready()
        self.assertEqual("".join(self.lines[-2:]).count("127.0.0.1"), 2)

    def test_it_has_to_listen_somewhere(self) -> None:
        wrong: list[Any] = [[], 8000]
        for endpoints in wrong:
            with self.assertRaisesRegex(CannotListen, "^endpoints cannot be .*'tcp:8000'"):
                ForkingService(endpoints, Echo(), reactor=self.reactor)

    def test_a_script_is_told_what_listen_takes(self) -> None:
        wrong: list[Any] = [[], 8000]
        for listen in wrong:
            with self.assertRaisesRegex(CannotListen, "^listen cannot be .*'tcp:8000'"):
                serve(Echo(), listen)

    def test_two_ports_that_are_the_same_are_said_to_be_its_own(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
        service = self.service(f"tcp:{port}:interface=127.0.0.1", f"tcp6:{port}")
        with self.assertRaisesRegex(
            CannotListen, "this server itself listens there already, at tcp"
        ):
            service.open_ports()

    def test_more_children_than_there_can_be_are_refused(self) -> None:
        service = self.service(max_children=1_000_000)
        with self.assertRaisesRegex(InvalidSetting, "would fit"):
            service.startService()

    def test_a_handler_that_does_not_load_is_refused(self) -> None:
        self.patch(check, "check", lambda *arguments: "no such module")
        with self.assertRaisesRegex(InvalidHandler, "no such module"):
            self.service().startService()

    def test_what_was_checked_is_what_is_served_with(self) -> None:
        certificate = Path(self.mktemp())
        certificate.write_text("checked")
        service = self.service(tls_certificate=str(certificate))
        service.privilegedStartService()
        certificate.write_text("another")
        service.startService()
        message = messages.receive(self.channel())
        assert message is not None
        tls = start.orders_in(message)["tls"]
        assert tls is not None
        self.assertEqual(tls["certificate"][1], b"checked")

    def test_the_call_that_the_check_has_found_is_the_one_to_fork_with(self) -> None:
        def found(orders: dict[str, Any], *arguments: object) -> None:
            orders["clone"] = "clone"

        self.patch(check, "check", found)
        service = self.service()
        # whoever opens the ports first has it checked all the same
        service.open_ports()
        service.startService()
        service.reload()
        for started in self.reactor.started:
            self.addCleanup(started["channel"].close)
            message = messages.receive(started["channel"])
            assert message is not None
            self.assertEqual(start.orders_in(message)["clone"], "clone")
        self.assertEqual(len(self.reactor.started), 2)

    def test_children_have_the_limits_that_were_before_they_were_raised(self) -> None:
        self.started()
        self.assertEqual(self.limits, [(1024, 4096)])

    def test_so_have_those_of_a_service_that_starts_when_they_were_raised_already(self) -> None:
        limits = [(1024, 4096)]
        self.patch(resource, "getrlimit", lambda which: limits[-1])
        self.patch(resource, "setrlimit", lambda which, new: limits.append(new))
        self.started()
        self.started()
        self.assertEqual(self.limits, [(1024, 4096)] * 2)


class LifeTests(ServiceCase):
    """The table of a service's life."""

    def test_it_goes_through_all_stages_and_is_as_new_then(self) -> None:
        service = self.service()
        stages = [service.stage]
        for step in (service.check, service.open_ports, service.startService):
            step()
            stages.append(service.stage)
        self.template_is_ready()
        stopped = self.stop(service)
        stages.append(service.stage)
        self.template_ends()
        self.successResultOf(stopped)
        self.assertEqual(stages, list(Stage))
        self.assertIs(service.stage, Stage.NEW)

    def test_every_stage_is_left_for_one_that_can_be_left_too(self) -> None:
        for stage in Stage:
            thens = {then for (before, _), then in NEXT.items() if before is stage}
            self.assertTrue(thens - {stage}, stage)

    def test_ports_are_not_opened_before_the_handler_was_checked(self) -> None:
        opens = {stage for stage, step in NEXT if step is Step.OPEN}
        self.assertEqual(opens, {Stage.CHECKED})
        self.patch(check, "check", lambda *arguments: "no such module")
        service = self.service()
        self.assertRaises(InvalidHandler, service.open_ports)
        self.assertIs(service.stage, Stage.NEW)

    def test_one_that_runs_cannot_be_started_nor_one_that_stops(self) -> None:
        service = self.started()
        with self.assertRaisesRegex(RuntimeError, "start: the service is running"):
            service.startService()
        stopped = self.stop(service)
        with self.assertRaisesRegex(RuntimeError, "start: the service is stopping"):
            service.startService()
        self.template_ends()
        self.successResultOf(stopped)

    def test_one_that_runs_can_be_checked(self) -> None:
        service = self.started()
        service.check()
        self.assertIs(service.stage, Stage.RUNNING)
        self.stop(service)
        self.template_ends()

    def test_the_ports_of_one_that_was_never_started_are_closed(self) -> None:
        service = self.service()
        service.open_ports()
        address = service._ports[0].socket.getsockname()
        self.successResultOf(self.stop(service))
        self.assertIs(service.stage, Stage.NEW)
        with socket.socket() as client:
            self.assertRaises(ConnectionRefusedError, client.connect, address)


class StoppingTests(ServiceCase):
    """The end of a service."""

    def test_a_service_that_was_not_started_stops_at_once(self) -> None:
        self.successResultOf(self.stop(self.service()))

    def test_without_children_it_stops_with_its_template(self) -> None:
        before = len(descriptors_before())
        service = self.started()
        stopped = self.stop(service)
        self.assertNoResult(stopped)
        self.template_ends()
        self.successResultOf(stopped)
        self.assertEqual(self.lines[-1], "stopped")
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        self.channel().close()
        self.assertLessEqual(len(os.listdir("/proc/self/fd")) - before, 1)

    def test_children_that_serve_may_finish(self) -> None:
        service = self.started()
        process = self.serve_one(service)
        stopped = self.stop(service)
        self.assertIn("stopping children=1 grace=5.000", self.lines)
        self.template_ends()
        self.reactor.advance(4)
        self.child_ends(process)
        self.successResultOf(stopped)
        self.assertEqual(process.signals, [])
        self.assertEqual(
            [line.partition(" peer")[0] for line in self.lines[-2:]], ["child ended", "stopped"]
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_nobody_is_accepted_any_more(self) -> None:
        service = self.started()
        address = self.address()
        process = self.serve_one(service)
        self.stop(service)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(address, timeout=10)
        self.assertEqual(process.signals, [])

    def test_those_that_do_not_finish_get_signals_each_after_the_grace(self) -> None:
        service = self.started(grace=2.0)
        process = self.serve_one(service)
        stopped = self.stop(service)
        self.reactor.advance(1.9)
        self.assertEqual(process.signals, [])
        self.reactor.advance(0.2)
        self.assertEqual(process.signals, ["TERM"])
        self.assertIn("children signalled signal=SIGTERM children=1", self.lines)
        self.reactor.advance(1.8)
        self.assertEqual(process.signals, ["TERM"])
        self.reactor.advance(0.2)
        self.assertEqual(process.signals, ["TERM", "KILL"])
        self.assertIn("children signalled signal=SIGKILL children=1", self.lines)
        self.assertEqual(self.reactor.started[-1]["process"].signals, ["KILL"])
        self.child_ends(process, 9)
        self.assertNoResult(stopped)
        self.template_ends()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_it_can_be_hurried(self) -> None:
        service = self.started(grace=1000.0)
        process = self.serve_one(service)
        service.hurry()
        self.stop(service)
        service.hurry()
        self.turn()
        self.assertEqual(process.signals, ["TERM"])
        service.hurry()
        self.turn()
        self.assertEqual(process.signals, ["TERM", "KILL"])

    def test_it_can_be_started_again(self) -> None:
        service = self.started()
        stopped = self.stop(service)
        self.template_ends()
        self.successResultOf(stopped)
        service.startService()
        self.template_is_ready()
        self.assertIn("accepting connections", self.lines[-1])
        self.assertEqual(len(self.reactor.started), 2)

    def test_a_reload_that_is_asked_for_before_the_start_or_while_it_stops_is_none(self) -> None:
        self.assertFalse(self.successResultOf(self.service().reload()))
        service = self.started()
        self.serve_one(service)
        self.stop(service)
        self.assertFalse(self.successResultOf(service.reload()))
        self.assertNotIn("reloading", self.lines)

    def test_a_reload_that_is_not_over_ends_with_the_service_and_no_other_begins(self) -> None:
        service = self.started()
        first, second = service.reload(), service.reload()
        template = self.reactor.started[0]
        stopped = self.stop(service)
        self.assertEqual(self.reactor.started[1]["process"].signals, ["KILL"])
        self.assertNoResult(first)
        self.template_ends()
        self.assertFalse(self.successResultOf(first))
        self.assertFalse(self.successResultOf(second))
        self.assertEqual(len(self.reactor.started), 2)
        template["process"].over = True
        template["ended"](Failure(ProcessDone(0)))
        self.successResultOf(stopped)
        self.assertEqual(self.lines.count("reloading"), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_raising_the_limit_is_not_done_before_it_starts(self) -> None:
        self.patch(descriptors, "raise_limit", None)
        self.service().open_ports()


class ProgramTests(ServiceCase):
    """Who executes a program."""

    def started_with_program(self) -> None:
        service = ForkingService([LOCAL], Program(["cat"]), Settings(), reactor=self.reactor)
        self.patch(service, "_journal", journal_of(self.lines))
        service.startService()
        self.turn()

    def test_it_is_executed_by_the_reactor_process(self) -> None:
        self.started_with_program()
        self.assertEqual(self.reactor.started, [])
        self.assertEqual(len(self.lines), 1)

    def test_where_that_cannot_begin_a_session_it_is_executed_by_children(self) -> None:
        self.patch(system, "can_begin_sessions", lambda: False)
        self.started_with_program()
        self.assertEqual(len(self.reactor.started), 1)
        self.assertIn("programs executed by children", self.lines[0])
