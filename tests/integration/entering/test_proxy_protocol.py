"""
Behind a proxy that tells in a PROXY header who the peer really is: whatever the header's
version and however it comes, the real peer is the peer everywhere, and not a byte of what
follows the header is lost.
"""

from __future__ import annotations

import json
import socket
import struct
from contextlib import suppress

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.peers.clients import Address, ask, connect, read_to_end
from tests.integration.servers.harness import LOOPBACK, Server
from tests.integration.servers.serving import Serve, python_program

V1 = b"PROXY TCP4 198.51.100.7 203.0.113.9 4711 443\r\n"

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(
    addresses: bytes, *tlvs: tuple[int, bytes], command: int = 0x21, family: int = 0x11
) -> bytes:
    """A header of version 2."""
    rest = addresses + b"".join(struct.pack("!BH", kind, len(v)) + v for kind, v in tlvs)
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def _ipv4() -> bytes:
    ends = (socket.inet_aton("198.51.100.7"), socket.inet_aton("203.0.113.9"))
    return struct.pack("!4s4sHH", *ends, 4711, 443)


def _ipv6() -> bytes:
    ends = (socket.inet_pton(socket.AF_INET6, each) for each in ("2001:db8::7", "2001:db8::9"))
    return struct.pack("!16s16sHH", *ends, 4711, 443)


V2 = v2(_ipv4())
V2_IPV6 = v2(_ipv6(), family=0x21)

TOLD = {
    "1": (V1, "198.51.100.7"),
    "1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::9 4711 443\r\n", "2001:db8::7"),
    "2": (V2, "198.51.100.7"),
    "2, IPv6": (V2_IPV6, "2001:db8::7"),
}
"""Headers, and the peers that they tell of."""

LOCAL = {"198.51.100.7": "203.0.113.9", "2001:db8::7": "2001:db8::9"}
"""What those peers connected to."""

SILENT = {
    "1, UNKNOWN": b"PROXY UNKNOWN\r\n",
    "1, UNKNOWN with addresses": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    "2, LOCAL": v2(b"", command=0x20, family=0x00),
    "2, LOCAL with addresses": v2(_ipv4(), command=0x20),
}
"""Headers for connections of the proxy's own."""

BAD = [
    (b"GET / HTTP/1.0\r\n\r\n", "bad PROXY header: it does not begin with a PROXY header"),
    (b"PROXY TCP4 1.2.3.4\r\n", "bad PROXY header: "),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", "bad PROXY header: "),
    (b"PROXY TCP9 1.2.3.4 1.2.3.4 1 2\r\n", "bad PROXY header: "),
    (b"PROXY " + b"x" * 101, "bad PROXY header: no end of line within 107 bytes"),
    (v2(b"short"), "bad PROXY header: "),
    (v2(_ipv4(), command=0x31), "bad PROXY header: "),
    (b"", "closed before its PROXY header"),
    (V1[:-1], "closed before its PROXY header"),
    (V2[:-1], "closed before its PROXY header"),
]
"""What is no header, and what is said of it."""


def all_of(address: Address, *pieces: bytes) -> bytes:
    """What is answered to pieces that come one by one."""
    with connect(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return read_to_end(connection)


def behind(serve: Serve, handler: str, launcher: str = "fork") -> Server:
    """A server behind a proxy."""
    listen = [LOOPBACK, "unix:socket"]
    return serve.shared("--proxy-protocol", handler=handler, launcher=launcher, listen=listen)


def in_log(host: str) -> str:
    """A peer, as the log shows it."""
    return rf"\[{host}\]:4711" if ":" in host else f"{host}:4711"


def test_the_real_peer_is_the_peer_everywhere(serve: Serve, launcher: str) -> None:
    server = behind(serve, "plain:who", launcher)
    for header, host in TOLD.values():
        told = json.loads(ask(server.address, header))
        assert told["peer"] == told["info_peer"]
        assert told["peer"][:2] == [host, 4711]
        assert told["info_local"][:2] == [LOCAL[host], 443]
        assert told["getpeername"][0] == "127.0.0.1"
        assert told["extras"] == {}
        server.wait_for(rf"handed over peer={in_log(host)} pid={told['pid']}\n")
        server.wait_for(rf"child ended peer={in_log(host)} pid={told['pid']} exit=0")


@pytest.mark.parametrize("handler", ["requests_of:Who", "coroutines:who", "protocols:who"])
def test_every_kind_of_handler_knows_the_real_peer(serve: Serve, handler: str) -> None:
    server = behind(serve, handler)
    for header, host in TOLD.values():
        told = json.loads(all_of(server.address, header))
        assert told["peer"][:2] == [host, 4711]
        if handler == "protocols:who":
            assert told["built_for"] == [host, 4711]
            assert told["kind"] == ("IPv6Address" if ":" in host else "IPv4Address")


def test_a_program_is_told_the_real_peer(serve: Serve) -> None:
    tell = python_program("print(json.dumps(dict(os.environ)))")
    server = serve("--proxy-protocol", program=tell)
    for header, host in TOLD.values():
        told = json.loads(ask(server.address, header))
        assert (told["PROTO"], told["TCPREMOTEIP"], told["TCPREMOTEPORT"]) == ("TCP", host, "4711")
        assert (told["REMOTE_ADDR"], told["REMOTE_PORT"]) == (host, "4711")
        assert told["TCPLOCALPORT"] == "443"


@pytest.mark.parametrize("header", [V1, V2, V2_IPV6], ids=["1", "2", "2, IPv6"])
def test_a_header_may_come_byte_by_byte(serve: Serve, header: bytes) -> None:
    server = behind(serve, "plain:upper")
    pieces = [header[i : i + 1] for i in range(len(header))]
    assert all_of(server.address, *pieces, b"pay", b"load") == b"PAYLOAD"
    server.wait_for(r"handed over peer=(?:198\.51\.100\.7|\[2001:db8::7\]):4711")


def test_not_a_byte_is_lost_that_comes_with_the_header(serve: Serve) -> None:
    server = behind(serve, "plain:upper")
    payload = b"x\r\ny" * 50_000
    for header in (V1, V2, *SILENT.values()):
        assert all_of(server.address, header + payload) == payload.upper()
        # one that looks like another header is the handler's
        assert all_of(server.address, header + V1) == V1.upper()
        assert all_of(server.address, header[:-1], header[-1:] + V2 + b"!") == V2.upper() + b"!"


def test_what_a_header_tells_besides_is_for_the_handler(serve: Serve) -> None:
    server = behind(serve, "plain:who")
    header = v2(_ipv4(), (0x02, b"www.example.org"), (0x05, b"\0\1"), (0xE0, b""), (0xEE, b"mine"))
    told = json.loads(ask(server.address, header))
    assert told["extras"] == {
        "2": b"www.example.org".hex(),
        "5": "0001",
        "224": "",
        "238": b"mine".hex(),
    }


@pytest.mark.parametrize("name", SILENT)
def test_a_connection_of_the_proxys_own_has_the_proxy_as_its_peer(serve: Serve, name: str) -> None:
    server = behind(serve, "plain:who")
    told = json.loads(ask(server.address, SILENT[name]))
    assert told["peer"] == told["getpeername"]
    assert tuple(told["info_local"]) == server.address


def test_a_connection_without_a_good_header_is_closed_and_told(serve: Serve) -> None:
    server = behind(serve, "plain:upper")
    for number, (sent, told) in enumerate(BAD, 1):
        # from an address of its own, since refusals of one source share a line
        with server.connect(f"127.0.0.{number}") as connection:
            connection.sendall(sent)
            # it may have been refused, and reset, by now
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            try:
                assert read_to_end(connection) == b""
            except ConnectionResetError:
                pass
        server.wait_for(rf"connection refused PEER reason=[\"']{told}", of=connection)
    assert ask(server.address, V1 + b"hello") == b"HELLO"


def test_who_sends_no_header_in_time_is_closed_and_others_are_served_meanwhile(
    serve: Serve,
) -> None:
    options = ["--proxy-protocol", "--handshake-timeout=1000"]
    server = serve(*options, handler="plain:upper", steered=True)
    with server.connect() as silent, server.connect() as slow:
        slow.sendall(V1[:10])
        # whoever came first has been accepted first
        assert ask(server.address, V1 + b"hello") == b"HELLO"
        # a template that takes so long to make the next spare would be killed
        server.wait_until_idle()
        server.advance(500)
        assert ask(server.address, V1 + b"hello") == b"HELLO"
        assert "connection refused" not in server.log()
        server.wait_until_idle()
        server.advance(500)
        assert read_to_end(silent) == b""
        assert read_to_end(slow) == b""
        # refusals of the same source within a second share a line
        server.wait_for("connection refused peer=.* reason='no PROXY header in time'")


def test_those_whose_header_is_awaited_count(serve: Serve) -> None:
    server = serve("--proxy-protocol", "-c1", handler="plain:upper")
    with server.connect() as first, server.connect() as second:
        second.sendall(V2 + b"second")
        first.sendall(V1 + b"first")
        first.shutdown(socket.SHUT_WR)
        assert read_to_end(first) == b"FIRST"
        second.shutdown(socket.SHUT_WR)
        assert read_to_end(second) == b"SECOND"
    server.wait_for("child ended", 2)
    events = server.find("(handed over|child ended)")
    assert events == [("handed over",), ("child ended",)] * 2


def test_at_shutdown_those_are_refused_whose_header_is_awaited(serve: Serve) -> None:
    server = serve("--proxy-protocol", handler="plain:upper")
    with server.connect() as waiting, server.connect() as served:
        waiting.sendall(V1[:10])
        served.sendall(V1)
        # whoever came first has been accepted first
        server.wait_for("handed over")
        server.kill()
        assert read_to_end(waiting) == b""
    server.wait_until_over()
    assert server.find("connection refused peer=.* reason='shutting down'")


def trusting(serve: Serve) -> Server:
    """A server that takes a header from some peers only."""
    networks = ("192.0.2.0/24", "127.0.0.1/32", "::1")
    options = [f"--proxy-from={network}" for network in networks]
    return serve.shared("--proxy-protocol", *options, handler="plain:upper")


def test_only_trusted_peers_may_send_a_header(serve: Serve) -> None:
    server = trusting(serve)
    with server.connect("127.0.0.2") as connection:
        try:
            connection.sendall(V1)
            assert read_to_end(connection) == b""
        except OSError:
            pass
    told = r"reason='not allowed to send a PROXY header, see --proxy-from'"
    server.wait_for(f"connection refused PEER {told}", of=connection)


def test_several_networks_may_be_trusted(serve: Serve) -> None:
    assert ask(trusting(serve).address, V1 + b"hello") == b"HELLO"


def test_peers_of_unix_sockets_are_trusted(serve: Serve) -> None:
    server = behind(serve, "plain:upper")
    assert ask(str(server.folder / "socket"), V2 + b"hello") == b"HELLO"
    server.wait_for(r"handed over peer=198\.51\.100\.7:4711")


def test_tls_begins_after_the_header(serve: Serve, authority: Authority) -> None:
    server = serve(*authority.options("--proxy-protocol"), handler="secure:session")
    with server.connect() as plain:
        plain.sendall(V2)
        with authority.context().wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"?")
            assert json.loads(read_to_end(connection))["peer"] == ["198.51.100.7", 4711]
