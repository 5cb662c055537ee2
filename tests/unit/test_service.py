"""Tests for the service: how it starts, is reloaded, and the table of its life."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.python.failure import Failure

from twisted_fork.command.script import serve
from twisted_fork.entrance.ports import CannotListen
from twisted_fork.handler import Echo, InvalidHandler
from twisted_fork.inside import start
from twisted_fork.kernel import descriptors
from twisted_fork.launchers import check
from twisted_fork.service import NEXT, ForkingService, Stage, Step
from twisted_fork.settings import InvalidSetting
from twisted_fork.wire import messages

from .processes import descriptors_before
from .services import LOCAL, ServiceCase


class StartingTests(ServiceCase):
    """The beginning of a service."""

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

    def test_a_service_that_was_not_started_stops_at_once(self) -> None:
        self.successResultOf(self.stop(self.service()))

    def test_it_can_be_started_again(self) -> None:
        service = self.started()
        stopped = self.stop(service)
        self.template_ends()
        self.successResultOf(stopped)
        service.startService()
        self.template_is_ready()
        self.assertIn("accepting connections", self.lines[-1])
        self.assertEqual(len(self.reactor.started), 2)

    def test_raising_the_limit_is_not_done_before_it_starts(self) -> None:
        self.patch(descriptors, "raise_limit", None)
        self.service().open_ports()


class TellingTests(ServiceCase):
    """Whoever asks for a reload is told when it is over, and whether it went well."""

    def test_it_is_over_when_the_new_one_has_taken_over(self) -> None:
        service = self.started()
        over = service.reload()
        self.assertNoResult(over)
        self.template_is_ready()
        self.assertTrue(self.successResultOf(over))

    def test_it_is_over_when_the_new_one_has_ended(self) -> None:
        service = self.started()
        over = service.reload()
        self.assertNoResult(over)
        self.channel().close()
        self.template_ends()
        self.assertFalse(self.successResultOf(over))

    def test_without_the_childrens_user_the_old_one_goes_on(self) -> None:
        user = pwd.getpwuid(os.getuid())
        users = {"somebody": user}
        self.patch(os, "geteuid", lambda: 0)
        self.patch(pwd, "getpwnam", users.__getitem__)
        service = self.started(user="somebody")
        del users["somebody"]
        self.assertFalse(self.successResultOf(service.reload()))
        self.assertEqual(
            self.lines[-2:],
            [
                "reloading",
                "reload failed reason=\"--user cannot be 'somebody': there is no such user\""
                f" template={self.reactor.started[0]['process'].pid}",
            ],
        )
        self.assertEqual(len(self.reactor.started), 1)
        self.serve_one(service)
        users["somebody"] = user
        service.reload()
        self.template_is_ready()
        self.assertTrue(self.lines[-1].startswith("reloaded"), self.lines[-1])

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
