"""Fuzzing the PROXY protocol's headers: whatever a peer sends, in whatever pieces."""

from __future__ import annotations

import os
import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor, channel_pair
from twisted_fork.entrance.networks import Guard, Prefixes
from twisted_fork.entrance.proxy import BadHeader, HeaderReader, Told, take
from twisted_fork.places.connection import Connection
from twisted_fork.wire import messages

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST = 16 + 0xFFFF

tlvs = st.lists(
    st.builds(
        lambda kind, value: struct.pack("!BH", kind, len(value)) + value,
        st.integers(0, 255),
        st.binary(max_size=40),
    ),
    max_size=8,
).map(b"".join)

second_version = st.builds(
    lambda command, family, addresses, more, lie: (
        SIGNATURE
        + struct.pack("!BBH", command, family, max(0, min(0xFFFF, len(addresses + more) + lie)))
        + addresses
        + more
    ),
    st.one_of(st.sampled_from([0x20, 0x21]), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 0x11, 0x12, 0x21, 0x31]), st.integers(0, 255)),
    st.one_of(*(st.binary(min_size=size, max_size=size) for size in (0, 12, 36, 216)), st.binary()),
    st.one_of(tlvs, st.binary(max_size=40)),
    st.one_of(st.just(0), st.integers(-30, 30)),
)

ascii_words = st.text(st.characters(codec="ascii", exclude_characters=" "), max_size=6)

scoped = st.builds("{}%{}".format, st.ip_addresses(v=6), ascii_words)

ports = st.one_of(st.just("7"), st.integers(-10, 70000).map(str), ascii_words)


def _line(family: str, *words: str) -> bytes:
    return " ".join(["PROXY", family, *words]).replace("\r\n", "").encode() + b"\r\n"


first_version = st.one_of(
    st.builds(_line, st.just("TCP6"), scoped, st.just("::1"), st.just("7"), ports),
    *(
        st.builds(_line, st.just(family), addresses, addresses, ports, ports)
        for family, addresses in (
            ("TCP4", st.ip_addresses(v=4).map(str)),
            ("TCP6", st.ip_addresses(v=6).map(str)),
            ("TCP4", st.one_of(st.ip_addresses().map(str), ascii_words)),
        )
    ),
    st.builds(_line, ascii_words, ascii_words),
)

headers = st.one_of(first_version, second_version, st.binary(max_size=300))


class FuzzHeaders(Case):
    """The functions that look at what came."""

    @given(headers)
    def test_what_is_taken_is_there_and_only_grows(self, seen: bytes) -> None:
        taken_before = 0
        for length in range(1, len(seen) + 1):
            try:
                taken, whole = take(seen[:length])
            except BadHeader:
                return
            self.assertTrue(taken_before <= taken <= length)
            taken_before = taken
            if whole:
                self.assertEqual(take(seen), (taken, True))
                return

    @settings(max_examples=300)
    @given(headers)
    def test_a_header_tells_addresses_that_the_rest_can_work_with(self, seen: bytes) -> None:
        try:
            told = Told(seen)
        except BadHeader:
            return
        connection = Connection(-1, ("127.0.0.1", 1))
        if told.peer is None:
            return
        connection.proxied(told.peer, told.local, told.extras)
        self.assertTrue(connection.peer.isprintable(), repr(connection.peer))
        self.assertNotIn(" ", connection.peer)
        connection.details()
        if not isinstance(told.peer, tuple):
            return
        host = connection.address[0]
        Guard(["10.0.0.0/8", "fe80::/10"], ["::/0"]).admits(host)
        self.assertTrue(Prefixes().source(host).isprintable())

    @settings(deadline=None, max_examples=30)
    @given(st.integers(0, 0xFFFF - 15), st.integers(1, 255))
    def test_what_it_tells_arrives_on_the_other_side(self, size: int, kind: int) -> None:
        told = Told(
            SIGNATURE
            + struct.pack("!BBH", 0x21, 0x11, 12 + 3 + size)
            + struct.pack("!4s4sHH", b"\1\2\3\4", b"\5\6\7\x08", 9, 10)
            + struct.pack("!BH", kind, size)
            + bytes(size)
        )
        connection = Connection(-1, ("127.0.0.1", 1))
        connection.proxied(told.peer, told.local, told.extras)
        ours, theirs = channel_pair()
        with ours, theirs:
            data = messages.pack(messages.CONNECTION, payload=connection.details())
            ours.send(data)
            received = messages.receive(theirs)
            assert received is not None
            self.assertEqual(len(received.data), len(data))
            self.assertEqual(received.details[1], ("1.2.3.4", 9))


class FuzzReader(Case):
    """The reader, over a real connection."""

    @settings(deadline=None)
    @given(headers, st.lists(st.integers(1, 120), max_size=6), st.booleans())
    def test_every_connection_is_either_told_of_or_refused(
        self, sent: bytes, cuts: list[int], ends: bool
    ) -> None:
        reactor = FakeReactor()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        told: list[Connection] = []
        failed: list[str] = []
        connection = Connection(theirs.detach(), ("127.0.0.1", 1))
        HeaderReader(
            reactor, reactor, connection, 5.0, told.append, lambda _, reason: failed.append(reason)
        ).start()
        whole = sent + b"what the client says"
        position = 0
        for cut in [*cuts, len(whole)]:
            ours.sendall(whole[position : position + cut])
            position += cut
            while reactor.readers and reactor.turn():
                pass
            if position >= len(whole):
                break
        if ends:
            ours.shutdown(socket.SHUT_WR)
            while reactor.readers and reactor.turn():
                pass
        reactor.advance(6)
        self.assertEqual(len(told) + len(failed), 1)
        self.assertEqual((reactor.readers, reactor.getDelayedCalls()), ([], []))
        if told:
            length, complete = take(whole)
            self.assertTrue(complete)
            left = os.read(connection.descriptor, LONGEST)
            self.assertEqual(left, whole[length:])
        connection.close()
