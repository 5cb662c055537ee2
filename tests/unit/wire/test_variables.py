"""Tests for what a program finds in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from twisted_fork.wire import variables
from twisted_fork.wire.orders import ProgramOrder


def order(**given: Any) -> ProgramOrder:
    """A program's order."""
    made = {"kind": "program", "env": {}, "clear": False, "chdir": None, **given}
    return cast(ProgramOrder, made)


def told(order: ProgramOrder, peer: Any, local: Any, number: int = 1) -> dict[str, str]:
    """The environment."""
    return variables.environment(order, peer, local, number, OURS)


TCP = (("192.0.2.1", 5000), ("192.0.2.9", 80), 3)


paths = st.one_of(st.binary(max_size=108), st.binary(max_size=108).map(os.fsdecode))
hosts = st.one_of(
    st.tuples(st.ip_addresses().map(str), st.integers(0, 65535)),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 65535), st.just(0), st.just(0)),
)
ends = st.one_of(st.tuples(paths, paths), st.tuples(hosts, hosts))
"""Peer and local address: what accept(2) may give, and a proxy tell."""


OURS = {"COLOUR": "green", "PROTO": "ours"}
"""The server's own environment; nothing may change it."""


class EnvironmentTests(Case):
    """What a program finds in its environment."""

    def test_of_a_tcp_connection(self) -> None:
        wanted = {
            "PROTO": "TCP",
            "TCPLOCALIP": "192.0.2.9",
            "TCPLOCALPORT": "80",
            "TCPREMOTEIP": "192.0.2.1",
            "TCPREMOTEPORT": "5000",
            "TCPCONNNUM": "3",
            "REMOTE_ADDR": "192.0.2.1",
            "REMOTE_PORT": "5000",
        }
        self.assertEqual(told(order(clear=True), *TCP), wanted)

    def test_of_an_ipv6_connection(self) -> None:
        peer, local = ("2001:db8::1", 5000, 0, 0), ("2001:db8::9", 80, 0, 0)
        found = told(order(clear=True), peer, local)
        ips = (found["TCPREMOTEIP"], found["TCPLOCALIP"])
        self.assertEqual(ips, ("2001:db8::1", "2001:db8::9"))

    def test_of_a_unix_socket(self) -> None:
        for peer, shown in [("", ""), ("/a", "/a"), (b"\0abstract", "@abstract")]:
            wanted = {
                "PROTO": "UNIX",
                "UNIXLOCALPATH": "/run/shop",
                "UNIXREMOTEPATH": shown,
                "UNIXCONNNUM": "1",
            }
            found = told(order(clear=True), peer, "/run/shop")
            self.assertEqual(found, wanted)

    @given(ends)
    def test_whatever_peers_are_called_it_can_be_passed_to_execve(
        self, ends: tuple[Any, Any]
    ) -> None:
        found = told(order(), *ends)
        for name, value in found.items():
            self.assertIsInstance(value, str)
            self.assertNotIn(b"\0", os.fsencode(name) + b"=" + os.fsencode(value))
            self.assertLess(len(os.fsencode(value)), 1000)

    @given(st.binary(max_size=108))
    def test_the_bytes_of_a_name_are_all_in_the_environment(self, name: bytes) -> None:
        found = told(order(), b"\0" + name, "")["UNIXREMOTEPATH"]
        self.assertEqual(os.fsencode(found), b"@" + name.replace(b"\0", b"\\x00"))

    def test_a_name_with_every_byte_survives_an_execution(self) -> None:
        name = b"\0a\0" + bytes(range(1, 256))
        env = told(order(clear=True), name, "")
        code = "import os, sys; sys.stdout.buffer.write(os.environb[b'UNIXREMOTEPATH'])"
        ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
        self.assertEqual(ended.stdout, b"@a\\x00" + bytes(range(1, 256)))

    def test_the_servers_own_is_kept_unless_it_is_to_be_cleared(self) -> None:
        found = told(order(), *TCP)
        self.assertEqual((found["COLOUR"], found["PROTO"]), ("green", "TCP"))
        self.assertNotIn("COLOUR", told(order(clear=True), *TCP))

    def test_what_is_ordered_comes_last(self) -> None:
        found = told(order(env={"COLOUR": "red", "PROTO": "mine"}), *TCP)
        self.assertEqual((found["COLOUR"], found["PROTO"]), ("red", "mine"))
