"""Tests for what the twistd plugins have in common: refusals, and a process for a service."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import Any

from tests.unit.cases import Case
from tests.unit.services import ServiceCase
from twisted_fork.command.forkecho import Options, makeService
from twisted_fork.command.plugin import make, own_process
from twisted_fork.handler import Echo, Imported
from twisted_fork.launchers import check


class OwnProcessTests(ServiceCase):
    """A process that is for one service alone."""

    def test_its_signals_are_taken_and_nothing_waits_for_sigchld(self) -> None:
        from twisted.internet import reactor

        handlers: dict[int, Any] = {}
        self.patch(signal, "signal", handlers.__setitem__)
        self.patch(reactor, "callWhenRunning", self.reactor.callWhenRunning)
        service = self.service()
        own_process(service)
        self.assertIsNotNone(service.observer)
        ((what, *arguments),) = self.reactor.called
        what(*arguments)
        self.assertEqual(handlers, {signal.SIGCHLD: signal.SIG_DFL})


class MakingTests(Case):
    """What is wrong is told in one line, before there is anything."""

    def setUp(self) -> None:
        self.patch(sys, "path", list(sys.path))
        self.patch(check, "check", lambda *arguments: None)

    def refusal(self, *words: str) -> str:
        """What is written when the command line cannot be done."""
        options = Options()
        err = io.StringIO()
        with contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as end:
            options.parseOptions(words)
            makeService(options)
        self.assertEqual(end.exception.code, 1)
        self.assertEqual(err.getvalue().count("\n"), 1)
        return err.getvalue()

    def test_only_a_handler_that_is_imported_is_looked_for_here(self) -> None:
        for handler, looked_for in ((Echo(), False), (Imported("served", "upper"), True)):
            sys.path[:] = ["/elsewhere"]
            options = Options()
            options.parseOptions(["-l", "nonsense"])
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
                make(options, handler)
            self.assertEqual(os.getcwd() in sys.path, looked_for)

    def test_a_port_that_cannot_be_opened_is_named(self) -> None:
        self.assertIn("twistd forkecho: nonsense: ", self.refusal("-l", "nonsense"))
        self.assertIn("tcp:0:interface=192.0.2.1", self.refusal("-l", "tcp:0:interface=192.0.2.1"))

    def test_too_many_children_are_refused(self) -> None:
        self.assertIn("--max-children", self.refusal("-c", "1000000", "-l", "tcp:0"))

    def test_what_the_look_has_found_is_told(self) -> None:
        self.patch(check, "check", lambda *arguments: "children cannot be forked here: why")
        self.assertIn("children cannot be forked here: why", self.refusal("-l", "tcp:0"))
