"""Tests for what is known of an accepted connection."""

from __future__ import annotations

import os
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.places.connection import Connection, names
from twisted_fork.wire import messages

hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=4).map("::ffff:{}".format),
    st.ip_addresses(v=6).map("{}%eth0".format),
)
ports = st.integers(0, 65535)


class PeerTextTests(Case):
    """Who connected, as the log shows it."""

    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def test_every_kind_of_address_has_its_form(self) -> None:
        for address, text in [
            (("192.0.2.1", 5000), "192.0.2.1:5000"),
            (("2001:db8::7", 5000, 0, 0), "[2001:db8::7]:5000"),
            (("fe80::1%eth0", 1, 0, 2), "[fe80::1%eth0]:1"),
        ]:
            self.assertEqual(names(self.ours.fileno(), address)[0], text)

    def test_a_unix_peer_is_told_by_its_credentials(self) -> None:
        wanted = f"unix:uid={os.getuid()},pid={os.getpid()}"
        for address in ("", b"", b"\0abstract", "/a/path", None):
            self.assertEqual(names(self.ours.fileno(), address)[0], wanted)

    @given(hosts, ports)
    def test_host_and_port_can_be_read_from_the_text(self, host: str, port: int) -> None:
        address: tuple[Any, ...] = (host, port, 0, 0) if ":" in host else (host, port)
        text = names(self.ours.fileno(), address)[0]
        found, _, number = text.rpartition(":")
        self.assertEqual(int(number), port)
        self.assertEqual(found.startswith("["), ":" in found)
        self.assertTrue(host.endswith(found.strip("[]")))

    @given(st.text(), ports)
    def test_no_text_of_a_host_is_an_error(self, host: str, port: int) -> None:
        self.assertIn(str(port), names(self.ours.fileno(), (host, port))[0])


class ConnectionTests(Case):
    """A connection, for as long as the reactor process holds it."""

    def test_a_child_is_told_where_it_comes_from(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            connection = Connection(ours.fileno(), ("192.0.2.1", 5000))
            told = messages.Message(
                messages.pack(messages.CONNECTION, payload=connection.details())
            )
            self.assertEqual(told.details[1], ("192.0.2.1", 5000))
            self.assertEqual((connection.peer, connection.tries), ("192.0.2.1:5000", 0))

    def test_an_ipv4_peer_of_an_ipv6_socket_has_an_ipv4_address(self) -> None:
        connection = Connection(-1, ("::ffff:192.0.2.1", 80, 0, 0), int(socket.AF_INET6))
        self.assertEqual(connection.address, ("192.0.2.1", 80))
        self.assertEqual((connection.peer, connection.source), ("192.0.2.1:80", "192.0.2.1"))
        other = Connection(-1, ("::ffff:c000:201", 80, 0, 0), int(socket.AF_INET6))
        self.assertEqual(other.peer, "[::ffff:c000:201]:80")

    @given(st.one_of(st.binary(min_size=1), st.text(min_size=1)))
    def test_the_name_that_a_proxy_tells_is_one_word_of_one_line(self, name: str | bytes) -> None:
        connection = Connection(-1, ("192.0.2.1", 5000))
        connection.proxied(name, "/run/proxy.sock", {})
        self.assertTrue(connection.peer.startswith("unix:"))
        self.assertTrue(connection.peer.isprintable())
        self.assertEqual(connection.peer.split(" "), [connection.peer])
        self.assertEqual(connection.source, connection.peer)
        self.assertEqual(connection.address, name)

    def test_it_may_be_closed_twice(self) -> None:
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        connection = Connection(ours.detach(), "")
        connection.close()
        connection.close()
        self.assertEqual(connection.descriptor, -1)
        self.assertEqual(theirs.recv(1), b"")
