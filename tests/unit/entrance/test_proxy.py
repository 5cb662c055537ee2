"""Tests for the PROXY protocol's headers: what is taken, what they tell, who may send them."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from twisted_fork.entrance.proxy import BadHeader, HeaderReader, Told, Trusted, take
from twisted_fork.places.connection import Connection

V1 = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n"

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(rest: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


ENDS = struct.pack(
    "!4s4sHH", socket.inet_aton("198.51.100.7"), socket.inet_aton("203.0.113.9"), 4711, 443
)

V2 = v2(ENDS)

PEER, LOCAL = ("198.51.100.7", 4711), ("203.0.113.9", 443)


class TakeTests(Case):
    """How many bytes belong to the header."""

    def test_a_whole_header_is_taken_and_nothing_else(self) -> None:
        for header in (V1, V2, v2(b""), b"PROXY UNKNOWN\r\n"):
            self.assertEqual(take(header), (len(header), True))
            self.assertEqual(take(header + b"GET / HTTP/1.0\r\n"), (len(header), True))
            self.assertEqual(take(header + header), (len(header), True))

    def test_all_of_a_part_is_taken(self) -> None:
        for header in (V1, V2):
            for length in range(1, len(header)):
                self.assertEqual(take(header[:length]), (length, False))

    def test_what_begins_no_header_is_refused_at_its_first_wrong_byte(self) -> None:
        for wrong in (b"G", b"PROXy", b"\r\n\r\r", SIGNATURE[:-1] + b"!", b"\0"):
            with self.assertRaisesRegex(BadHeader, "does not begin with a PROXY header"):
                take(wrong)

    def test_a_line_has_an_end_within_107_bytes(self) -> None:
        longest = b"PROXY UNKNOWN".ljust(105, b"x") + b"\r\n"
        self.assertEqual(take(longest), (107, True))
        self.assertEqual(take(longest[:-1]), (106, False))
        with self.assertRaisesRegex(BadHeader, "no end of line within 107 bytes"):
            take(b"PROXY UNKNOWN".ljust(106, b"x") + b"\r\n")

    @given(st.sampled_from([V1, V2]), st.lists(st.integers(1, 30)), st.binary(max_size=40))
    def test_any_pieces_give_the_same(self, header: bytes, sizes: list[int], more: bytes) -> None:
        coming, taken, whole = header + more, b"", False
        sizes = [*sizes, len(coming)]
        seen = b""
        while not whole:
            size = sizes.pop(0)
            seen, coming = seen + coming[:size], coming[size:]
            length, whole = take(taken + seen)
            # what the next look sees is what was left
            used = length - len(taken)
            taken, seen = taken + seen[:used], seen[used:]
            if not coming:
                sizes.append(1)
        self.assertEqual((taken, seen + coming), (header, more))

    @given(st.binary())
    def test_any_bytes_are_a_header_or_none(self, seen: bytes) -> None:
        try:
            length, whole = take(seen)
        except BadHeader:
            return
        self.assertTrue(length <= len(seen))
        self.assertTrue(whole or length == len(seen))


class ToldTests(Case):
    """What a header tells."""

    def test_version_1_tells_both_addresses(self) -> None:
        told = Told(V1)
        self.assertEqual((told.peer, told.local, told.extras), (PEER, LOCAL, {}))

    def test_version_2_tells_both_addresses(self) -> None:
        told = Told(V2)
        self.assertEqual((told.peer, told.local, told.extras), (PEER, LOCAL, {}))

    def test_ipv6_addresses_are_as_accept_gives_them(self) -> None:
        line = b"PROXY TCP6 2001:db8::7 2001:db8::9 4711 443\r\n"
        ends = (socket.inet_pton(socket.AF_INET6, each) for each in ("2001:db8::7", "2001:db8::9"))
        packed = v2(struct.pack("!16s16sHH", *ends, 4711, 443), family=0x21)
        for header in (line, packed):
            told = Told(header)
            self.assertEqual(told.peer, ("2001:db8::7", 4711, 0, 0))
            self.assertEqual(told.local, ("2001:db8::9", 443, 0, 0))

    def test_a_proxys_own_connection_tells_nothing(self) -> None:
        for header in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n",
            v2(b"", command=0x20, family=0),
            v2(ENDS, command=0x20),
        ):
            told = Told(header)
            self.assertEqual((told.peer, told.local), (None, None))

    def test_extras_are_found_by_their_type(self) -> None:
        told = Told(v2(ENDS + b"\x02\0\3abc" + b"\xe0\0\0" + b"\xff\0\1\0"))
        self.assertEqual(told.extras, {0x02: b"abc", 0xE0: b"", 0xFF: b"\0"})
        self.assertEqual({type(kind) for kind in told.extras}, {int})

    def test_what_is_none_says_what_is_wrong_with_it(self) -> None:
        for header in (
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n",
            v2(ENDS[:-1]),
            v2(ENDS, command=0x11),
            v2(ENDS, command=0x22),
            b"",
        ):
            with self.assertRaises(BadHeader) as raised:
                Told(header)
            self.assertNotEqual(str(raised.exception), "")

    @given(st.one_of(st.binary(), st.binary().map(v2), st.binary().map(lambda b: b"PROXY " + b)))
    def test_any_bytes_tell_something_or_are_no_header(self, header: bytes) -> None:
        try:
            told = Told(header)
        except BadHeader:
            return
        self.assertTrue(told.peer is None or len(told.peer) >= 1 or told.peer == "")


class TrustedTests(Case):
    """Who may send a header."""

    def is_trusted(self, address: Any, *networks: str) -> bool:
        return Connection(-1, address) in Trusted(networks)

    def test_an_address_of_a_network_is(self) -> None:
        networks = ("192.0.2.0/24", "2001:db8::/32")
        self.assertTrue(self.is_trusted(("192.0.2.7", 1), *networks))
        self.assertFalse(self.is_trusted(("192.0.3.7", 1), *networks))
        self.assertTrue(self.is_trusted(("2001:db8::7", 1, 0, 0), *networks))
        self.assertFalse(self.is_trusted(("2001:db9::7", 1, 0, 0), *networks))

    def test_ipv4_on_an_ipv6_socket_is_ipv4(self) -> None:
        self.assertTrue(self.is_trusted(("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.0/24"))
        self.assertFalse(self.is_trusted(("::ffff:192.0.2.7", 1, 0, 0), "::1/128"))

    def test_the_scope_of_an_address_does_not_matter(self) -> None:
        self.assertTrue(self.is_trusted(("fe80::7%eth0", 1, 0, 2), "fe80::/10"))

    def test_nobody_is_of_no_network(self) -> None:
        self.assertFalse(self.is_trusted(("127.0.0.1", 1)))


class HeaderReaderTests(Case):
    """A header is read from a connection, and nothing that follows it."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        theirs, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        self.connection = Connection(theirs.detach(), ("127.0.0.1", 1))
        self.addCleanup(self.connection.close)
        self.told: list[Connection] = []
        self.failed: list[str] = []
        self.reader = HeaderReader(
            self.reactor,
            self.reactor,
            self.connection,
            5.0,
            self.told.append,
            lambda connection, reason: self.failed.append(reason),
        )
        self.reader.start()

    def check_it_is_over(self) -> None:
        """Nothing is watched or waited for, and the descriptor is left open."""
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
        os.fstat(self.connection.descriptor)

    def test_the_peer_is_known_and_what_follows_is_left(self) -> None:
        self.client.sendall(V2 + b"payload")
        self.reactor.turn()
        self.assertEqual(self.told, [self.connection])
        self.assertEqual((self.connection.address, self.connection.local), (PEER, LOCAL))
        self.assertEqual(self.connection.peer, "198.51.100.7:4711")
        self.assertEqual(os.read(self.connection.descriptor, 100), b"payload")
        self.check_it_is_over()

    def test_it_may_come_byte_by_byte(self) -> None:
        for byte in V1:
            self.assertEqual(self.told, [])
            self.client.sendall(bytes([byte]))
            self.reactor.turn()
        self.assertEqual(self.told, [self.connection])
        self.check_it_is_over()

    def test_a_proxys_own_connection_keeps_its_address_and_gets_the_extras(self) -> None:
        self.client.sendall(v2(b"\x02\0\3abc", command=0x20, family=0))
        self.reactor.turn()
        self.assertEqual(self.connection.address, ("127.0.0.1", 1))
        self.assertEqual(self.connection.extras, {2: b"abc"})

    def test_what_is_no_header_fails(self) -> None:
        self.client.sendall(b"GET / HTTP/1.0\r\n")
        self.reactor.turn()
        wanted = ["bad PROXY header: it does not begin with a PROXY header"]
        self.assertEqual((self.told, self.failed), ([], wanted))
        self.check_it_is_over()

    def test_an_end_before_the_end_of_the_header_fails(self) -> None:
        self.client.sendall(V1[:-1])
        self.reactor.turn()
        self.client.close()
        self.reactor.turn()
        self.assertEqual(self.failed, ["closed before its PROXY header"])
        self.check_it_is_over()

    def test_it_fails_when_it_takes_too_long(self) -> None:
        self.reactor.advance(4.9)
        self.client.sendall(V1[:-1])
        self.reactor.turn()
        self.assertEqual(self.failed, [])
        self.reactor.advance(0.2)
        self.assertEqual(self.failed, ["no PROXY header in time"])
        self.check_it_is_over()

    def test_it_can_be_stopped(self) -> None:
        self.reader.stop()
        self.assertEqual(self.failed, ["shutting down"])
        self.check_it_is_over()
