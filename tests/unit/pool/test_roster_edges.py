"""Tests for the roster: what counts as busy, and when somebody has to see to it."""

from __future__ import annotations

from tests.unit.cases import Case
from twisted_fork.pool.child import Child, ChildProtocol, Event
from twisted_fork.pool.roster import Roster


class RosterCase(Case):
    """A roster that somebody has seen to."""

    def setUp(self) -> None:
        self.roster = Roster()
        self.roster.changed = False

    def child(self, *events: Event, bearing: bool = False) -> Child:
        """A child to whom these have happened; then somebody sees to it."""
        child = self.roster.new(ChildProtocol(), 0.0, 1, bearing=bearing)
        self.roster.add(child)
        for event in events:
            self.roster.move(child, event)
        self.roster.changed = False
        return child


class ChangedTests(RosterCase):
    """How many wait, or will, is not what it was."""

    def test_nobody_has_seen_to_a_new_one(self) -> None:
        self.assertTrue(Roster().changed)

    def test_one_more_that_will_wait_is_a_change(self) -> None:
        self.roster.add(self.roster.new(ChildProtocol(), 0.0, 1))
        self.assertTrue(self.roster.changed)

    def test_one_for_a_connection_is_none(self) -> None:
        for changed in (False, True):
            self.roster.changed = changed
            self.roster.add(self.roster.new(ChildProtocol(), 0.0, 1, bearing=True))
            self.assertEqual(self.roster.changed, changed)

    def test_one_that_begins_or_ceases_to_wait_is_a_change(self) -> None:
        for before, event in (
            ([], Event.ALIVE),
            ([Event.ALIVE], Event.HAND_OVER),
            ([Event.ALIVE], Event.LOST),
            ([Event.ALIVE, Event.HAND_OVER], Event.UNSENT),
        ):
            child = self.child(*before)
            self.roster.move(child, event)
            self.assertTrue(self.roster.changed, event)

    def test_one_that_was_ordered_and_will_not_wait_is_a_change(self) -> None:
        self.roster.remove(self.child())
        self.assertTrue(self.roster.changed)

    def test_whatever_happens_to_those_who_serve_is_none(self) -> None:
        child = self.child(bearing=True)
        for event in (Event.ALIVE, Event.TAKEN, Event.OVERDUE, Event.ENDED):
            self.roster.move(child, event)
            self.assertFalse(self.roster.changed, event)


class OverdueTests(RosterCase):
    """A child whose time is over."""

    def test_it_is_busy_until_it_has_ended(self) -> None:
        child = self.child(Event.TAKEN, bearing=True)
        self.roster.move(child, Event.OVERDUE)
        self.assertEqual(self.roster.busy, 1)
        self.roster.remove(child)
        self.assertEqual(self.roster.busy, 0)
