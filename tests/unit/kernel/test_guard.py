"""Tests for the guard: the reactor never loses what it is to watch."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of, pass_time
from twisted_fork.kernel.guard import GuardedReader


class Raiser:
    """A reader that raises as often as it is told to, and then reads."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.left = 0
        self.heard = 0
        self.calls = 0

    def fileno(self) -> int:
        return self.read

    def logPrefix(self) -> str:
        return "raiser"

    def doRead(self) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise KeyboardInterrupt("of all things")
        os.read(self.read, 1)
        self.heard += 1


class GuardedReaderTests(Case):
    """In a reactor that, as Twisted's, forgets who raises."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.reader = Raiser()
        self.addCleanup(os.close, self.reader.read)
        self.addCleanup(os.close, self.reader.write)
        self.guarded = GuardedReader(
            self.reactor, self.reactor, self.reader, journal_of(self.lines)
        )

    def says(self, words: bytes = b"!") -> None:
        os.write(self.reader.write, words)
        while self.reactor.turn():
            pass

    def test_a_reactor_can_watch_it(self) -> None:
        verifyObject(IReadDescriptor, self.guarded)
        self.assertEqual(self.guarded.fileno(), self.reader.fileno())

    def test_it_is_watched_only_while_that_is_wanted(self) -> None:
        for _ in range(2):
            self.guarded.watch()
            self.guarded.watch()
            self.assertEqual(self.reactor.readers, [self.guarded])
            self.guarded.ignore()
            self.guarded.ignore()
            self.assertEqual(self.reactor.readers, [])

    def test_what_raises_is_told_and_read_again(self) -> None:
        self.guarded.watch()
        self.reader.left = 1
        self.says()
        self.assertEqual((self.reader.calls, self.reader.heard), (1, 0))
        self.assertIn("KeyboardInterrupt: of all things", self.lines[0])
        pass_time(self.reactor, 0.01)
        self.says(b"")
        self.assertEqual(self.reader.heard, 1)

    def test_one_that_raises_for_ever_does_not_keep_the_reactor_busy(self) -> None:
        self.guarded.watch()
        self.reader.left = 1_000_000
        os.write(self.reader.write, b"!")
        for _ in range(1000):
            self.reactor.turn()
            self.reactor.advance(0.1)
        self.assertLess(self.reader.calls, 120)
        self.assertGreater(self.reader.calls, 90)

    def test_when_it_reads_again_it_is_as_before(self) -> None:
        self.guarded.watch()
        for _ in range(20):
            self.reader.left = 1
            self.says()
            pass_time(self.reactor, 0.01)
            self.says(b"")
        self.assertEqual(self.reader.heard, 20)

    def test_ignored_while_it_waits_it_is_not_watched(self) -> None:
        self.guarded.watch()
        self.reader.left = 1
        self.says()
        self.guarded.ignore()
        pass_time(self.reactor, 10)
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))

    def test_one_that_the_reactor_has_dropped_is_watched_again(self) -> None:
        self.guarded.watch()
        self.reactor.removeReader(self.guarded)
        self.guarded.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.lines, ["reader dropped name=raiser"])
        pass_time(self.reactor, 0.01)
        self.says()
        self.assertEqual(self.reader.heard, 1)

    def test_one_that_is_not_wanted_may_be_dropped(self) -> None:
        self.guarded.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.lines, self.reactor.getDelayedCalls()), ([], []))
