"""Fuzzing channels: a hostile child says whatever it likes, whenever it likes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.world import ListeningProtocol, World
from twisted_fork.kernel.channels import open_channel
from twisted_fork.pool.child import Child, State
from twisted_fork.wire import messages

kinds = st.one_of(
    st.sampled_from(
        [
            messages.TAKEN,
            messages.READY,
            messages.TELL,
            messages.ALIVE,
            messages.FAILED,
            messages.FORK,
        ]
    ),
    st.binary(min_size=1, max_size=1),
)

packets = st.one_of(
    st.builds(
        messages.pack,
        kinds,
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=30),
    ),
    st.binary(min_size=1, max_size=40),
    st.integers(messages.LONGEST - 2, messages.LONGEST + 2).map(
        lambda size: b"M" + bytes(size - 1)
    ),
)


class FuzzChannel(Case):
    """What comes over a channel reaches whoever is to have it, or ends the channel."""

    @settings(deadline=None)
    @given(st.lists(packets, max_size=12))
    def test_whatever_comes_is_a_message_or_the_end(self, sent: list[bytes]) -> None:
        reactor = FakeReactor()
        received: list[messages.Message] = []
        losses: list[None] = []
        channel, theirs = open_channel(reactor, received.append, lambda: losses.append(None))
        self.addCleanup(channel.close)
        with theirs:
            for packet in sent:
                theirs.send(packet)
                while reactor.readers and reactor.turn():
                    pass
                if channel.closed:
                    break
        while reactor.readers and reactor.turn():
            pass
        self.assertEqual((len(losses), reactor.readers), (1, []))
        for message in received:
            self.assertLessEqual(len(message.payload), messages.MAX_PAYLOAD)
            self.assertLess(message.ticket, 2**64)
            self.assertLess(message.number, 2**32)


class HostileChildren(RuleBasedStateMachine):
    """
    A pool, its connections, and children that say anything in any state, and die.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World(ListeningProtocol, max_children=4, connections_per_child=1)

    def _living(self) -> list[Child]:
        return [child for child in self.world.pool.children if child.process is not None]

    @precondition(lambda self: self.world.pool.places.may_accept())
    @rule()
    def connects(self) -> None:
        self.world.connect()

    @precondition(lambda self: self.world.launcher.launched)
    @rule(data=st.data())
    def comes_to_life(self, data: st.DataObject) -> None:
        ordered = [child for child in self.world.pool.children if child.process is None]
        if ordered:
            self.world.live(data.draw(st.sampled_from(ordered)))

    @rule(data=st.data(), kind=st.one_of(st.sampled_from([messages.TAKEN, messages.READY]), kinds))
    def says(self, data: st.DataObject, kind: bytes) -> None:
        if children := [child for child in self._living() if child.channel is not None]:
            self.world.says(data.draw(st.sampled_from(children)), kind)

    @rule(data=st.data(), number=st.sampled_from([None, 9, 11]))
    def dies(self, data: st.DataObject, number: int | None) -> None:
        if children := self._living():
            self.world.end(data.draw(st.sampled_from(children)), number)

    @rule(seconds=st.floats(0.001, 20))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @invariant()
    def no_child_serves_more_than_it_may(self) -> None:
        for child in self.world.pool.children:
            assert child.left >= 0, f"{child.left} left"
            assert child.left > 0 or child.state not in (State.GIVEN, State.IDLE)

    @invariant()
    def no_more_are_busy_than_may_be(self) -> None:
        assert self.world.pool.children.busy <= 4

    @invariant()
    def a_connection_is_closed_once_or_kept_by_one(self) -> None:
        kept = [child.connection for child in self.world.pool.children if child.connection]
        assert len(kept) == len(set(kept))


class FuzzChildren(Case):
    """Children of every kind of hostility, in every order."""

    def test_no_child_gets_more_than_its_share(self) -> None:
        run_state_machine_as_test(
            HostileChildren,
            settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
        )
