"""Tests for ports: which descriptions are understood, and what opening one does."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    UNIXServerEndpoint,
)

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.processes import descriptors_before
from twisted_fork.entrance.descriptions import described, listed
from twisted_fork.entrance.ports import (
    CannotListen,
    Port,
    endpoint_from,
    open_port,
    require_plain,
)

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

    def test_each_mistake_is_told_with_the_argument_and_what_would_be_right(self) -> None:
        for description, told in (
            ("", "not an endpoint but an empty text; it takes one like tcp:8000, "),
            ("nonsense", "not an endpoint that can be understood; it takes one like tcp:8000, "),
            ("port=8000", "not an endpoint, which begins with its kind; it takes one like "),
            ("tcp", "port is missing; it takes one like tcp:8000"),
            ("tcp6:", "port is missing; it takes one like tcp6:8000"),
            ("tcp:65536", "port cannot be '65536': it takes a whole number from 0 to 65535,"),
            ("tcp:-1", "port cannot be '-1': it takes a whole number from 0 to 65535, as in"),
            ("tcp6:no such", "as in tcp6:8000, or the name of a service"),
            ("tcp:1:bogus=1", "no argument 'bogus'; tcp: takes port, interface, backlog"),
            ("tcp:1:2:3:4", "'4' is too much; tcp: takes port, interface, backlog; a colon in"),
            ("tcp:1:port=2", "port is given twice, as '1' and '2'; tcp: takes"),
            ("tcp:1:\u00e4=2", "has a letter that none has; tcp: takes port,"),
            ("tcp:1\\", "it ends with a lone backslash; tcp: takes port,"),
            ("tcp:1:backlog=x", "backlog cannot be 'x': it takes a whole number from 0 to 2147"),
            ("tcp:1:backlog=99999999999", "backlog cannot be '99999999999': it takes a"),
            ("unix", "address is missing; it takes one like unix:/run/socket"),
            ("unix:/x:mode=888", "mode cannot be '888': it takes an octal number from 0 to 777"),
            ("unix:/x:mode=1000", "mode cannot be '1000': it takes an octal number from 0 to 777"),
            ("unix:/x:lockfile=2", "lockfile cannot be '2': it takes a whole number from 0 to 1"),
            ("systemd:", "domain is missing; it takes one like systemd:domain=INET:index=0"),
            ("systemd:X:index=0", "domain cannot be 'X': it takes INET, INET6 or UNIX"),
            ("systemd:INET", "it takes either an index or a name, as in systemd:domain=INET:"),
            ("systemd:INET:index=0:name=x", "it takes either an index or a name, as in"),
            ("systemd:INET:index=-1", "index cannot be '-1': it takes a whole number from 0 to"),
        ):
            refusal = self.refusal(description)
            self.assertIn(f"{description or repr('')}: ", refusal)
            self.assertIn(told, refusal)

    def test_colons_that_are_not_escaped_are_shown_escaped(self) -> None:
        for mistaken, right in (
            ("tcp6:80:interface=::1", r"tcp6:80:interface=\:\:1"),
            ("tcp6:80:interface=[::1]", r"tcp6:80:interface=\:\:1"),
            (
                "tcp:80:interface=::ffff:1.2.3.4:backlog=5",
                r"tcp:80:interface=\:\:ffff\:1.2.3.4:backlog=5",
            ),
            ("tcp6:80:5:interface=fe80::1%eth0", r"tcp6:80:5:interface=fe80\:\:1%eth0"),
        ):
            self.assertIn(f"have to be escaped; it takes '{right}'", self.refusal(mistaken))
            endpoint_from(self.reactor, right)

    def test_what_is_said_is_what_is_opened(self) -> None:
        self.patch(socket, "getservbyname", lambda name, protocol: {"shop": 80}[name])
        for description, said in (
            ("tcp:80", {"_port": 80, "_interface": "", "_backlog": 2**31 - 1}),
            ("tcp:shop:interface=127.0.0.1:backlog=7", {"_port": 80, "_backlog": 7}),
            ("tcp:81:127.0.0.1:7", {"_port": 81, "_interface": "127.0.0.1", "_backlog": 7}),
            ("tcp6:81", {"_interface": "::"}),
            ("tcp6:81:7:\\:\\:1", {"_interface": "::1", "_backlog": 7}),
            ("unix:/x", {"_address": "/x", "_mode": 0o666, "_wantPID": 1}),
            ("unix:/a\\:b:660:7:0", {"_address": "/a:b", "_mode": 0o660, "_wantPID": 0}),
            ("unix:/x:mode=0640:lockfile=0", {"_mode": 0o640, "_backlog": 2**31 - 1}),
        ):
            found = vars(endpoint_from(self.reactor, description))
            self.assertEqual({name: found[name] for name in said}, said)

    def test_what_to_listen_on_may_be_given_as_one_or_as_several(self) -> None:
        endpoint = endpoint_from(self.reactor, "tcp:80")
        self.assertEqual(listed("tcp:80"), ["tcp:80"])
        self.assertEqual(listed(endpoint), [endpoint])
        several: list[Any] = ["tcp:80", endpoint]
        self.assertEqual(listed(iter(several)), several)

    def test_anything_else_to_listen_on_is_refused_by_its_name(self) -> None:
        wrong: list[Any] = [8000, [], [8000], None, b"tcp:8000", ["tcp:8000", None]]
        for each in wrong:
            with self.assertRaises(CannotListen) as caught:
                listed(each, "listen")
            self.assertEqual(
                str(caught.exception),
                f"listen cannot be {each!r}: it takes a description such as 'tcp:8000',"
                " an endpoint, or a list of such",
            )

    def test_endpoints_of_an_application_are_told_by_what_they_are_for(self) -> None:
        for endpoint, name in (
            (TCP4ServerEndpoint(None, 99), "TCP4ServerEndpoint of 99"),
            (UNIXServerEndpoint(None, "/x"), "UNIXServerEndpoint of '/x'"),
            (AdoptedStreamServerEndpoint(None, 3, socket.AF_INET), "AdoptedStreamServerEndpoint"),
            ("tcp:8000", "tcp:8000"),
        ):
            self.assertTrue(described(endpoint).startswith(name), name)

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
