"""Tests for what --listen takes, and what is said of the rest."""

from __future__ import annotations

import os
import socket
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
from twisted_fork.entrance.descriptions import (
    CannotListen,
    described,
    endpoint_from,
    listed,
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
