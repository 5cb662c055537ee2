"""Tests for which launcher a service has, and where its children write."""

from __future__ import annotations

from typing import Any

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of
from twisted_fork.handler import Echo, Handler, Imported, Program
from twisted_fork.kernel import system
from twisted_fork.kernel.stderr import StandardError
from twisted_fork.launchers import choice
from twisted_fork.launchers.choice import choose
from twisted_fork.launchers.fork import ForkLauncher
from twisted_fork.launchers.interpreter import Starter
from twisted_fork.launchers.orders import orders_for
from twisted_fork.launchers.program import ExecLauncher
from twisted_fork.launchers.spawn import SpawnLauncher
from twisted_fork.pool.launcher import Launcher
from twisted_fork.settings import Settings


class ChoosingTests(Case):
    """It depends on the handler, the settings, and the system."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.stdouts: list[int | None] = []
        test = self

        class NotedStarter(Starter):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                test.stdouts.append(arguments[4])

        self.patch(choice, "Starter", NotedStarter)

    def launcher(self, handler: Handler, **given: Any) -> Launcher:
        settings = Settings(**given)
        reactor, journal = FakeReactor(), journal_of(self.lines)
        stderr = StandardError(reactor, reactor, journal)
        self.addCleanup(stderr.close)
        orders = orders_for(handler, settings, False)
        return choose(handler, settings, orders, reactor, reactor, journal, stderr, (64, 64))

    def test_a_program_that_needs_nothing_else_is_executed_by_the_reactor_process(self) -> None:
        self.assertIsInstance(self.launcher(Program(["cat"])), ExecLauncher)
        self.assertEqual(self.lines, [])

    def test_one_that_needs_something_else_is_executed_by_children(self) -> None:
        self.assertIsInstance(self.launcher(Program(["cat"], chdir="/")), ForkLauncher)
        limited = self.launcher(Program(["cat"]), memory=2**30, launcher="spawn")
        self.assertIsInstance(limited, SpawnLauncher)
        self.assertEqual(self.lines, [])

    def test_so_is_every_program_where_no_session_can_be_begun_and_that_is_said(self) -> None:
        self.patch(system, "can_begin_sessions", lambda: False)
        self.assertIsInstance(self.launcher(Program(["cat"])), ForkLauncher)
        self.assertEqual(len(self.lines), 1)

    def test_everything_else_as_the_settings_say(self) -> None:
        for handler in (Echo(), Imported("os", "close")):
            self.assertIsInstance(self.launcher(handler), ForkLauncher)
            self.assertIsInstance(self.launcher(handler, launcher="spawn"), SpawnLauncher)

    def test_only_what_is_printed_goes_to_standard_output(self) -> None:
        for handler in (Echo(print=True), Echo(), Imported("os", "close")):
            self.launcher(handler)
        self.assertEqual(self.stdouts, [1, None, None])
