"""
Names that peers give themselves: whatever is in them, they are served, and the log and what
handlers are told stay what they are.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import pytest

from tests.integration.peers.clients import ask, connect, read_to_end
from tests.integration.servers.harness import LOOPBACK, Server
from tests.integration.servers.processes import DEADLINE
from tests.integration.servers.serving import Serve, ask_json, python_program

from .test_proxy_protocol import behind, v2

TELL = python_program("print(json.dumps(dict(os.environ)))")

NAMES = [
    (b"\0a\0b", "@a\\x00b"),
    (b"\0\xff\xfe name=value\n", "@\udcff\udcfe name=value\n"),
    (b"\0" + b"x" * 107, "@" + "x" * 107),
]
"""Abstract names, and what programs are told."""


def say(server: Server, name: bytes) -> bytes:
    """Connect from *name*, and read what is answered."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.bind(name)
        peer.settimeout(DEADLINE)
        peer.connect(str(server.folder / "socket"))
        peer.shutdown(socket.SHUT_WR)
        return read_to_end(peer)


def unix_header(path: bytes, local: bytes = b"/run/proxy.sock") -> bytes:
    """A PROXY header about a peer of a Unix socket."""
    return v2(struct.pack("!108s108s", path, local), family=0x31)


def program_server(chdir: bool, *options: str) -> dict[str, Any]:
    """What makes a server execute a program itself; or with a template, if it has to change
    the folder before."""
    if not chdir:
        return {"more_options": options}
    return {"more_options": [*options, "--chdir=/"], "launcher": "fork", "spares": 0}


def three_ends(serve: Serve, chdir: bool) -> Server:
    """A server of programs, on a Unix socket, an IPv4 port, and one of both kinds."""
    listen = ["unix:socket", LOOPBACK, r"tcp6:0:interface=\:\:"]
    return serve.shared(program=TELL, listen=listen, **program_server(chdir))


def port(server: Server, index: int) -> int:
    """That of its endpoint with this index."""
    return int(server.addresses[index].rpartition(":")[2])


@pytest.mark.parametrize("chdir", [False, True], ids=["direct", "by a template"])
def test_a_program_serves_peers_whatever_their_abstract_names_are(
    serve: Serve, chdir: bool
) -> None:
    server = three_ends(serve, chdir)
    for name, told in NAMES:
        assert json.loads(say(server, name))["UNIXREMOTEPATH"] == told
        assert ask_json(("127.0.0.1", port(server, 1)))["PROTO"] == "TCP"


def test_a_handler_is_told_an_abstract_name_as_accept_gives_it(serve: Serve) -> None:
    server = serve(handler="plain:who_in_repr", listen=["unix:socket"])
    for name, _ in NAMES:
        assert say(server, name).decode() == ascii(name)


@pytest.mark.parametrize("chdir", [False, True], ids=["direct", "by a template"])
def test_a_program_serves_peers_of_a_proxys_unix_socket_whatever_they_are_called(
    serve: Serve, chdir: bool
) -> None:
    server = serve(program=TELL, **program_server(chdir, "--proxy-protocol"))
    for path, told in [
        *NAMES,
        (b"/run/a.sock", "/run/a.sock"),
        (b"/run/a\0b", "/run/a"),
        (b"/run/\xff\n", "/run/\udcff\n"),
    ]:
        found = json.loads(ask(server.address, unix_header(path)))
        assert (found["PROTO"], found["UNIXREMOTEPATH"]) == ("UNIX", told)
        assert found["UNIXLOCALPATH"] == "/run/proxy.sock"


def test_the_log_shows_the_name_that_a_proxy_tells_with_nothing_that_could_be_a_line(
    serve: Serve,
) -> None:
    server = behind(serve, "plain:upper")
    for path, shown in [
        (b"/run/a.sock", r"unix:/run/a\.sock"),
        (b"\0a\0b", r"unix:@a\\x00b"),
        (b"/a pid=1\nforged peer=b", r"unix:/a\\x20pid=1\\nforged\\x20peer=b"),
    ]:
        assert ask(server.address, unix_header(path) + b"x") == b"X"
        server.wait_for(rf"handed over peer={shown} pid=\d+\n")
        server.wait_for(rf"child ended peer={shown} pid=\d+ exit=0")


def test_each_name_that_a_proxy_tells_is_a_source_and_peers_without_one_are_the_proxys(
    serve: Serve,
) -> None:
    server = serve("--proxy-protocol", "--max-per-source=1", handler="plain:upper")
    with server.connect() as first:
        first.sendall(unix_header(b"/run/a") + b"x")
        assert first.recv(1) == b"X"
        assert ask(server.address, unix_header(b"/run/b") + b"x") == b"X"
        assert ask(server.address, unix_header(b"/run/a")) == b""
        server.wait_for("connection refused peer=unix:/run/a reason='has 1 connections'")
        with server.connect() as unnamed:
            unnamed.sendall(unix_header(b"") + b"x")
            assert unnamed.recv(1) == b"X"
            server.wait_for("handed over PEER pid", of=unnamed)


@pytest.mark.parametrize("kind", ["program", "by a template", "plain:who", "requests_of:Who"])
def test_an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer_everywhere(serve: Serve, kind: str) -> None:
    if ":" in kind:
        server = serve(handler=kind, listen=[r"tcp6:0:interface=\:\:"])
    else:
        server = three_ends(serve, kind == "by a template")
    local = port(server, -1)
    with connect(("127.0.0.1", local)) as peer:
        ours = peer.getsockname()
        peer.shutdown(socket.SHUT_WR)
        told = json.loads(read_to_end(peer))
    server.wait_for("handed over PEER pid", of=peer)
    if ":" in kind:
        assert told["peer"] == list(ours)
        assert told["info_local" if "plain" in kind else "local"] == ["127.0.0.1", local]
    else:
        assert (told["TCPREMOTEIP"], told["TCPREMOTEPORT"]) == ("127.0.0.1", str(ours[1]))
        assert (told["TCPLOCALIP"], told["REMOTE_ADDR"]) == ("127.0.0.1", "127.0.0.1")
