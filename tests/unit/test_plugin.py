"""Tests for what the twistd plugins have in common: starting refusals, and signals."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import Any

from twisted_fork import starting
from twisted_fork.forkecho import Options, makeService
from twisted_fork.handler import Echo, Imported
from twisted_fork.plugin import TwistdService, make

from .cases import Case
from .test_service import ServiceCase


class SignalTests(ServiceCase):
    """SIGTERM and SIGINT end the process; the second one hurries it."""

    kind = TwistdService

    def setUp(self) -> None:
        super().setUp()
        self.handlers: dict[int, Any] = {}
        self.patch(signal, "signal", self.handlers.__setitem__)

    def call(self) -> None:
        """What the reactor was given to call."""
        while self.reactor.called:
            what, *arguments = self.reactor.called.pop(0)
            what(*arguments)

    def receive(self, *numbers: int) -> None:
        """Signals come, all in one turn of the reactor."""
        for number in numbers:
            self.handlers[number](number, None)
        self.call()

    def test_signals_are_taken_once_the_reactor_runs(self) -> None:
        self.started()
        self.assertEqual(self.handlers, {})
        self.call()
        wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
        self.assertEqual(set(self.handlers), wanted)
        self.assertEqual(self.handlers[signal.SIGCHLD], signal.SIG_DFL)

    def test_the_first_stops_the_reactor_and_is_logged(self) -> None:
        for number, name in [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")]:
            self.reactor.running = True
            self.started()
            self.call()
            self.receive(number)
            self.assertEqual((self.lines[-1], self.reactor.running), (f"received {name}", False))

    def test_a_signal_does_nothing_in_the_middle_of_something_else(self) -> None:
        self.started()
        self.call()
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)
        self.assertTrue(self.reactor.running)

    def test_the_second_hurries_those_that_still_serve(self) -> None:
        service = self.started(grace=1000.0)
        self.call()
        process = self.serve_one(service)
        self.receive(signal.SIGTERM)
        self.stop(service)
        self.receive(signal.SIGINT)
        self.turn()
        self.assertEqual(process.signals, ["TERM"])
        self.receive(signal.SIGINT)
        self.turn()
        self.assertEqual(process.signals, ["TERM", "KILL"])

    def test_a_hangup_reloads_and_stops_nothing(self) -> None:
        self.started()
        self.call()
        self.receive(signal.SIGHUP)
        self.assertEqual((self.lines[-1], self.reactor.running), ("reloading", True))
        self.assertEqual(len(self.reactor.started), 2)

    def test_two_at_once_are_no_error(self) -> None:
        self.started()
        self.call()
        self.receive(signal.SIGTERM, signal.SIGINT)
        self.assertFalse(self.reactor.running)


class MakingTests(Case):
    """What is wrong is told in one line, before there is anything."""

    def setUp(self) -> None:
        self.patch(sys, "path", list(sys.path))
        self.patch(starting, "check", lambda *arguments: None)

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
        self.patch(starting, "check", lambda *arguments: "children cannot be forked here: why")
        self.assertIn("children cannot be forked here: why", self.refusal("-l", "tcp:0"))
