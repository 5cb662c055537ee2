"""Tests for waiting for children that nobody has heard of."""

from __future__ import annotations

from tests.unit.kernel.cases import ProcessCase
from twisted_fork.kernel.sweep import Sweep


class SweepTests(ProcessCase):
    """Waiting for children that nobody has heard of."""

    def test_whatever_has_ended_in_the_group_is_waited_for(self) -> None:
        leader = self.fork(group=0)
        others = [self.fork(group=leader) for _ in range(2)]
        self.let_go(3)
        for pid in (leader, *others):
            self.has_ended(pid)
        Sweep(self.reactor, -leader).sweep()
        self.assertTrue(all(self.is_gone(pid) for pid in (leader, *others)))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_it_goes_on_until_the_last_has_ended(self) -> None:
        leader = self.fork(group=0)
        Sweep(self.reactor, -leader).sweep()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.let_go()
        self.has_ended(leader)
        self.reactor.advance(5)
        self.assertTrue(self.is_gone(leader))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_has_left_the_group_is_not_touched(self) -> None:
        leader, outside = self.fork(group=0), self.fork(group=0)
        self.let_go(2)
        for pid in (leader, outside):
            self.has_ended(pid)
        Sweep(self.reactor, -leader).sweep()
        self.assertEqual((self.is_gone(leader), self.is_gone(outside)), (True, False))
