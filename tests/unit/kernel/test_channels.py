"""Tests for the reactor process's end of a channel."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.processes import descriptors_before
from twisted_fork.kernel.channels import Channel, open_channel
from twisted_fork.wire import messages


class ChannelTests(Case):
    """A channel over a real socket pair, and a reactor that turns when it is told to."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.open()

    def open(self, received: Callable[[messages.Message], object] | None = None) -> None:
        """Open the channel that the test is about."""
        self.messages: list[tuple[bytes, int]] = []
        self.losses = 0
        self.channel, self.theirs = open_channel(self.reactor, received or self.got, self.lost)
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.channel.close)

    def got(self, message: messages.Message) -> None:
        self.messages.append((message.kind, message.ticket))

    def lost(self) -> None:
        self.losses += 1

    def tell(self, *tickets: int) -> None:
        for ticket in tickets:
            messages.send(self.theirs, messages.pack(messages.ALIVE, ticket))

    def turn_to_the_end(self) -> None:
        while self.reactor.turn():
            pass

    def test_messages_are_received_in_order(self) -> None:
        self.tell(1, 2, 3)
        self.turn_to_the_end()
        self.assertEqual(
            self.messages, [(messages.ALIVE, 1), (messages.ALIVE, 2), (messages.ALIVE, 3)]
        )
        self.assertEqual(self.losses, 0)

    def test_one_turn_reads_a_bounded_number_of_messages_and_the_next_goes_on(self) -> None:
        self.tell(*range(60))
        self.reactor.turn()
        self.assertTrue(1 <= len(self.messages) < 60)
        self.turn_to_the_end()
        self.assertEqual([ticket for _, ticket in self.messages], list(range(60)))

    def test_who_says_that_it_is_ready_is_not_listened_to_further_in_that_turn(self) -> None:
        self.tell(1)
        messages.send(self.theirs, messages.pack(messages.READY, 2))
        self.tell(3)
        self.reactor.turn()
        self.assertEqual(self.messages, [(messages.ALIVE, 1), (messages.READY, 2)])
        self.turn_to_the_end()
        self.assertEqual(self.messages[2:], [(messages.ALIVE, 3)])

    def test_the_end_is_told_once_after_the_last_message(self) -> None:
        self.tell(1)
        self.theirs.close()
        self.turn_to_the_end()
        self.assertEqual((len(self.messages), self.losses), (1, 1))
        self.assertTrue(self.channel.closed)
        self.assertEqual(self.reactor.readers, [])

    def test_messages_survive_an_end_with_something_unread(self) -> None:
        self.tell(1, 2)
        self.channel.send(messages.pack(messages.FORK))
        self.theirs.close()
        self.turn_to_the_end()
        self.assertEqual((len(self.messages), self.losses), (2, 1))

    def test_the_last_words_of_who_has_ended_are_all_heard_at_once(self) -> None:
        self.tell(*range(60))
        self.theirs.close()
        self.channel.hear_out()
        self.assertEqual((len(self.messages), self.losses), (60, 1))

    def test_hearing_out_ends_though_somebody_talks_without_end(self) -> None:
        def answer(message: messages.Message) -> None:
            self.got(message)
            self.assertLess(len(self.messages), 100_000, "it does not end")
            self.tell(1)

        self.open(answer)
        self.tell(1)
        self.channel.hear_out()

    def test_garbage_ends_the_channel(self) -> None:
        self.tell(1)
        self.theirs.send(b"garbage")
        self.tell(2)
        self.turn_to_the_end()
        self.assertEqual((len(self.messages), self.losses), (1, 1))
        self.assertRaises((BrokenPipeError, ConnectionResetError), self.tell, 3)

    @given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
    def test_whatever_comes_is_a_message_or_the_end(self, packets: list[bytes]) -> None:
        self.open()
        for packet in packets:
            self.theirs.send(packet)
        self.turn_to_the_end()
        good = next((n for n, packet in enumerate(packets) if len(packet) < 13), len(packets))
        self.assertEqual((len(self.messages), self.losses), (good, int(good < len(packets))))
        self.channel.close()
        self.theirs.close()

    def test_what_receives_a_message_may_close_the_channel(self) -> None:
        def close(message: messages.Message) -> None:
            self.got(message)
            self.channel.close()

        self.open(close)
        self.tell(1, 2)
        self.turn_to_the_end()
        self.assertEqual((len(self.messages), self.losses), (1, 0))

    def test_closing_tells_the_other_side_and_nobody_here(self) -> None:
        self.channel.close()
        self.channel.close()
        self.assertEqual((self.losses, self.reactor.readers), (0, []))
        self.assertEqual(self.theirs.recv(1), b"")

    def test_sending_passes_descriptors(self) -> None:
        with open(os.devnull) as nothing:
            self.channel.send(messages.pack(messages.CONNECTION, 5), (nothing.fileno(),))
        message = messages.receive(self.theirs)
        assert message is not None
        for descriptor in message.descriptors:
            os.close(descriptor)
        self.assertEqual((message.ticket, len(message.descriptors)), (5, 1))

    def test_sending_never_blocks(self) -> None:
        with self.assertRaises(BlockingIOError):
            for _ in range(100_000):
                self.channel.send(messages.pack(messages.FORK))

    def test_sending_on_a_closed_channel_is_an_error(self) -> None:
        self.channel.close()
        with self.assertRaises(OSError) as caught:
            self.channel.send(messages.pack(messages.FORK))
        self.assertEqual(caught.exception.errno, errno.EBADF)

    def test_descriptors_that_a_hostile_child_sends_are_not_kept(self) -> None:
        before = len(descriptors_before())
        with open(os.devnull) as nothing:
            messages.send(self.theirs, messages.pack(messages.READY), (nothing.fileno(),) * 2)
        self.turn_to_the_end()
        self.assertEqual(len(self.messages), 1)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_an_error_of_the_socket_is_an_end(self) -> None:
        class Broken:
            closed = False

            def recv(self, *arguments: object) -> bytes:
                raise OSError(errno.EIO, "broken")

            recv_into = recv

            def fileno(self) -> int:
                return -1

            def close(self) -> None:
                self.closed = True

        broken = Broken()
        channel = Channel(self.reactor, broken, self.got, self.lost)  # type: ignore[arg-type]
        channel.doRead()
        self.assertEqual((self.losses, broken.closed, channel.closed), (1, True, True))

    def test_no_descriptor_for_a_channel_is_an_error_for_the_caller(self) -> None:
        def no_descriptor(*arguments: object) -> None:
            raise OSError(errno.EMFILE, "too many open files")

        self.patch(socket, "socketpair", no_descriptor)
        readers = list(self.reactor.readers)
        self.assertRaises(OSError, open_channel, self.reactor, self.got, self.lost)
        self.assertEqual(self.reactor.readers, readers)
