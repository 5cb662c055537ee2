"""Tests for the decisions about children."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_fork.policy import Look, may_accept, spares_due
from twisted_fork.settings import Settings

from .cases import Case

SETTINGS = Settings(max_children=10, spare_children=3)

MAY_ACCEPT = [
    # busy, waiting, can_take: accept?
    (Look(0, 0, True), True),
    (Look(0, 0, False), False),
    (Look(0, 0, True), True),
    (Look(0, 0, True), True),
    (Look(0, 0, False), False),
    (Look(0, 1, True), False),
    (Look(9, 0, True), True),
    (Look(9, 0, True), True),
    (Look(10, 0, True), False),
    (Look(10, 0, True), False),
    (Look(11, 0, True), False),
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
    waiting=st.integers(0, 20),
    can_take=st.booleans(),
    closed=st.booleans(),
)


class PolicyTests(Case):
    """Every decision follows from what is."""

    def test_a_connection_is_accepted_when_there_is_a_place_and_a_child_for_it(self) -> None:
        for look, wanted in MAY_ACCEPT:
            self.assertEqual(may_accept(SETTINGS, look), wanted, look)

    def test_spares_are_counted_with_those_that_are_ordered(self) -> None:
        for idle, ordered, missing, too_many in SPARES:
            due = spares_due(SETTINGS, idle, ordered)
            self.assertEqual(due, missing - too_many, (idle, ordered))

    @given(looks, st.integers(1, 20), st.integers(0, 20))
    def test_nobody_is_let_in_past_the_limit_or_past_those_who_wait(
        self, look: Look, most: int, spare: int
    ) -> None:
        settings = Settings(max_children=most, spare_children=spare)
        if may_accept(settings, look):
            self.assertLess(look.busy, most)
            self.assertEqual(look.waiting, 0)
            self.assertTrue(look.can_take and not look.closed)

    @given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
    def test_so_many_are_ordered_and_let_go_that_enough_wait_in_the_end(
        self, idle: int, ordered: int, spare: int
    ) -> None:
        due = spares_due(Settings(spare_children=spare), idle, ordered)
        if due < 0:
            self.assertEqual(idle + due, spare)
        elif due > 0:
            self.assertEqual(idle + ordered + due, spare)
        else:
            self.assertTrue(idle <= spare <= idle + ordered)
