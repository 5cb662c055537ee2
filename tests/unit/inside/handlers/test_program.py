"""Tests for programs: what they are told, and how they are executed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before, forked, status_of
from twisted_fork.inside.about import ConnectionInfo
from twisted_fork.inside.handlers import program
from twisted_fork.wire.orders import ProgramOrder

TELL = (
    "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(),"
    " [each for each in range(3, 1000) if os.path.exists(f'/proc/self/fd/{each}')]]))"
)


def info(peer: Any, local: Any, number: int = 1) -> ConnectionInfo:
    """A connection."""
    return ConnectionInfo(None, (socket.AF_INET, peer, local, number, None))


def order(**given: Any) -> ProgramOrder:
    """A program's order."""
    made = {"kind": "program", "env": {}, "clear": False, "chdir": None, **given}
    return cast(ProgramOrder, made)


TCP = info(("192.0.2.1", 5000), ("192.0.2.9", 80), 3)


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
        self.assertEqual(program.environment(order(clear=True), TCP, OURS), wanted)

    def test_of_an_ipv6_connection(self) -> None:
        peer, local = ("2001:db8::1", 5000, 0, 0), ("2001:db8::9", 80, 0, 0)
        told = program.environment(order(clear=True), info(peer, local), OURS)
        self.assertEqual((told["TCPREMOTEIP"], told["TCPLOCALIP"]), ("2001:db8::1", "2001:db8::9"))

    def test_of_a_unix_socket(self) -> None:
        for peer, told in [("", ""), ("/a", "/a"), (b"\0abstract", "@abstract")]:
            wanted = {
                "PROTO": "UNIX",
                "UNIXLOCALPATH": "/run/shop",
                "UNIXREMOTEPATH": told,
                "UNIXCONNNUM": "1",
            }
            found = program.environment(order(clear=True), info(peer, "/run/shop"), OURS)
            self.assertEqual(found, wanted)

    @given(ends)
    def test_whatever_peers_are_called_it_can_be_passed_to_execve(
        self, ends: tuple[Any, Any]
    ) -> None:
        told = program.environment(order(), info(*ends), OURS)
        for name, value in told.items():
            self.assertIsInstance(value, str)
            self.assertNotIn(b"\0", os.fsencode(name) + b"=" + os.fsencode(value))
            self.assertLess(len(os.fsencode(value)), 1000)

    @given(st.binary(max_size=108))
    def test_the_bytes_of_a_name_are_all_in_the_environment(self, name: bytes) -> None:
        told = program.environment(order(), info(b"\0" + name, ""), OURS)["UNIXREMOTEPATH"]
        self.assertEqual(os.fsencode(told), b"@" + name.replace(b"\0", b"\\x00"))

    def test_a_name_with_every_byte_survives_an_execution(self) -> None:
        name = b"\0a\0" + bytes(range(1, 256))
        env = program.environment(order(clear=True), info(name, ""), OURS)
        code = "import os, sys; sys.stdout.buffer.write(os.environb[b'UNIXREMOTEPATH'])"
        ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
        self.assertEqual(ended.stdout, b"@a\\x00" + bytes(range(1, 256)))

    def test_the_servers_own_is_kept_unless_it_is_to_be_cleared(self) -> None:
        told = program.environment(order(), TCP, OURS)
        self.assertEqual((told["COLOUR"], told["PROTO"]), ("green", "TCP"))
        self.assertNotIn("COLOUR", program.environment(order(clear=True), TCP, OURS))

    def test_what_is_ordered_comes_last(self) -> None:
        told = program.environment(order(env={"COLOUR": "red", "PROTO": "mine"}), TCP, OURS)
        self.assertEqual((told["COLOUR"], told["PROTO"]), ("red", "mine"))


class ExecuteTests(Case):
    """Becoming the program."""

    def executed(self, **given: Any) -> tuple[int, bytes]:
        """How a program ended, and what it wrote into its connection."""
        argv = [sys.executable, "-c", TELL, "an argument"]
        ordered = order(**{"path": sys.executable, "argv": argv, **given})
        ours, theirs = socket.socketpair()

        def run() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            program.execute(ordered, theirs.fileno(), TCP)

        pid = forked(run)
        theirs.close()
        with ours, ours.makefile("rb") as stream:
            said = stream.read()
        return status_of(pid), said

    def test_it_has_its_arguments_its_environment_and_its_connection(self) -> None:
        status, said = self.executed(env={"COLOUR": "red"}, chdir="/")
        arguments, env, folder, _ = json.loads(said)
        self.assertEqual((status, arguments, folder), (0, ["an argument"], "/"))
        self.assertEqual((env["COLOUR"], env["TCPREMOTEIP"]), ("red", "192.0.2.1"))

    def test_it_has_no_other_descriptors(self) -> None:
        # but for those that whoever runs the tests has left open
        before = [each for each in map(int, descriptors_before()) if each > 2]
        left = [each for each in before if os.path.exists(f"/proc/self/fd/{each}")]
        _, said = self.executed()
        found = json.loads(said)[3]
        self.assertEqual(found, sorted(each for each in left if os.get_inheritable(each)))

    def test_no_signal_is_blocked_and_a_broken_pipe_ends_it(self) -> None:
        # not told by Python, which would ignore SIGPIPE by itself
        tell = ["grep", "^Sig[BI]", "/proc/self/status"]
        _, said = self.executed(path=shutil.which("grep"), argv=tell)
        words = said.decode().split()
        masks = {name: int(mask, 16) for name, mask in zip(words[::2], words[1::2], strict=True)}
        self.assertEqual(masks["SigBlk:"], 0)
        self.assertEqual(masks["SigIgn:"] & 1 << (signal.SIGPIPE - 1), 0)

    def test_standard_input_is_the_connection_too(self) -> None:
        ours, theirs = socket.socketpair()
        ordered = order(path="/bin/cat", argv=["cat"])
        pid = forked(lambda: program.execute(ordered, theirs.fileno(), TCP))
        theirs.close()
        with ours:
            ours.sendall(b"hello")
            ours.shutdown(socket.SHUT_WR)
            self.assertEqual(ours.recv(100), b"hello")
        self.assertEqual(status_of(pid), 0)
