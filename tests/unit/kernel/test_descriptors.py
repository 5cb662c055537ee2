"""Tests for what is asked of the kernel about this process's descriptors."""

from __future__ import annotations

import os
import resource

from tests.unit.cases import Case
from twisted_fork.kernel import descriptors


class CountTests(Case):
    """How many there are, and may be."""

    def test_each_that_is_open_counts(self) -> None:
        before = descriptors.in_use()
        for descriptor in os.pipe():
            self.addCleanup(os.close, descriptor)
        self.assertEqual(descriptors.in_use(), before + 2)

    def test_there_may_be_as_many_as_the_hard_limit(self) -> None:
        for hard, most in ((4096, 4096), (resource.RLIM_INFINITY, 2**31 - 1)):
            self.patch(resource, "getrlimit", lambda which, hard=hard: (1024, hard))
            self.assertEqual(descriptors.most(), most)


class RaiseTests(Case):
    """The soft limit is raised to the hard one."""

    def setUp(self) -> None:
        self.limits = (1024, 4096)
        self.calls: list[tuple[int, int]] = []
        self.patch(descriptors, "_raised_from", {})
        self.patch(resource, "getrlimit", lambda which: self.limits)
        self.patch(resource, "setrlimit", self.set)

    def set(self, which: int, limits: tuple[int, int]) -> None:
        self.assertEqual(which, resource.RLIMIT_NOFILE)
        self.limits = limits
        self.calls.append(limits)

    def test_it_is_raised_and_what_it_was_is_returned(self) -> None:
        self.assertEqual(descriptors.raise_limit(), (1024, 4096))
        self.assertEqual(self.calls, [(4096, 4096)])

    def test_one_that_is_high_already_is_left_alone(self) -> None:
        self.limits = (4096, 4096)
        self.assertEqual(descriptors.raise_limit(), (4096, 4096))
        self.assertEqual(self.calls, [])

    def test_the_second_time_it_is_left_alone_and_what_it_was_is_still_known(self) -> None:
        descriptors.raise_limit()
        self.assertEqual(descriptors.raise_limit(), (1024, 4096))
        self.assertEqual(self.calls, [(4096, 4096)])

    def test_one_that_was_lowered_meanwhile_is_raised_again(self) -> None:
        descriptors.raise_limit()
        self.limits = (2048, 4096)
        self.assertEqual(descriptors.raise_limit(), (2048, 4096))
        self.assertEqual(self.limits, (4096, 4096))
