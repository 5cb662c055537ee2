"""Tests for what there is while a service runs, and its stop."""

from __future__ import annotations

import os
import resource
import socket

from .processes import descriptors_before
from .services import ServiceCase


class AcceptingTests(ServiceCase):
    """From the start to the first connection."""

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


class StoppingTests(ServiceCase):
    """The end of a service."""

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
