"""Tests for the signals of a process that serves."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred

from tests.unit.services import ServiceCase
from twisted_fork.command.signals import take_signals
from twisted_fork.command.systemd import Event, Notifier
from twisted_fork.inside import start
from twisted_fork.service import ForkingService
from twisted_fork.wire import messages


class SignalCase(ServiceCase):
    """A service whose process's signals are the test's."""

    def setUp(self) -> None:
        super().setUp()
        self.handlers: dict[int, Any] = {}
        self.told: list[Event] = []
        self.patch(signal, "signal", self.handlers.__setitem__)
        self.patch(Notifier, "happens", lambda notifier, event: self.told.append(event))

    def taking(self, *others: ForkingService, **given: Any) -> ForkingService:
        """A service that accepts connections, and whose process has its signals taken."""
        service = self.service(**given)
        take_signals(service, *others, reactor=self.reactor)
        signals: Any = service.observer
        self.patch(signals, "_journal", service._journal)
        service.startService()
        self.template_is_ready()
        return service

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


class TakingTests(SignalCase):
    """When signals are taken, and for whom."""

    def test_signals_are_taken_before_anybody_can_know_of_the_service(self) -> None:
        taken: list[set[int]] = []
        happens = Notifier.happens

        def hear(notifier: Notifier, event: Event) -> None:
            taken.append(set(self.handlers))
            happens(notifier, event)

        self.patch(Notifier, "happens", hear)
        self.taking()
        self.assertEqual(taken, [{signal.SIGTERM, signal.SIGINT, signal.SIGHUP}])

    def test_what_the_reactor_takes_when_it_begins_to_run_is_taken_back(self) -> None:
        self.taking()
        ours = dict(self.handlers)
        self.handlers[signal.SIGTERM] = self.handlers[signal.SIGHUP] = "the reactor's"
        self.call()
        self.assertEqual(self.handlers, ours)

    def test_nothing_is_taken_before_a_service_starts(self) -> None:
        take_signals(self.service(), reactor=self.reactor)
        self.call()
        self.assertEqual(self.handlers, {})

    def test_systemd_hears_of_it_when_all_services_accept_connections(self) -> None:
        other = self.service()
        self.taking(other)
        self.assertEqual(self.told, [])
        other.startService()
        self.assertEqual(self.told, [])
        self.template_is_ready()
        self.assertEqual(self.told, [Event.ACCEPTING])

    def test_it_can_be_done_once_and_before_the_start(self) -> None:
        service = self.taking()
        for others in ((service,), (self.service(), service)):
            with self.assertRaisesRegex(RuntimeError, "before the services are started"):
                take_signals(*others, reactor=self.reactor)
        with self.assertRaisesRegex(RuntimeError, "before the services are started"):
            take_signals(self.started(), reactor=self.reactor)


class StoppingTests(SignalCase):
    """SIGTERM and SIGINT end the process; the second one hurries it."""

    def test_the_first_stops_the_reactor_and_is_logged(self) -> None:
        for number, name in [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")]:
            self.reactor.running = True
            self.taking()
            self.call()
            self.receive(number)
            told = f"signal received signal={name}"
            self.assertEqual((self.lines[-1], self.reactor.running), (told, False))

    def test_one_that_comes_before_the_reactor_runs_stops_it_then(self) -> None:
        self.taking()
        self.receive(signal.SIGTERM)
        told = "signal received signal=SIGTERM"
        self.assertEqual((self.lines[-1], self.reactor.running), (told, False))

    def test_one_that_comes_when_the_service_alone_has_been_stopped_stops_the_reactor(
        self,
    ) -> None:
        service = self.taking()
        self.call()
        self.stop(service)
        self.template_ends()
        self.receive(signal.SIGTERM)
        self.assertFalse(self.reactor.running)

    def test_a_signal_does_nothing_in_the_middle_of_something_else(self) -> None:
        self.taking()
        self.call()
        self.handlers[signal.SIGTERM](signal.SIGTERM, None)
        self.assertTrue(self.reactor.running)

    def test_the_second_hurries_those_that_still_serve(self) -> None:
        service = self.taking(grace=1000.0)
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

    def test_two_at_once_are_no_error(self) -> None:
        self.taking()
        self.call()
        self.receive(signal.SIGTERM, signal.SIGINT)
        self.assertFalse(self.reactor.running)
        self.assertEqual(len([line for line in self.lines if "received" in line]), 1)

    def test_systemd_hears_of_it_whoever_stops_the_reactor(self) -> None:
        self.taking()
        self.reactor.trigger("before", "shutdown")
        self.assertEqual(self.told[-1], Event.STOP)

    def test_the_watchdog_ends_with_the_reactor(self) -> None:
        self.patch(os, "environ", {"NOTIFY_SOCKET": "/no/such", "WATCHDOG_USEC": "1000000"})
        self.patch(Notifier, "happens", lambda notifier, event: notifier._watchdog.arm(1))
        self.watched = self.taking()
        self.reactor.trigger("before", "shutdown")
        signals: Any = self.watched.observer
        watchdog = signals._notifier._watchdog
        self.assertTrue(watchdog.armed)
        self.reactor.trigger("during", "shutdown")
        self.assertFalse(watchdog.armed)


class HangupTests(SignalCase):
    """SIGHUP reloads, and stops nothing."""

    def test_a_hangup_reloads_and_stops_nothing(self) -> None:
        self.taking()
        self.call()
        self.receive(signal.SIGHUP)
        self.assertEqual((self.lines[-1], self.reactor.running), ("reloading", True))
        self.assertEqual(len(self.reactor.started), 2)

    def test_one_that_comes_before_the_reactor_runs_is_a_reload(self) -> None:
        self.taking()
        self.receive(signal.SIGHUP)
        self.assertEqual(self.lines[-1], "reloading")

    def test_hangups_while_one_is_done_are_one_more_afterwards(self) -> None:
        self.taking()
        self.call()
        begins, ends = Event.RELOAD_BEGINS, Event.RELOAD_ENDS
        self.receive(*[signal.SIGHUP] * 731)
        self.assertEqual(len(self.reactor.started), 2)
        self.assertEqual(self.told, [Event.ACCEPTING, begins])
        self.template_is_ready()
        self.assertEqual(len(self.reactor.started), 3)
        self.assertEqual(self.told, [Event.ACCEPTING, begins, ends, begins])
        self.template_is_ready()
        self.assertEqual(len(self.reactor.started), 3)
        self.assertEqual(self.told, [Event.ACCEPTING, begins, ends, begins, ends])

    def test_systemd_is_told_that_it_is_over_when_all_services_are_done(self) -> None:
        other = self.service()
        self.taking(other)
        other.startService()
        self.template_is_ready()
        self.call()
        overs: list[Deferred[bool]] = [Deferred(), Deferred()]
        for service, over in zip((other, other.observer._services[0]), overs, strict=True):  # type: ignore[union-attr]
            self.patch(service, "reload", lambda over=over: over)
        self.receive(signal.SIGHUP)
        overs[0].callback(True)
        self.assertEqual(self.told[-1], Event.RELOAD_BEGINS)
        overs[1].errback(ZeroDivisionError("why"))
        self.assertEqual(self.told[-1], Event.RELOAD_ENDS)
        self.assertIn("ZeroDivisionError: why", self.lines[-1])

    def test_the_orders_of_the_last_are_made_when_it_is_begun(self) -> None:
        """So it has what was on the disk when the last signal came."""
        certificate = self.mktemp()
        with open(certificate, "w") as file:
            file.write("a")
        self.taking(tls_certificate=certificate)
        self.receive(signal.SIGHUP, signal.SIGHUP)
        with open(certificate, "w") as file:
            file.write("b")
        self.template_is_ready()
        message = messages.receive(self.channel())
        assert message is not None
        tls = start.orders_in(message)["tls"]
        assert tls is not None
        self.assertEqual(tls["certificate"][1], b"b")
