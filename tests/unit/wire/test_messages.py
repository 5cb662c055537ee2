"""Tests for messages, and for descriptors that are passed along."""

from __future__ import annotations

import os
import socket

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from tests.unit.fakes import channel_pair
from tests.unit.processes import descriptors_before
from twisted_fork.wire import messages

kinds = st.binary(min_size=1, max_size=1)
tickets = st.integers(0, 2**64 - 1)
numbers = st.integers(0, 2**31 - 1)


class MessageTests(Case):
    """Packing and unpacking."""

    @given(kinds, tickets, numbers, st.binary(max_size=200))
    def test_what_is_packed_can_be_unpacked(
        self, kind: bytes, ticket: int, number: int, payload: bytes
    ) -> None:
        message = messages.Message(messages.pack(kind, ticket, number, payload))
        found = (message.kind, message.ticket, message.number, message.payload)
        self.assertEqual(found, (kind, ticket, number, payload))
        self.assertEqual(message.descriptors, ())

    def test_what_is_not_given_is_nought_or_empty(self) -> None:
        self.assertEqual(messages.pack(b"K"), b"K" + bytes(12))

    @given(kinds, tickets, numbers)
    def test_a_reply_has_the_ticket_of_what_it_answers(
        self, kind: bytes, ticket: int, number: int
    ) -> None:
        asked = messages.Message(messages.pack(messages.FORK, ticket, 3, b"details"))
        self.assertEqual(messages.reply(asked, kind, number), messages.pack(kind, ticket, number))

    @given(st.binary(max_size=100))
    def test_arbitrary_bytes_are_a_message_or_a_value_error(self, data: bytes) -> None:
        try:
            message = messages.Message(data)
        except ValueError:
            self.assertLess(len(data), 13)
        else:
            packed = messages.pack(message.kind, message.ticket, message.number, message.payload)
            self.assertEqual(packed, data)

    def test_a_message_that_is_too_short_is_refused_with_its_length(self) -> None:
        with self.assertRaisesRegex(ValueError, "12 bytes are too few"):
            messages.Message(b"x" * 12)

    def test_details_are_what_was_marshalled(self) -> None:
        orders = {"path": ["/a"], "open_files": (1, 2), "print": False}
        message = messages.Message(
            messages.pack(messages.ORDERS, payload=messages.marshalled(orders))
        )
        self.assertEqual(message.details, orders)

    def test_every_kind_of_message_is_another(self) -> None:
        all_kinds = [
            getattr(messages, name)
            for name in messages.__all__
            if type(getattr(messages, name)) is bytes and name != "ACCOUNT"
        ]
        self.assertEqual(len(all_kinds), len(set(all_kinds)))
        self.assertEqual({len(kind) for kind in all_kinds}, {1})

    def test_each_descriptor_that_may_come_along_has_a_bit_of_its_own(self) -> None:
        self.assertEqual((messages.CARRIES_CONNECTION, messages.CARRIES_CHANNEL), (0b01, 0b10))

    def test_exit_statuses_are_those_that_are_documented(self) -> None:
        self.assertEqual((messages.EXIT_MEMORY, messages.EXIT_HANDSHAKE), (250, 251))


class ChannelPairTests(Case):
    """Sending and receiving over a real socket pair."""

    def setUp(self) -> None:
        self.ours, self.theirs = channel_pair()
        self.theirs.settimeout(10)
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def received(self) -> messages.Message:
        message = messages.receive(self.theirs)
        assert message is not None
        return message

    def test_messages_arrive_whole_and_in_order(self) -> None:
        messages.send(self.ours, messages.pack(messages.FORK, 1))
        messages.send(
            self.ours, messages.pack(messages.FORK, 2, payload=b"x" * messages.MAX_PAYLOAD)
        )
        self.assertEqual((self.received().ticket, len(self.received().payload)), (1, 65536))

    def test_descriptors_come_along_in_order_and_are_closed_on_exec(self) -> None:
        reading, writing = os.pipe()
        messages.send(self.ours, messages.pack(messages.FORK), (reading, writing))
        os.close(reading)
        os.close(writing)
        message = self.received()
        for descriptor in message.descriptors:
            self.addCleanup(os.close, descriptor)
        os.write(message.descriptors[1], b"through the pipe")
        self.assertEqual(os.read(message.descriptors[0], 100), b"through the pipe")
        self.assertEqual([os.get_inheritable(fd) for fd in message.descriptors], [False, False])

    def test_a_closed_channel_reads_as_none(self) -> None:
        self.ours.close()
        self.assertIsNone(messages.receive(self.theirs))

    def test_so_does_one_whose_other_side_has_gone_without_reading(self) -> None:
        messages.send(self.theirs, messages.pack(messages.READY))
        self.ours.close()
        self.assertIsNone(messages.receive(self.theirs))

    def test_what_was_sent_before_the_end_is_still_received(self) -> None:
        messages.send(self.ours, messages.pack(messages.CONNECTION, 7))
        self.ours.close()
        self.assertEqual(self.received().ticket, 7)
        self.assertIsNone(messages.receive(self.theirs))

    def test_bytes_that_are_no_message_are_a_value_error(self) -> None:
        self.ours.send(b"hello")
        self.assertRaises(ValueError, messages.receive, self.theirs)

    def test_sending_to_who_is_gone_is_an_error_and_no_signal(self) -> None:
        self.theirs.close()
        self.assertRaises(BrokenPipeError, messages.send, self.ours, messages.pack(messages.READY))
        with open(os.devnull) as nothing:
            self.assertRaises(
                BrokenPipeError,
                messages.send,
                self.ours,
                messages.pack(messages.FORK),
                (nothing.fileno(),),
            )

    def test_a_full_channel_refuses_at_once(self) -> None:
        self.ours.setblocking(False)
        with self.assertRaises(BlockingIOError):
            for _ in range(100_000):
                messages.send(self.ours, messages.pack(messages.FORK))

    def test_no_more_descriptors_are_taken_than_a_message_may_carry(self) -> None:
        before = len(descriptors_before())
        with open(os.devnull) as nothing:
            rights = [nothing.fileno()] * 20
            socket.send_fds(self.ours, [messages.pack(messages.FORK)], rights)
        message = self.received()
        for descriptor in message.descriptors:
            os.close(descriptor)
        self.assertLessEqual(len(message.descriptors), 2)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
