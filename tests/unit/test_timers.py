"""Tests for doing things later."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from twisted_fork.timers import Backoff, Later, OneAtATime

from .cases import Case


class LaterTests(Case):
    """One delayed call at most."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.calls: list[float] = []
        self.later = Later(self.clock, lambda: self.calls.append(self.clock.seconds()))

    def test_it_calls_once_when_it_is_time(self) -> None:
        self.later.arm(2)
        self.clock.pump([1, 1, 1, 1])
        self.assertEqual(self.calls, [2])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_armed_again_it_keeps_its_time(self) -> None:
        self.later.arm(2)
        self.later.arm(1)
        self.clock.advance(1)
        self.assertEqual(self.calls, [])
        self.clock.advance(1)
        self.assertEqual(self.calls, [2])

    def test_cancelled_it_does_not_call_and_can_be_armed_anew(self) -> None:
        self.later.arm(1)
        self.later.cancel()
        self.later.cancel()
        self.assertFalse(self.later.armed)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.later.arm(3)
        self.clock.advance(3)
        self.assertEqual(self.calls, [3])

    def test_it_may_be_armed_from_its_own_call(self) -> None:
        def once_more() -> None:
            self.calls.append(self.clock.seconds())
            if len(self.calls) < 3:
                later.arm(1)

        later = Later(self.clock, once_more)
        later.arm(1)
        self.clock.pump([1, 1, 1, 1])
        self.assertEqual(self.calls, [1, 2, 3])

    def test_it_says_whether_it_is_armed(self) -> None:
        self.assertFalse(self.later.armed)
        self.later.arm(1)
        self.assertTrue(self.later.armed)
        self.clock.advance(1)
        self.assertFalse(self.later.armed)


class RaisingTests(Case):
    """What raised is tried again."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tries: list[float] = []
        self.raises = True
        self.later = Later(self.clock, self.attempt)

    def attempt(self) -> None:
        self.tries.append(self.clock.seconds())
        if self.raises:
            raise SystemExit("whatever it is")

    def gaps(self, seconds: float) -> list[float]:
        """Let time pass from try to try; the seconds before each."""
        end, tried = self.clock.seconds() + seconds, len(self.tries)
        while calls := [c for c in self.clock.getDelayedCalls() if c.getTime() <= end]:
            before = self.clock.seconds()
            self.assertRaises(SystemExit, self.clock.advance, calls[0].getTime() - before)
        times = self.tries[max(0, tried - 1) :]
        return [round(later - earlier, 6) for earlier, later in pairwise(times)]

    def test_soon_at_first_and_then_each_second(self) -> None:
        self.later.arm(1)
        gaps = self.gaps(6)
        self.assertEqual(self.tries[0], 1)
        self.assertEqual(gaps, [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0])

    def test_what_has_succeeded_meanwhile_is_tried_again_soon(self) -> None:
        self.later.arm(0)
        self.gaps(1)
        self.raises = False
        self.clock.advance(10)
        self.assertFalse(self.later.armed)
        self.raises = True
        self.later.arm(0)
        self.assertRaises(SystemExit, self.clock.advance, 0)
        self.assertEqual(self.gaps(0.1), [0.02, 0.04])


class BackoffTests(Case):
    """A failing spell."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tries: list[float] = []
        self.backoff = Backoff(self.clock, self.again, first=1, most=10)

    def again(self) -> None:
        self.tries.append(self.clock.seconds())

    def test_delays_double_up_to_the_most(self) -> None:
        delays = []
        for _ in range(7):
            delays.append(self.backoff.failed())
            self.clock.advance(delays[-1])
        self.assertEqual(delays, [1, 2, 4, 8, 10, 10, 10])
        self.assertEqual(self.tries, [1, 3, 7, 15, 25, 35, 45])

    def test_unless_it_is_told_otherwise_from_a_twentieth_of_a_second_to_five(self) -> None:
        backoff = Backoff(self.clock, self.again)
        self.assertEqual(
            [backoff.failed() for _ in range(9)],
            [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0],
        )

    def test_it_waits_between_a_failure_and_the_next_try(self) -> None:
        self.assertFalse(self.backoff.armed)
        self.backoff.failed()
        self.assertTrue(self.backoff.armed)
        self.clock.advance(1)
        self.assertFalse(self.backoff.armed)

    def test_failures_while_a_try_is_due_do_not_put_it_off(self) -> None:
        for _ in range(5):
            self.backoff.failed()
        self.clock.advance(1)
        self.assertEqual(self.tries, [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_success_ends_the_spell_and_tells_how_long_it_was(self) -> None:
        for _ in range(3):
            self.clock.advance(self.backoff.failed())
        self.assertEqual((self.backoff.failures, self.backoff.succeeded()), (3, 3))
        self.assertEqual((self.backoff.failures, self.backoff.succeeded()), (0, 0))
        self.assertEqual(self.backoff.failed(), 1)

    def test_cancelled_it_does_not_try_again(self) -> None:
        self.backoff.failed()
        self.backoff.cancel()
        self.clock.advance(100)
        self.assertEqual((self.tries, self.backoff.armed), ([], False))

    @given(st.integers(0, 10_000), st.floats(0.001, 1), st.floats(1, 1e6))
    def test_no_delay_is_shorter_than_the_first_or_longer_than_the_most(
        self, failures: int, first: float, most: float
    ) -> None:
        backoff = Backoff(Clock(), lambda: None, first, most)
        backoff.failures = failures
        self.assertTrue(first <= backoff.failed() <= most)


class OneAtATimeTests(Case):
    """What must not be done twice at the same time."""

    def setUp(self) -> None:
        self.begun: list[Deferred[int]] = []
        self.what = OneAtATime(self.begin)

    def begin(self) -> Deferred[int]:
        self.begun.append(Deferred())
        return self.begun[-1]

    def test_it_begins_at_once_and_whoever_asked_hears_of_its_end(self) -> None:
        asked = self.what.ask()
        self.assertNoResult(asked)
        self.begun[0].callback(7)
        self.assertEqual(self.successResultOf(asked), 7)

    def test_those_who_ask_meanwhile_are_given_one_more_together(self) -> None:
        first, *others = [self.what.ask() for _ in range(9)]
        self.assertEqual(len(self.begun), 1)
        self.begun[0].callback(1)
        self.assertEqual((self.successResultOf(first), len(self.begun)), (1, 2))
        for each in others:
            self.assertNoResult(each)
        self.begun[1].callback(2)
        self.assertEqual([self.successResultOf(each) for each in others], [2] * 8)
        self.assertEqual(len(self.begun), 2)

    def test_who_asks_afterwards_is_given_one_of_their_own(self) -> None:
        for number in range(5):
            asked = self.what.ask()
            self.begun[-1].callback(number)
            self.assertEqual(self.successResultOf(asked), number)
        self.assertEqual(len(self.begun), 5)

    def test_one_that_fails_does_not_keep_the_next(self) -> None:
        first, second = self.what.ask(), self.what.ask()
        self.begun[0].errback(ZeroDivisionError())
        self.begun[1].callback(2)
        self.failureResultOf(first, ZeroDivisionError)
        self.assertEqual(self.successResultOf(second), 2)

    def test_one_that_raises_as_it_begins_has_failed(self) -> None:
        self.what = OneAtATime(lambda: succeed(1 // 0))
        for _ in range(2):
            self.failureResultOf(self.what.ask(), ZeroDivisionError)
