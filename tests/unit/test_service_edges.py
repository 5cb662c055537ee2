"""Tests for a service that is checked at an unusual stage, or cannot do what it is asked for."""

from __future__ import annotations

from typing import Any

from twisted_fork import service as module
from twisted_fork.handler import InvalidHandler
from twisted_fork.kernel import system
from twisted_fork.service import Stage
from twisted_fork.settings import InvalidSetting

from .services import ServiceCase


class StageTests(ServiceCase):
    """What can be done at which stage."""

    def test_a_check_is_possible_at_each_and_changes_none_but_the_first(self) -> None:
        service = self.service()
        service.check()
        service.check()
        self.assertIs(service.stage, Stage.CHECKED)
        service.open_ports()
        service.check()
        self.assertIs(service.stage, Stage.OPEN)
        service.startService()
        self.template_is_ready()
        stopped = self.stop(service)
        service.check()
        self.assertIs(service.stage, Stage.STOPPING)
        self.template_ends()
        self.successResultOf(stopped)

    def test_what_the_system_denies_is_found_by_the_check(self) -> None:
        def denied() -> None:
            raise InvalidSetting("no such call")

        self.patch(system, "check", denied)
        service = self.service()
        self.assertRaises(InvalidSetting, service.check)
        self.assertIs(service.stage, Stage.NEW)

    def test_children_are_told_of_until_they_have_ended(self) -> None:
        service = self.service()
        self.assertEqual(service.children(), [])
        service.startService()
        self.template_is_ready()
        process = self.serve_one(service)
        stopped = self.stop(service)
        self.assertEqual([info.pid for info in service.children()], [process.pid])
        self.child_ends(process)
        self.template_ends()
        self.successResultOf(stopped)
        self.assertEqual(service.children(), [])

    def test_it_is_running_as_twisted_has_it_from_its_start_to_its_stop(self) -> None:
        service: Any = self.service()
        self.assertFalse(service.running)
        service.startService()
        self.assertTrue(service.running)
        self.template_is_ready()
        self.stop(service)
        self.assertFalse(service.running)
        self.template_ends()

    def test_its_reactor_is_given_a_steady_clock_when_it_starts(self) -> None:
        steady: list[object] = []
        self.patch(module, "keep_steady", steady.append)
        service = self.service()
        service.open_ports()
        self.assertEqual(steady, [])
        service.startService()
        self.assertEqual(steady, [self.reactor])


class TroubleTests(ServiceCase):
    """What raises does not keep it from what is to be done."""

    def test_a_stop_that_raises_is_logged_and_done_again(self) -> None:
        service = self.started()
        stop = service._running.stop

        def fail() -> None:
            self.patch(service._running, "stop", stop)
            raise ZeroDivisionError

        self.patch(service._running, "stop", fail)
        stopped = self.stop(service)
        self.assertIn("ZeroDivisionError", " ".join(self.lines))
        self.template_ends()
        self.successResultOf(stopped)
        self.assertIs(service.stage, Stage.NEW)

    def test_a_reload_that_cannot_be_done_has_failed_and_the_log_says_why(self) -> None:
        service = self.started()
        pid = self.reactor.started[0]["process"].pid
        for kind in (InvalidHandler, InvalidSetting, OSError):

            def fail(*arguments: object, kind: type[Exception] = kind) -> None:
                raise kind("why not")

            self.patch(module, "orders_for", fail)
            self.assertFalse(self.successResultOf(service.reload()))
            self.assertEqual(
                self.lines[-2:], ["reloading", f"reload failed reason='why not' template={pid}"]
            )
        self.assertEqual(len(self.reactor.started), 1)
