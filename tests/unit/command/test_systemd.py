"""Tests for telling systemd: ready, reloading, stopping, alive."""

from __future__ import annotations

import itertools
import os
import re
import socket
import tempfile
import time

from twisted.internet.task import Clock

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from twisted_fork.command.systemd import Event, Notifier, Phase, after


def said_of(events: tuple[Event, ...]) -> list[str]:
    """What is said of events, one after the other."""
    told = []
    phase = Phase.STARTING
    for event in events:
        before, phase = phase, after(phase, event)
        if phase is not before:
            told.append(phase.value)
    return told


class OrderTests(Case):
    """Events may come in any order."""

    def test_states_are_said_in_their_order_whatever_comes_when(self) -> None:
        sensible = re.compile(r"(READY=1 (RELOADING=1 READY=1 )*(RELOADING=1 )?)?(STOPPING=1 )?")
        for length in range(8):
            for events in itertools.product(Event, repeat=length):
                said = said_of(events)
                text = "".join(f"{each} " for each in said)
                self.assertTrue(sensible.fullmatch(text), f"{events}: {text}")
                before_stop = events[: events.index(Event.STOP)] if Event.STOP in events else events
                self.assertEqual("READY=1" in said, Event.ACCEPTING in before_stop, events)
                self.assertEqual("STOPPING=1" in said, Event.STOP in events, events)

    def test_a_reload_is_said_if_it_begins_when_the_service_is_ready(self) -> None:
        accepting, begins, ends = Event.ACCEPTING, Event.RELOAD_BEGINS, Event.RELOAD_ENDS
        around = ["RELOADING=1", "READY=1"]
        for events, said in (
            ((accepting, begins, ends, begins, ends), ["READY=1", *around, *around]),
            ((begins, accepting, ends, begins, ends), ["READY=1", *around]),
            ((begins, ends, accepting), ["READY=1"]),
        ):
            self.assertEqual(said_of(events), said)


class NotifierTests(Case):
    """With a socket that listens as systemd does."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.settimeout(10)
        self.addCleanup(self.listener.close)
        folder = tempfile.mkdtemp()
        self.path = os.path.join(folder, "notify")
        self.addCleanup(os.rmdir, folder)

    def make(self, address: str | None = None, **environment: str) -> Notifier:
        if address is None:
            self.listener.bind(self.path)
            self.addCleanup(os.unlink, self.path)
        self.environment = {"NOTIFY_SOCKET": address or self.path, **environment}
        return Notifier(self.clock, self.environment)

    def said(self) -> list[bytes]:
        """All that was said until now."""
        found = []
        self.listener.setblocking(False)
        while True:
            try:
                found.append(self.listener.recv(1000))
            except BlockingIOError:
                return found

    def test_what_is_not_for_children_is_taken_out(self) -> None:
        names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "JOURNAL_STREAM", "WATCHDOG_USEC")
        self.make(**dict.fromkeys(names, "1"), HOME="/")
        self.assertEqual(self.environment, {"HOME": "/"})

    def test_each_state_is_one_message(self) -> None:
        notifier = self.make()
        notifier.happens(Event.ACCEPTING)
        notifier.happens(Event.STOP)
        self.assertEqual(self.said(), [b"READY=1", b"STOPPING=1"])

    def test_a_reload_says_since_when(self) -> None:
        notifier = self.make()
        notifier.happens(Event.ACCEPTING)
        before = time.monotonic_ns() // 1000
        notifier.happens(Event.RELOAD_BEGINS)
        after = time.monotonic_ns() // 1000
        _, message = self.said()
        first, second = message.decode().splitlines()
        self.assertEqual(first, "RELOADING=1")
        self.assertTrue(before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after)

    def test_an_abstract_socket_will_do(self) -> None:
        name = f"twisted-fork-test-{os.getpid()}"
        self.listener.bind("\0" + name)
        self.make("@" + name).happens(Event.ACCEPTING)
        self.assertEqual(self.said(), [b"READY=1"])

    def test_children_are_not_told_where_systemd_listens(self) -> None:
        self.make(WATCHDOG_USEC="1000", WATCHDOG_PID=str(os.getpid()), OTHER="stays")
        self.assertEqual(self.environment, {"OTHER": "stays"})

    def test_who_was_not_started_by_systemd_says_nothing(self) -> None:
        notifier = Notifier(self.clock, {"WATCHDOG_USEC": "1000000"})
        notifier.happens(Event.ACCEPTING)
        notifier.happens(Event.RELOAD_BEGINS)
        notifier.happens(Event.STOP)
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_does_not_listen_does_no_harm(self) -> None:
        notifier = self.make(self.path + "-missing")
        notifier.happens(Event.ACCEPTING)
        notifier.happens(Event.STOP)

    def test_who_does_not_read_does_not_keep_the_server(self) -> None:
        notifier = self.make()
        notifier.happens(Event.ACCEPTING)
        for _ in range(5_000):
            notifier.happens(Event.RELOAD_BEGINS)
            notifier.happens(Event.RELOAD_ENDS)
        self.assertLess(len(self.said()), 10_000)

    def test_a_watchdog_hears_of_it_twice_as_often_as_it_asks(self) -> None:
        notifier = self.make(WATCHDOG_USEC="20000000")
        notifier.happens(Event.ACCEPTING)
        pass_time(self.clock, 35)
        self.assertEqual(self.said(), [b"READY=1"] + [b"WATCHDOG=1"] * 4)

    def test_a_watchdog_hears_of_it_while_stopping_and_not_any_more_after(self) -> None:
        notifier = self.make(WATCHDOG_USEC="20000000")
        notifier.happens(Event.ACCEPTING)
        notifier.happens(Event.STOP)
        pass_time(self.clock, 15)
        self.assertEqual(self.said().count(b"WATCHDOG=1"), 2)
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_reload_does_not_begin_a_second_watchdog(self) -> None:
        notifier = self.make(WATCHDOG_USEC="20000000")
        notifier.happens(Event.ACCEPTING)
        notifier.happens(Event.RELOAD_BEGINS)
        notifier.happens(Event.RELOAD_ENDS)
        pass_time(self.clock, 10)
        self.assertEqual(self.said().count(b"WATCHDOG=1"), 2)

    def test_a_watchdog_that_is_meant_for_another_process_is_not_ours(self) -> None:
        self.make(WATCHDOG_USEC="20000000", WATCHDOG_PID="1").happens(Event.ACCEPTING)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nonsense_is_no_watchdog(self) -> None:
        self.make(WATCHDOG_USEC="soon").happens(Event.ACCEPTING)
        self.assertEqual(self.clock.getDelayedCalls(), [])
