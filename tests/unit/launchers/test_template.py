"""Tests for a template's life, as a table."""

from __future__ import annotations

from tests.unit.cases import Case
from tests.unit.fakes import FakeProcess
from twisted_fork.handler import Echo
from twisted_fork.launchers.orders import orders_for
from twisted_fork.launchers.template import NEXT, Event, State, Template
from twisted_fork.settings import Settings


def reached(state: State) -> set[State]:
    """All states that one in *state* may have later; itself too, if it may have that again."""
    found: set[State] = set()
    new = {state}
    while new:
        new = {then for (before, _), then in NEXT.items() if before in new} - found
        found |= new
    return found


class LifeTests(Case):
    """The table of a template's life."""

    def test_every_state_is_reached_and_none_again(self) -> None:
        self.assertEqual(reached(State.STARTING), set(State) - {State.STARTING})
        for state in State:
            self.assertNotIn(state, reached(state))

    def test_whatever_it_is_both_ends_together_are_the_end_of_it(self) -> None:
        ends = (Event.PROCESS_ENDED, Event.CHANNEL_ENDED)
        for state in set(State) - {State.GONE}:
            for events in (ends, ends[::-1]):
                template = self.template(state)
                for event in events:
                    template.happens(event)
                self.assertIs(template.state, State.GONE, state)

    def test_one_that_has_gone_stays_gone(self) -> None:
        for event in Event:
            template = self.template(State.GONE)
            self.assertFalse(template.happens(event))
            self.assertIs(template.state, State.GONE)

    def test_only_a_ready_one_can_be_asked_and_be_found_stuck(self) -> None:
        stuck = {state for state, event in NEXT if event is Event.STUCK}
        self.assertEqual(stuck, {State.READY, State.DISMISSED, State.ENDED})

    def test_one_that_was_asked_for_something_does_that_before_it_leaves(self) -> None:
        template = self.template(State.READY)
        self.assertTrue(template.happens(Event.DISMISSED))
        self.assertIs(template.state, State.DISMISSED)
        self.assertTrue(template.happens(Event.DONE))
        self.assertIs(template.state, State.LEAVING)

    def test_what_is_not_in_the_table_changes_nothing(self) -> None:
        for state in State:
            for event in Event:
                template = self.template(state)
                changed = template.happens(event)
                self.assertIs(template.state, NEXT.get((state, event), state))
                self.assertEqual(changed, template.state is not state)

    def template(self, state: State) -> Template:
        made = Template(orders_for(Echo(), Settings(), False))
        made.state = state
        return made


class TemplateTests(Case):
    """One template."""

    def test_it_has_a_pid_and_can_be_killed_once_it_is_started(self) -> None:
        template = Template(orders_for(Echo(), Settings(), False))
        template.kill()
        self.assertIsNone(template.pid)
        process = template.process = FakeProcess(7)
        template.kill()
        self.assertEqual((template.pid, process.signals), (7, ["KILL"]))
        process.over = True
        template.kill()
        self.assertEqual(process.signals, ["KILL"])
