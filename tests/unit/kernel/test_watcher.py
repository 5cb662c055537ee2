"""Tests for watching children: many descriptors behind one."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, journal_of
from twisted_fork.kernel.watcher import Watcher


class Reader:
    """One end of a pipe."""

    def __init__(self, doing: Callable[[], object] = lambda: None) -> None:
        self.read, self.write = os.pipe()
        self.doing = doing
        self.heard = 0
        self.raises = 0

    def says(self, words: bytes = b"!") -> None:
        os.write(self.write, words)

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)

    def doRead(self) -> None:
        os.read(self.read, 1)
        self.heard += 1
        self.doing()

    def raised(self) -> None:
        self.raises += 1


class FailingSet:
    """An epoll set that cannot be asked."""

    closed = False

    def __init__(self, real: select.epoll) -> None:
        self.fileno = real.fileno

    def poll(self, *arguments: object) -> None:
        raise OSError("no")


class WatcherTests(Case):
    """A watcher in a reactor of one turn at a time."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[str] = []
        self.watcher = Watcher(self.reactor, self.reactor, journal_of(self.lines))
        self.addCleanup(self.watcher.close)

    def reader(self, doing: Callable[[], object] = lambda: None) -> Reader:
        made = Reader(doing)
        self.addCleanup(made.close)
        self.watcher.watch(made.read, made)
        return made

    def turns(self) -> int:
        """How many turns it takes until nobody has anything to say."""
        number = 0
        while self.reactor.turn():
            number += 1
        return number

    def test_the_reactor_has_one_descriptor_however_many_there_are(self) -> None:
        for _ in range(5):
            self.reader()
        self.assertEqual([each.fileno() for each in self.reactor.readers], [self.watcher.fileno()])

    def test_all_who_speak_are_heard_in_one_turn(self) -> None:
        readers = [self.reader() for _ in range(5)]
        for each in readers[1:]:
            each.says()
        self.assertEqual(self.turns(), 1)
        self.assertEqual([each.heard for each in readers], [0, 1, 1, 1, 1])

    def test_who_has_more_to_say_is_heard_again(self) -> None:
        reader = self.reader()
        reader.says(b"!!!")
        self.turns()
        self.assertEqual(reader.heard, 3)

    def test_they_do_not_keep_the_reactor_to_themselves(self) -> None:
        readers = [self.reader() for _ in range(100)]
        for each in readers:
            each.says()
        self.reactor.turn()
        self.assertEqual(sum(each.heard for each in readers), 64)
        self.turns()
        self.assertEqual({each.heard for each in readers}, {1})

    def test_who_is_removed_is_not_heard_even_in_the_same_turn(self) -> None:
        pair: list[Reader] = []

        def remove_both() -> None:
            for each in pair:
                self.watcher.ignore(each.read, each)

        pair += [self.reader(remove_both), self.reader(remove_both)]
        for each in pair:
            each.says()
        self.turns()
        self.assertEqual(sorted(each.heard for each in pair), [0, 1])
        for each in pair:
            self.watcher.ignore(each.read, each)  # once more does no harm

    def test_another_with_the_same_descriptor_is_not_removed(self) -> None:
        reader = self.reader()
        other = Reader()
        self.addCleanup(other.close)
        self.watcher.ignore(reader.read, other)
        reader.says()
        self.turns()
        self.assertEqual(reader.heard, 1)

    def test_one_that_raises_is_told_of_and_watched_on(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError("why")

        bad, good = self.reader(fail), self.reader()
        for each in (bad, good, bad):
            each.says()
        self.turns()
        self.assertEqual((bad.heard, bad.raises, good.heard), (2, 2, 1))
        self.assertEqual(len(self.lines), 2)
        for line in self.lines:
            self.assertRegex(line, r"fault where=test_watcher.py:\d+ reason=")
            self.assertIn("ZeroDivisionError: why", line)

    def test_one_that_cannot_even_say_what_follows_is_not_watched_any_more(self) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        bad, good = self.reader(fail), self.reader()
        self.patch(bad, "raised", fail)
        bad.says(b"!!!")
        good.says()
        self.turns()
        self.assertEqual((bad.heard, good.heard, len(self.lines)), (1, 1, 2))

    def test_when_its_own_epoll_set_fails_it_is_watched_again(self) -> None:
        reader = self.reader()
        reader.says()
        broken, self.watcher._epoll = self.watcher._epoll, FailingSet(self.watcher._epoll)  # type: ignore[assignment]
        self.reactor.turn()
        self.assertEqual((reader.heard, self.reactor.readers), (0, []))
        self.watcher._epoll = broken
        self.reactor.advance(0.01)
        self.turns()
        self.assertEqual(reader.heard, 1)

    def test_it_can_be_closed_by_whom_it_calls(self) -> None:
        readers = [self.reader(self.watcher.close) for _ in range(2)]
        for each in readers:
            each.says()
        self.turns()
        self.assertEqual(sum(each.heard for each in readers), 1)
        self.assertEqual(self.reactor.readers, [])
        self.watcher.close()

    def test_readers_that_take_long_do_not_all_have_one_turn(self) -> None:
        readers = [self.reader(lambda: self.reactor.advance(0.006)) for _ in range(5)]
        for reader in readers:
            reader.says()
        heard = []
        while self.reactor.turn():
            heard.append(sum(reader.heard for reader in readers))
        self.assertEqual(heard, [2, 4, 5])
