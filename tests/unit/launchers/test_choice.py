"""Tests for which launcher there is."""

from __future__ import annotations

from tests.unit.fakes import journal_of
from tests.unit.services import LOCAL, ServiceCase
from twisted_fork.handler import Program
from twisted_fork.kernel import system
from twisted_fork.service import ForkingService
from twisted_fork.settings import Settings


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
