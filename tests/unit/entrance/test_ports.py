"""Tests for ports: what opening one does, and closing it."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
)

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.processes import descriptors_before
from twisted_fork.entrance.descriptions import CannotListen, endpoint_from
from twisted_fork.entrance.ports import Port, open_port


class PortTests(Case):
    """Opening ports, and closing them."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.ports: list[Port] = []
        self.addCleanup(self.close_all)

    def close_all(self) -> None:
        for port in self.ports:
            self.closed(port)

    def closed(self, port: Port) -> None:
        """Close a port."""
        self.ports.remove(port)
        port.close()

    def open(self, description: str) -> Port:
        port = open_port(endpoint_from(self.reactor, description), description)
        self.ports.append(port)
        return port

    def refusal(self, description: str) -> str:
        with self.assertRaises(CannotListen) as caught:
            self.open(description)
        return str(caught.exception)

    def test_connections_are_queued_from_then_on_and_not_yet_accepted(self) -> None:
        port = self.open("tcp:0:interface=127.0.0.1")
        self.assertEqual(self.reactor.readers, [])
        address = port.socket.getsockname()
        with socket.create_connection(address, timeout=10):
            pass
        self.assertEqual(port.address, f"tcp 127.0.0.1:{address[1]}")

    def test_every_kind_of_port_says_where_it_is(self) -> None:
        path = self.folder / "socket"
        self.assertEqual(self.open(f"unix:{path}").address, f"unix {path}")
        if socket.has_ipv6:
            self.assertRegex(self.open("tcp6:0:interface=\\:\\:1").address, r"tcp6 \[::1\]:\d+")

    def test_an_inherited_socket_is_adopted(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as inherited:
            address = inherited.getsockname()
            endpoint = AdoptedStreamServerEndpoint(
                self.reactor, os.dup(inherited.fileno()), socket.AF_INET
            )
            port = open_port(endpoint, "systemd:domain=INET:index=0")
        self.ports.append(port)
        self.assertEqual(port.address, f"tcp 127.0.0.1:{address[1]}")

    def adopt(self, listener: socket.socket, family: int) -> Port:
        """Open a port of a copy of *listener*, which is said to be of that *family*."""
        endpoint = AdoptedStreamServerEndpoint(self.reactor, os.dup(listener.fileno()), family)
        port = open_port(endpoint, "systemd:index=0")
        self.ports.append(port)
        with self.assertRaisesRegex(CannotListen, "systemd:index=0: its socket has been used"):
            open_port(endpoint, "systemd:index=0")
        return port

    def test_an_inherited_unix_socket_stays_as_it_is(self) -> None:
        path = self.folder / "socket"
        with socket.create_server(str(path), family=socket.AF_UNIX, backlog=2) as inherited:
            path.chmod(0o600)
            port = self.adopt(inherited, socket.AF_UNIX)
            self.assertEqual(port.address, f"unix {path}")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            # as many may wait as before: one more than the backlog
            with contextlib.ExitStack() as waiting:
                for _ in range(3):
                    waiting.enter_context(self.client(path)).connect(str(path))
                with self.assertRaises(BlockingIOError):
                    waiting.enter_context(self.client(path)).connect(str(path))
            self.closed(port)
        self.assertTrue(path.exists())

    def client(self, path: Path) -> socket.socket:
        """A Unix socket that does not wait."""
        made = socket.socket(socket.AF_UNIX)
        made.setblocking(False)
        return made

    def test_an_inherited_descriptor_that_is_no_such_socket_is_refused(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as listens,
            socket.socket() as does_not,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as no_stream,
            open(os.devnull) as no_socket,
        ):
            for what, family, why in (
                (listens, socket.AF_UNIX, "does not listen for AF_UNIX streams"),
                (does_not, socket.AF_INET, "does not listen for AF_INET streams"),
                (no_stream, socket.AF_INET, "does not listen for AF_INET streams"),
                (no_socket, socket.AF_INET, "Socket operation on non-socket"),
            ):
                copy = os.dup(what.fileno())
                endpoint = AdoptedStreamServerEndpoint(self.reactor, copy, family)
                with self.assertRaisesRegex(CannotListen, f"systemd:index=0: .*{why}"):
                    open_port(endpoint, "systemd:index=0")
                with contextlib.suppress(OSError):
                    os.close(copy)

    def test_a_closed_port_is_closed(self) -> None:
        before = len(descriptors_before())
        port = self.open("tcp:0:interface=127.0.0.1")
        address = port.socket.getsockname()
        self.closed(port)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(address, timeout=10)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_closing_removes_the_path_and_its_lock(self) -> None:
        self.closed(self.open(f"unix:{self.folder / 'socket'}"))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_one_that_is_taken_is_refused_with_a_way_out(self) -> None:
        taken = self.open("tcp:0:interface=127.0.0.1").socket.getsockname()[1]
        description = f"tcp:{taken}:interface=127.0.0.1"
        self.assertEqual(
            self.refusal(description),
            f"{description}: Address already in use; stop what listens there, or choose another",
        )

    def ours(self, description: str) -> str:
        """What is said of one that a port of the same server is in the way of."""
        with self.assertRaises(CannotListen) as caught:
            open_port(endpoint_from(self.reactor, description), description, self.ports)
        return str(caught.exception).removeprefix(f"{description}: ")

    def test_one_that_this_server_has_itself_is_said_to_be(self) -> None:
        first = self.open("tcp:0:interface=127.0.0.1")
        self.open(f"unix:{self.folder}/other")
        port = first.socket.getsockname()[1]
        itself = f"this server itself listens there already, at tcp 127.0.0.1:{port}; "
        self.assertEqual(
            self.ours(f"tcp6:{port}"),
            itself + "tcp6: takes IPv4 too, so leave one of them out",
        )
        self.assertEqual(self.ours(f"tcp:{port}"), itself + "leave one of them out")
        path = f"unix:{self.folder}/socket"
        self.open(path)
        self.assertEqual(
            self.ours(path), "this server itself listens there already; leave one of them out"
        )

    def test_one_that_somebody_else_has_is_not_said_to_be_this_servers(self) -> None:
        port = self.open("tcp:0:interface=127.0.0.1").socket.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)):
            self.assertIn("stop what listens", self.ours(f"tcp:{port}:interface=127.0.0.2"))

    def test_an_interface_is_an_address_of_this_machine(self) -> None:
        for description, told in (
            (
                "tcp:0:interface=192.0.2.1",
                "Cannot assign requested address; it takes an interface=",
            ),
            ("tcp:0:interface=no such", "interface cannot be 'no such': "),
            ("tcp:0:interface=a..b", "interface cannot be 'a..b': "),
            ("tcp6:0:interface=127.0.0.1", "interface cannot be '127.0.0.1': "),
        ):
            refusal = self.refusal(description)
            self.assertIn(told, refusal)
            self.assertIn("of this machine", refusal)

    def test_the_backlog_is_the_one_asked_for(self) -> None:
        path = self.folder / "socket"
        self.open(f"unix:{path}:backlog=1")
        with contextlib.ExitStack() as waiting:
            for _ in range(2):
                waiting.enter_context(self.client(path)).connect(str(path))
            with self.assertRaises(BlockingIOError):
                waiting.enter_context(self.client(path)).connect(str(path))

    def test_what_cannot_be_listened_at_an_application_is_told_too(self) -> None:
        for endpoint, told in (
            (TCP4ServerEndpoint(None, 99999), "port must be 0-65535"),
            (TCP4ServerEndpoint(None, 0, 2**31, "127.0.0.1"), "greater than maximum"),
            (UNIXServerEndpoint(None, str(self.folder / "s"), 2**31), "greater than maximum"),
        ):
            before = len(descriptors_before())
            with self.assertRaisesRegex(CannotListen, f"^it: .*{told}"):
                open_port(endpoint, "it")
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_an_abstract_name_can_be_listened_at(self) -> None:
        name = "\0" + os.urandom(16).hex()
        port = open_port(UNIXServerEndpoint(None, name), "it")
        self.ports.append(port)
        self.assertEqual(port.address, f"unix {name.encode()!r}")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(name)

    def test_a_path_that_cannot_be_removed_is_told_and_the_port_is_closed(self) -> None:
        path = self.folder / "socket"
        port = self.open(f"unix:{path}")
        self.ports.remove(port)
        path.unlink()
        self.folder.rename(self.folder.with_suffix(".away"))
        self.folder.touch()
        with self.assertRaises(NotADirectoryError):
            port.close()
        self.assertEqual(port.socket.fileno(), -1)

    def test_what_the_system_does_not_have_is_refused(self) -> None:
        for description in (
            "tcp:0:interface=192.0.2.1",
            "tcp:99999999",
            f"unix:{self.folder}/missing/socket",
            "unix:/" + "x" * 200,
            "tcp:0:interface=127.0.0.1:backlog=99999999999",
            "unix:a\0b",
        ):
            refusal = self.refusal(description)
            self.assertTrue(refusal.startswith(f"{description}: "), refusal)
            self.assertNotIn("\n", refusal)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_path_where_somebody_else_listens_is_refused_and_left_alone(self) -> None:
        path = self.folder / "socket"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            self.refusal(f"unix:{path}")
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
            self.assertEqual(list(self.folder.iterdir()), [path])

    def test_the_same_path_twice_is_refused_and_the_first_is_left_alone(self) -> None:
        path = self.folder / "socket"
        first = self.open(f"unix:{path}")
        self.refusal(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
        self.closed(first)
        self.assertEqual(list(self.folder.iterdir()), [])
