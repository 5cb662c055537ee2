"""Tests for what runs: what is told of its children, what its parts are given, and its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted_fork import runtime
from twisted_fork.handler import Program
from twisted_fork.pool.child import Child, ChildProtocol, State
from twisted_fork.service import ForkingService
from twisted_fork.settings import Settings
from twisted_fork.wire import messages

from .fakes import NO_PID, journal_of
from .services import LOCAL, ServiceCase


class ChildrenTests(ServiceCase):
    """The children that are alive."""

    def child(self, service: ForkingService, state: State, pid: int | None) -> Child:
        """One of the pool's, as if all of this had happened to it."""
        children = service._running.pool.children
        child = children.new(ChildProtocol(), self.reactor.seconds(), 1)
        children.add(child)
        child.state = state
        child.pid = pid
        return child

    def test_those_that_have_a_process_are_told_with_what_they_do(self) -> None:
        service = self.started()
        for number, state in enumerate(set(State) - {State.ORDERED, State.BEARING}):
            self.child(service, state, NO_PID + number)
        self.assertEqual(
            sorted(info.state for info in service.children()),
            ["given", "idle", "leaving", "serving", "serving"],
        )
        for state, shown in runtime._SHOWN.items():
            self.assertEqual(shown, "serving" if state is State.OVERDUE else state.value)

    def test_those_that_have_none_are_not(self) -> None:
        service = self.started()
        for state in (State.ORDERED, State.BEARING, State.LEAVING):
            self.child(service, state, None)
        self.assertEqual(service.children(), [])

    def test_since_when_and_for_whom_is_told(self) -> None:
        service = self.started()
        self.reactor.advance(1000)
        waits = self.child(service, State.IDLE, NO_PID)
        serves = self.child(service, State.SERVING, NO_PID + 1)
        serves.peer = "192.0.2.1:5000"
        self.reactor.advance(50)
        told = {info.pid: info for info in service.children()}
        self.assertIsNone(told[NO_PID].peer)
        self.assertEqual(told[NO_PID + 1].peer, serves.peer)
        self.assertEqual(waits.since, 1000)
        self.assertLess(abs(time.time() - 50 - told[NO_PID].since), 20)

    def test_whose_child_crashes_is_penalized_where_there_are_penalties(self) -> None:
        for given, lines in (({}, []), ({"penalty": 60.0}, ["penalty source=127.0.0.1"])):
            self.lines.clear()
            service = self.started(**given)
            self.child_ends(self.serve_one(service), 11)
            told = [line.partition(" seconds")[0] for line in self.lines if "penalty" in line]
            self.assertEqual(told, lines)


class PartsTests(ServiceCase):
    """What the parts are given."""

    def test_spares_are_made_where_the_launcher_can_make_them(self) -> None:
        self.started(spare_children=1)
        self.reactor.advance(0.01)
        while (message := messages.receive(self.channel())) and message.kind != messages.FORK:
            pass
        assert message is not None
        self.assertEqual(message.number, messages.CARRIES_CHANNEL)
        for descriptor in message.descriptors:
            self.addCleanup(os.close, descriptor)

    def test_and_nowhere_else(self) -> None:
        settings = Settings(spare_children=2)
        service = ForkingService([LOCAL], Program(["cat"]), settings, reactor=self.reactor)
        self.patch(service, "_journal", journal_of(self.lines))
        service.startService()
        self.turn()
        self.reactor.advance(1)
        self.assertEqual(len(service._running.pool.children), 0)
        self.assertFalse([line for line in self.lines if "accepting" not in line])

    def test_orphans_are_looked_for_and_others_may_have_children_here(self) -> None:
        told: list[Any] = []

        class NotedOrphans:
            def __init__(self, clock: object, alone: bool) -> None:
                told.append(alone)

            def watch(self) -> None:
                told.append("watch")

            def stop(self) -> None:
                told.append("stop")

        self.patch(runtime, "Orphans", NotedOrphans)
        service = self.started()
        self.assertEqual(told, [False, "watch"])
        self.stop(service)
        self.template_ends()
        self.assertEqual(told, [False, "watch", "stop"])


class Observer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def starting(self) -> None:
        self.told.append("starting")

    def accepting(self, service: ForkingService) -> None:
        self.told.append(service)


class ObserverTests(ServiceCase):
    """Who wants to know of a service's beginning."""

    def test_it_is_told_each_once_for_each_start(self) -> None:
        service = self.service(max_children=1)
        observer = service.observer = Observer()
        service.open_ports()
        self.assertEqual(observer.told, [])
        for number in (1, 2):
            service.startService()
            self.assertEqual(observer.told, ["starting", service] * (number - 1) + ["starting"])
            self.template_is_ready()
            self.assertEqual(observer.told, ["starting", service] * number)
            self.child_ends(self.serve_one(service))
            self.assertEqual(observer.told, ["starting", service] * number)
            stopped = self.stop(service)
            self.template_ends()
            self.successResultOf(stopped)
            self.lines.clear()


class StoppingTests(ServiceCase):
    """Each step of the end is done."""

    @staticmethod
    def steps(service: ForkingService) -> Sequence[tuple[Any, str]]:
        """Some of them: a part, and its method."""
        parts = service._running
        return [(parts.gate, "finish"), (parts._stderr, "close"), (parts._orphans, "stop")]

    def note(self, part: Any, name: str, calls: list[object], raises: bool = False) -> None:
        """Have the calls of a step noted."""
        step: Callable[[], object] = getattr(part, name)

        def call() -> object:
            calls.append(None)
            if raises and len(calls) == 1:
                raise ZeroDivisionError
            return step()

        self.patch(part, name, call)

    def test_once(self) -> None:
        service = self.started()
        calls: list[object] = []
        for step in self.steps(service):
            self.note(*step, calls)
        self.stop(service)
        self.template_ends()
        self.assertEqual(len(calls), 3)

    def test_and_again_when_it_has_raised_which_is_said(self) -> None:
        for number in range(3):
            self.lines.clear()
            service = self.started()
            calls: list[object] = []
            self.note(*self.steps(service)[number], calls, raises=True)
            stopped = self.stop(service)
            self.template_ends()
            self.successResultOf(stopped)
            self.assertEqual(len(calls), 2)
            told = [line for line in self.lines if line.startswith("fault")]
            self.assertEqual(len(told), 1)
            self.assertIn("ZeroDivisionError", told[0])
            self.assertEqual(self.lines[-1], "stopped")
