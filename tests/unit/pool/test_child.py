"""Tests for the table of a child's life."""

from __future__ import annotations

from twisted.internet.error import ProcessExitedAlready

from tests.unit.cases import Case
from tests.unit.fakes import FakeProcess
from tests.unit.world import FakeChannel, FakeConnection
from twisted_fork.pool.child import NEXT, Child, ChildProtocol, Event, State


class FakeDeadline:
    """A time limit that remembers how often it was called off."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1


def reachable(begin: State, without: tuple[Event, ...] = ()) -> set[State]:
    """The states that may follow *begin*."""
    found = {begin}
    while True:
        more = {
            state
            for (before, event), state in NEXT.items()
            if before in found
            if event not in without
        }
        if more <= found:
            return found
        found |= more


class NextTests(Case):
    """NEXT is all of a child's life."""

    def test_every_state_can_be_reached(self) -> None:
        self.assertEqual(reachable(State.ORDERED) | reachable(State.BEARING), set(State))

    def test_every_state_but_the_last_may_end_at_once(self) -> None:
        for state in State:
            if state is not State.ENDED:
                self.assertIs(NEXT[state, Event.ENDED], State.ENDED)

    def test_nothing_comes_after_the_end(self) -> None:
        self.assertEqual([key for key in NEXT if key[0] is State.ENDED], [])

    def test_who_is_leaving_never_serves_again(self) -> None:
        self.assertEqual(reachable(State.LEAVING), {State.LEAVING, State.ENDED})

    def test_only_taking_a_connection_makes_a_child_serve(self) -> None:
        events = {event for (_, event), state in NEXT.items() if state is State.SERVING}
        self.assertEqual(events, {Event.TAKEN})
        self.assertNotIn(State.SERVING, reachable(State.ORDERED, without=(Event.TAKEN,)))

    def test_a_child_without_a_connection_cannot_take_one(self) -> None:
        for state in (State.ORDERED, State.IDLE, State.SERVING, State.LEAVING):
            self.assertNotIn((state, Event.TAKEN), NEXT)

    def test_only_those_that_have_no_connection_are_let_go(self) -> None:
        after = {state: then for (state, event), then in NEXT.items() if event is Event.DISMISSED}
        self.assertEqual(after, {State.ORDERED: State.LEAVING, State.IDLE: State.LEAVING})

    def test_whoever_is_given_up_is_leaving_whatever_it_was(self) -> None:
        for state in set(State) - {State.ENDED}:
            self.assertIs(NEXT[state, Event.GIVEN_UP], State.LEAVING)


class ChildTests(Case):
    """A child's signals, its connection and its channel."""

    def setUp(self) -> None:
        self.child = Child(1, ChildProtocol(), since=0.0, left=1)
        self.process = FakeProcess(1234)

    def test_a_new_one_is_ordered_and_has_had_nothing(self) -> None:
        child = self.child
        self.assertEqual((child.state, child.generation), (State.ORDERED, 0))
        self.assertEqual((child.peer, child.source), ("", ""))

    def test_it_knows_whose_connection_it_has_or_had(self) -> None:
        connection = FakeConnection(7)
        connection.source = "192.0.2.0/24"
        self.child.given(connection)
        self.child.over()
        self.assertIs(self.child.connection, connection)
        self.assertEqual((self.child.peer, self.child.source), (connection.peer, "192.0.2.0/24"))

    def test_once_its_connection_is_over_no_limit_and_no_bytes_are_left_of_it(self) -> None:
        deadline = FakeDeadline()
        self.child.deadline = deadline  # type: ignore[assignment]
        self.child.amount = (1, 2)
        self.child.over()
        self.assertEqual(deadline.cancelled, 1)
        self.assertEqual((self.child.deadline, self.child.amount), (None, None))
        self.child.over()
        self.assertEqual(deadline.cancelled, 1)

    def test_before_it_lives_it_has_no_pid_and_takes_no_signal(self) -> None:
        self.child.kill()
        self.assertIsNone(self.child.pid)

    def test_alive_it_has_a_pid_and_takes_signals(self) -> None:
        self.child.lives(self.process)
        self.child.signal("TERM")
        self.child.kill()
        self.assertEqual((self.child.pid, self.process.signals), (1234, ["TERM", "KILL"]))

    def test_a_signal_after_its_end_is_no_error(self) -> None:
        self.child.lives(self.process)
        self.process.over = True
        self.assertRaises(ProcessExitedAlready, self.process.signalProcess, "KILL")
        self.child.kill()

    def test_one_that_is_known_to_have_ended_takes_no_signal(self) -> None:
        self.child.lives(self.process)
        self.process.over = True
        self.child.kill()
        self.assertEqual(self.process.signals, [])

    def test_its_channel_is_closed_once(self) -> None:
        channel = FakeChannel()
        self.child.channel = channel  # type: ignore[assignment]
        self.child.close_channel()
        self.child.close_channel()
        self.assertTrue(channel.closed)
        self.assertIsNone(self.child.channel)
