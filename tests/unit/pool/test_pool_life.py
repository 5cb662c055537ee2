"""
The pool under whatever may happen, in whatever order: no connection is ever lost, and the
pool's own idea of its children is never wrong.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred

from tests.unit.cases import Case
from tests.unit.fakes import pass_time
from tests.unit.world import (
    FakeConnection,
    ListeningProtocol,
    RecordingProtocol,
    World,
    channel_of,
    process_of,
)
from twisted_fork.pool.child import Child, State
from twisted_fork.wire import messages

What = Callable[["PoolLife"], object]

BUSY = (State.BEARING, State.GIVEN, State.SERVING)

any_child = st.integers(0, 1000)


def the_launcher_is_not_ready(life: PoolLife) -> None:
    life.world.launcher.is_ready = False
    life.pool.launcher_changed()


def launching_fails(life: PoolLife) -> None:
    life.world.launcher.error = OSError(errno.EMFILE, "too many")


def trouble_is_over(life: PoolLife) -> None:
    """After as long as children are waited for at most."""
    life.world.launcher.error = None
    life.world.launcher.is_ready = True
    life.pool.launcher_changed()
    pass_time(life.world.clock, 11.0)


def it_is_stopped(life: PoolLife) -> None:
    if life.stopped is None:
        life.stopped = life.pool.stop()


def time(seconds: float) -> What:
    """It passes."""
    return lambda life: pass_time(life.world.clock, seconds)


WHAT = [
    *[trouble_is_over, the_launcher_is_not_ready, launching_fails, trouble_is_over] * 4,
    *map(time, (0.001, 0.05, 1.0, 11.0) * 4),
    it_is_stopped,
]
"""What happens besides, all of it in one rule, so that most of the time children do something."""


class PoolLife(RuleBasedStateMachine):
    """What may happen to a pool."""

    world: World

    @initialize(
        most=st.integers(1, 4),
        spare=st.integers(0, 3),
        each=st.integers(1, 3),
        protocol=st.sampled_from([RecordingProtocol, ListeningProtocol]),
    )
    def begin(self, most: int, spare: int, each: int, protocol: type[RecordingProtocol]) -> None:
        self.world = World(
            protocol, max_children=most, spare_children=spare, connections_per_child=each
        )
        self.pool = self.world.pool
        self.accepted: list[FakeConnection] = []
        self.stopped: Deferred[None] | None = None
        self.pool.launcher_changed()

    # What there is

    def children(self, *states: State) -> list[Child]:
        return [child for child in self.pool.children if child.state in states]

    def ordered(self) -> list[Child]:
        """Those that do not live yet."""
        return [child for child in self.pool.children if child.process is None]

    def alive(self) -> list[Child]:
        return [child for child in self.pool.children if child.process is not None]

    def with_channel(self) -> list[Child]:
        return [child for child in self.alive() if child.channel is not None]

    def who_may_be_ready(self) -> list[Child]:
        """Those that serve, and may be given another connection."""
        serving = self.children(State.SERVING)
        return [child for child in serving if child.channel is not None and child.left]

    def lines(self, begin: str) -> int:
        return sum(line.startswith(begin) for line in self.world.lines)

    # What happens

    @rule()
    def a_connection_comes(self) -> None:
        if self.pool.places.may_accept():
            self.accepted.append(self.world.connect())

    @precondition(lambda self: self.ordered())
    @rule(which=any_child, took=st.booleans())
    def a_child_comes_to_life(self, which: int, took: bool) -> None:
        child = self.ordered()[which % len(self.ordered())]
        self.world.live(child, took=took and child.connection is not None)

    @precondition(lambda self: self.ordered())
    @rule(which=any_child)
    def a_child_cannot_be_forked(self, which: int) -> None:
        self.pool.failed(self.ordered()[which % len(self.ordered())], errno.EAGAIN)

    @precondition(lambda self: self.ordered())
    @rule()
    def the_template_dies(self) -> None:
        for child in reversed(self.ordered()):
            self.pool.never_was(child)
        self.pool.launcher_changed()

    @precondition(lambda self: self.with_channel())
    @rule(
        which=any_child, kind=st.sampled_from([messages.TAKEN, messages.READY, messages.TELL, b"?"])
    )
    def a_child_says_something(self, which: int, kind: bytes) -> None:
        child = self.with_channel()[which % len(self.with_channel())]
        may = {
            messages.TAKEN: child.state is State.GIVEN,
            messages.READY: child.state is State.SERVING,
            messages.TELL: True,
        }
        self.world.says(child, kind, b"payload")
        if not may.get(kind, False):
            assert "KILL" in process_of(child).signals, "a breach is not punished"

    @precondition(lambda self: self.children(State.GIVEN))
    @rule(which=any_child)
    def a_child_takes_its_connection(self, which: int) -> None:
        given = [c for c in self.children(State.GIVEN) if c.channel is not None]
        if given:
            self.world.says(given[which % len(given)], messages.TAKEN)

    @precondition(lambda self: self.who_may_be_ready())
    @rule(which=any_child)
    def a_child_is_ready_again(self, which: int) -> None:
        ready = self.who_may_be_ready()
        child = ready[which % len(ready)]
        self.world.says(child, messages.READY)
        assert child.state is not State.SERVING

    @precondition(lambda self: self.alive())
    @rule(which=any_child, number=st.sampled_from([None, signal.SIGKILL]))
    def a_child_ends(self, which: int, number: int | None) -> None:
        self.world.end(self.alive()[which % len(self.alive())], number)

    @precondition(lambda self: self.with_channel())
    @rule(which=any_child, how=st.booleans())
    def a_channel_is_lost(self, which: int, how: bool) -> None:
        child = self.with_channel()[which % len(self.with_channel())]
        if how:
            self.pool.channel_lost(child)
        else:
            channel_of(child).error = BrokenPipeError()

    @rule(most=st.integers(1, 4))
    def children_do_what_they_shall(self, most: int) -> None:
        """Up to so many of them: they live, take their connection, and are ready again."""
        for child in list(self.pool.children)[:most]:
            if child.process is None:
                self.world.live(child)
            elif child.state is State.GIVEN and child.channel is not None:
                self.world.says(child, messages.TAKEN)
            elif child in self.who_may_be_ready():
                self.world.says(child, messages.READY)

    @rule(what=st.sampled_from(WHAT))
    def something_else_happens(self, what: What) -> None:
        what(self)

    # What is always so

    @invariant()
    def its_counts_agree_with_its_children(self) -> None:
        counted = self.pool.children
        assert counted.busy == len(self.children(*BUSY))
        assert counted.ordered == len(self.children(State.ORDERED))
        assert counted.idle == len(self.children(State.IDLE))
        assert not self.children(State.ENDED)

    @invariant()
    def no_connection_is_lost_or_has_two_children(self) -> None:
        held = [
            child.connection
            for child in self.children(State.ORDERED, State.BEARING, State.GIVEN)
            if child.connection is not None
        ]
        unserved = [connection for connection in self.accepted if not connection.closed]
        assert len(set(held)) == len(held)
        assert len(held) + len(self.pool.places.waiting) == len(unserved)
        over = self.lines("handed over") + self.lines("connection refused")
        assert len(self.accepted) == len(unserved) + over

    @invariant()
    def no_more_are_busy_than_may_be(self) -> None:
        places = self.pool.places
        assert places.taken + len(places.waiting) <= self.world.settings.max_children

    @invariant()
    def every_idle_child_can_be_given_a_connection(self) -> None:
        for child in self.children(State.IDLE):
            assert child.channel is not None or "KILL" in process_of(child).signals
            assert child.left > 0 or "KILL" in process_of(child).signals
            assert child.connection is None

    @invariant()
    def nobody_waits_without_a_reason(self) -> None:
        can_be_placed = self.pool.children.idle or self.pool.placement.can_launch()
        assert not (self.pool.places.waiting and can_be_placed)

    def teardown(self) -> None:
        """Whatever has been, it can be stopped, and leaves nothing."""
        if not hasattr(self, "world"):
            return
        stopped = self.stopped or self.pool.stop()
        for child in self.ordered():
            self.pool.never_was(child)
        for child in self.alive():
            self.world.end(child)
        launcher_stopped = self.world.launcher.stopped
        assert launcher_stopped is not None
        assert not stopped.called
        launcher_stopped.callback(None)
        assert stopped.called
        assert all(connection.closed for connection in self.accepted)
        assert self.lines("handed over") == self.lines("served") + self.lines("child ended peer")
        assert self.world.clock.getDelayedCalls() == []


class PoolLifeTests(Case):
    """Many lives of a pool."""

    def test_a_pool_survives_whatever_happens(self) -> None:
        machine: Any = PoolLife
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=150,
                stateful_step_count=40,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
