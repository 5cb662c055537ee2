"""Tests for the roster: who is there, in which state, and how many are in which."""

from __future__ import annotations

from tests.unit.cases import Case
from twisted_fork.pool.child import Breach, Child, ChildProtocol, Event, State
from twisted_fork.pool.roster import Roster


class RosterTests(Case):
    """Children that come, change, and go."""

    def setUp(self) -> None:
        self.roster = Roster()

    def added(self, *events: Event, bearing: bool = False) -> Child:
        """A child to whom these have happened."""
        child = self.roster.new(ChildProtocol(), 0.0, 1, bearing=bearing)
        self.roster.add(child)
        for event in events:
            self.roster.move(child, event)
        return child

    def counts(self) -> tuple[int, int, int, int]:
        """Busy, ordered, idle, and all."""
        roster = self.roster
        return roster.busy, roster.ordered, roster.idle, len(roster)

    def test_each_has_a_ticket_of_its_own_and_none_has_number_nought(self) -> None:
        tickets = [self.roster.new(ChildProtocol(), 0.0, 1).ticket for _ in range(3)]
        self.assertEqual(tickets, [1, 2, 3])

    def test_nobody_counts_on_one_before_it_is_added(self) -> None:
        child = self.roster.new(ChildProtocol(), 0.0, 1)
        self.assertIs(child.state, State.ORDERED)
        self.assertEqual(self.counts(), (0, 0, 0, 0))
        self.roster.add(child)
        self.assertEqual(self.counts(), (0, 1, 0, 1))

    def test_it_is_of_the_generation_of_its_time(self) -> None:
        old = self.added()
        self.roster.generation += 1
        self.assertEqual(self.added().generation, old.generation + 1)

    def test_one_for_a_connection_is_busy_from_the_beginning_to_the_end_of_it(self) -> None:
        child = self.added(bearing=True)
        self.assertEqual(self.counts(), (1, 0, 0, 1))
        for event, counts in (
            (Event.ALIVE, (1, 0, 0, 1)),
            (Event.TAKEN, (1, 0, 0, 1)),
            (Event.READY, (0, 0, 1, 1)),
            (Event.HAND_OVER, (1, 0, 0, 1)),
            (Event.GIVEN_UP, (0, 0, 0, 1)),
        ):
            self.roster.move(child, event)
            self.assertEqual(self.counts(), counts, event)
        self.roster.remove(child)
        self.assertEqual((self.counts(), child.state), ((0, 0, 0, 0), State.ENDED))

    def test_the_latest_and_those_who_have_waited_longest_are_told(self) -> None:
        self.assertIsNone(self.roster.latest_idle())
        first, second, third = (self.added(Event.ALIVE) for _ in range(3))
        self.assertIs(self.roster.latest_idle(), third)
        self.assertEqual(self.roster.longest_idle(2), [first, second])
        self.roster.move(third, Event.LOST)
        self.assertIs(self.roster.latest_idle(), second)
        self.roster.move(first, Event.HAND_OVER)
        self.assertEqual(self.roster.longest_idle(9), [second])

    def test_what_cannot_happen_is_a_breach_and_changes_nothing(self) -> None:
        child = self.added()
        with self.assertRaisesRegex(Breach, "taken while ordered"):
            self.roster.move(child, Event.TAKEN)
        self.assertEqual((self.counts(), child.state), ((0, 1, 0, 1), State.ORDERED))

    def test_one_that_is_not_there_can_be_removed(self) -> None:
        child = self.added()
        for _ in range(2):
            self.roster.remove(child)
            self.assertEqual((self.counts(), list(self.roster)), ((0, 0, 0, 0), []))
