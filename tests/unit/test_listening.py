"""Tests for ports: which descriptions are understood, and what opening one does."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import AdoptedStreamServerEndpoint

from twisted_fork.listening import (
    CannotListen,
    Port,
    endpoint_from,
    open_port,
    require_plain,
)

from .cases import Case
from .fakes import FakeReactor

kinds = st.sampled_from(
    ["tcp", "tcp6", "unix", "systemd", "ssl", "tls", "haproxy", "stdio", "fd", "", "x"]
)
parts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            *("8000", "-1", "99999999", "interface=127.0.0.1", "interface=", "backlog=5"),
            *("mode=660", "mode=abc", "domain=INET", "domain=X", "index=0", "index=-1"),
            *("index=99", "name=x", "lockfile=0", "\\", "a\\:b", "=", "tcp", "privateKey=/x"),
        ]
    ),
)
descriptions = st.builds(
    lambda kind, rest: ":".join([kind, *rest]), kinds, st.lists(parts, max_size=4)
)


class EndpointTests(Case):
    """A description becomes an endpoint, or is refused in one line."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            self.patch(os, "environ", {k: v for k, v in os.environ.items() if k != name})

    def refusal(self, description: str) -> str:
        with self.assertRaises(CannotListen) as caught:
            endpoint_from(self.reactor, description)
        return str(caught.exception)

    def test_plain_sockets_are_understood(self) -> None:
        for description in [
            *("tcp:8000", "tcp:0:interface=127.0.0.1", "tcp:8000:127.0.0.1", "tcp6:8000"),
            *("unix:/run/x", "unix:/run/x:mode=660", "unix:address=/run/x", "tcp:80:backlog=5"),
            *("tcp:8000:127.0.0.1:5", "unix:/run/x:660:5"),
        ]:
            endpoint_from(self.reactor, description)

    def test_what_would_have_to_be_read_here_is_refused(self) -> None:
        for description in ("haproxy:tcp:8000", "stdio:", "haproxy:unix:/run/x"):
            refusal = self.refusal(description)
            self.assertTrue(refusal.startswith(f"{description}: "), refusal)
            self.assertIn("it takes tcp:, tcp6:, unix: or systemd:", refusal)

    def test_tls_is_refused_whether_or_not_it_could_be_had(self) -> None:
        for kind in ("ssl", "tls"):
            self.assertIn(f"{kind}:443", self.refusal(f"{kind}:443"))

    def test_a_mistake_is_shown_with_what_would_do(self) -> None:
        for description in (
            "tcp",
            "tcp:http!",
            "tcp:8000:x=1",
            "nonsense",
            "8000",
            "",
            "unix:x:y:z:u",
            "interface=:ssl:8000",
            "s\\sl:8000",
        ):
            refusal = self.refusal(description)
            self.assertTrue(refusal.startswith(f"{description or repr('')}: "), refusal)
            self.assertRegex(refusal, "it takes|takes port, interface, backlog")

    def test_a_socket_that_was_not_inherited_is_named_as_missing(self) -> None:
        for description in ("systemd:domain=INET:index=0", "systemd:domain=INET:name=web"):
            self.assertIn("no inherited socket", self.refusal(description))

    @given(descriptions)
    def test_any_description_is_understood_or_refused(self, description: str) -> None:
        try:
            endpoint_from(self.reactor, description)
        except CannotListen as why:
            self.assertTrue(str(why).startswith(description or "''"), str(why))
            self.assertNotIn("_parse", str(why))
            self.assertRegex(str(why), "takes|inherited")

    @given(st.text())
    def test_any_text_is_understood_or_refused(self, description: str) -> None:
        try:
            endpoint_from(self.reactor, description)
        except CannotListen:
            pass

    def test_an_endpoint_of_an_application_has_to_be_plain_too(self) -> None:
        require_plain(endpoint_from(self.reactor, "tcp:8000"), "an endpoint")
        with self.assertRaises(CannotListen):
            require_plain(object(), "an object")  # type: ignore[arg-type]


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
        before = len(os.listdir("/proc/self/fd"))
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
