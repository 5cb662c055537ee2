"""Tests for the table of a template's life, line by line where others cannot tell."""

from __future__ import annotations

from tests.unit.cases import Case
from twisted_fork.launchers.template import NEXT, Event, State


class TableTests(Case):
    """What a template is after an event."""

    def test_one_that_is_dismissed_while_it_starts_leaves(self) -> None:
        self.assertIs(NEXT[State.STARTING, Event.DISMISSED], State.LEAVING)

    def test_one_that_does_not_answer_is_stuck_whether_dismissed_or_not(self) -> None:
        for state in (State.READY, State.DISMISSED):
            self.assertIs(NEXT[state, Event.STUCK], State.STUCK)

    def test_one_whose_channel_is_broken_is_mute(self) -> None:
        self.assertIs(NEXT[State.READY, Event.BROKEN], State.MUTE)

    def test_one_that_has_ended_and_is_not_needed_has_gone(self) -> None:
        for event in (Event.STUCK, Event.DISMISSED, Event.CHANNEL_ENDED):
            self.assertIs(NEXT[State.ENDED, event], State.GONE)
