"""Tests for the decisions about children."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_fork.pool.policy import Look, may_accept, spares_missing, surplus
from twisted_fork.settings import Settings

from .cases import Case

SETTINGS = Settings(max_children=10, spare_children=3)

MAY_ACCEPT = [
    # busy, idle, ordered, waiting, can_launch: accept?
    (Look(0, 0, 0, 0, True), True),
    (Look(0, 0, 0, 0, False), False),
    (Look(0, 1, 0, 0, False), True),
    (Look(0, 1, 0, 0, True), True),
    (Look(0, 0, 5, 0, False), False),
    (Look(0, 5, 0, 1, True), False),
    (Look(9, 0, 0, 0, True), True),
    (Look(9, 1, 0, 0, False), True),
    (Look(10, 0, 0, 0, True), False),
    (Look(10, 5, 5, 0, True), False),
    (Look(11, 5, 0, 0, True), False),
]

SPARES = [
    # idle, ordered: missing, surplus
    (0, 0, 3, 0),
    (1, 0, 2, 0),
    (1, 1, 1, 0),
    (2, 1, 0, 0),
    (3, 0, 0, 0),
    (3, 4, 0, 0),
    (0, 9, 0, 0),
    (8, 0, 0, 5),
]

looks = st.builds(
    Look,
    busy=st.integers(0, 20),
    idle=st.integers(0, 20),
    ordered=st.integers(0, 20),
    waiting=st.integers(0, 20),
    can_launch=st.booleans(),
)


class PolicyTests(Case):
    """Every decision follows from what is."""

    def test_a_connection_is_accepted_when_there_is_a_place_and_a_child_for_it(self) -> None:
        for look, wanted in MAY_ACCEPT:
            self.assertEqual(may_accept(SETTINGS, look), wanted, look)

    def test_spares_are_counted_with_those_that_are_ordered(self) -> None:
        for idle, ordered, missing, too_many in SPARES:
            found = spares_missing(SETTINGS, idle, ordered), surplus(SETTINGS, idle)
            self.assertEqual(found, (missing, too_many), (idle, ordered))

    @given(looks, st.integers(1, 20), st.integers(0, 20))
    def test_nobody_is_let_in_past_the_limit_or_past_those_who_wait(
        self, look: Look, most: int, spare: int
    ) -> None:
        settings = Settings(max_children=most, spare_children=spare)
        if may_accept(settings, look):
            self.assertLess(look.busy, most)
            self.assertEqual(look.waiting, 0)
            self.assertTrue(look.idle or look.can_launch)

    @given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
    def test_there_are_never_too_few_and_too_many_spares_at_once(
        self, idle: int, ordered: int, spare: int
    ) -> None:
        settings = Settings(spare_children=spare)
        missing, too_many = spares_missing(settings, idle, ordered), surplus(settings, idle)
        self.assertTrue(missing >= 0 <= too_many)
        self.assertFalse(missing and too_many)
