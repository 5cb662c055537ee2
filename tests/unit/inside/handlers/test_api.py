"""Tests for what a handler may know about its connection, and tell."""

from __future__ import annotations

import socket
from typing import Any

import twisted_fork
from tests.unit.cases import Case
from tests.unit.fakes import channel_pair
from twisted_fork.inside.handlers import api
from twisted_fork.inside.handlers.api import ConnectionInfo, connection, tell
from twisted_fork.wire import messages


class AboutCase(Case):
    """Nothing is being served before a test, nor after it."""

    def setUp(self) -> None:
        self.patch(api, "_now", None)
        self.patch(api, "_listener", None)


def info(local: Any = ("192.0.2.9", 80), extras: Any = None) -> ConnectionInfo:
    """A connection."""
    return ConnectionInfo(None, (socket.AF_INET, ("192.0.2.1", 5000), local, 3, extras))


class ConnectionTests(AboutCase):
    """What a handler may know."""

    def test_it_is_what_the_reactor_process_has_told(self) -> None:
        api.begin(info(extras={2: b"name"}), None)
        found = connection()
        self.assertEqual((found.peer, found.local), (("192.0.2.1", 5000), ("192.0.2.9", 80)))
        self.assertEqual((found.number, found.extras), (3, {2: b"name"}))

    def test_without_a_proxy_there_are_no_extras(self) -> None:
        self.assertEqual(info().extras, {})

    def test_what_was_connected_to_is_known_by_the_socket(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            details = (socket.AF_INET, ("192.0.2.1", 5000), None, 1, None)
            made = ConnectionInfo(listening, details)
            self.assertEqual(made.local, listening.getsockname())
        # and goes on being known
        self.assertEqual(made.local[0], "127.0.0.1")

    def test_the_next_connection_takes_the_place_of_the_last(self) -> None:
        api.begin(info(), None)
        following = info()
        api.begin(following, None)
        self.assertIs(connection(), following)

    def test_elsewhere_than_in_a_child_there_is_none(self) -> None:
        for ask in (connection, lambda: tell(b"")):
            with self.assertRaisesRegex(RuntimeError, "the handler runs in a child only"):
                ask()

    def test_the_public_names_are_these(self) -> None:
        self.assertIs(twisted_fork.connection, connection)
        self.assertIs(twisted_fork.tell, tell)
        self.assertIs(twisted_fork.ConnectionInfo, ConnectionInfo)


class TellTests(AboutCase):
    """What a handler may tell."""

    def setUp(self) -> None:
        super().setUp()
        self.ours, theirs = channel_pair()
        self.addCleanup(self.ours.close)
        self.addCleanup(theirs.close)
        api.begin(info(), theirs)

    def heard(self) -> bytes:
        """The next message's payload."""
        message = messages.Message(self.ours.recv(messages.LONGEST))
        self.assertEqual(message.kind, messages.TELL)
        return message.payload

    def test_messages_arrive_in_order(self) -> None:
        for number in range(3):
            self.assertTrue(tell(b"%d" % number))
        self.assertEqual([self.heard() for _ in range(3)], [b"0", b"1", b"2"])

    def test_a_message_may_be_empty_or_64_kib_long(self) -> None:
        for message in (b"", b"x" * 65536):
            self.assertTrue(tell(message))
            self.assertEqual(self.heard(), message)

    def test_a_message_is_bytes_of_some_kind(self) -> None:
        for message in (bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcd").cast("i")):
            self.assertTrue(tell(message))  # type: ignore[arg-type]
            self.assertEqual(self.heard(), b"abcd")
        for wrong in ("text", 5, None, [1, 2]):
            with self.assertRaisesRegex(
                TypeError, r"a message is bytes, not .*: .* text.encode\(\)"
            ):
                tell(wrong)  # type: ignore[arg-type]

    def test_a_longer_one_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "65537 bytes: at most 65536"):
            tell(b"x" * 65537)

    def test_nobody_listens_without_a_channel(self) -> None:
        api.begin(info(), None)
        self.assertFalse(tell(b"anybody?"))

    def test_nobody_listens_who_is_gone(self) -> None:
        self.ours.close()
        self.assertFalse(tell(b"anybody?"))
