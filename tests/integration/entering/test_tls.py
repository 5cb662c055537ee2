"""
TLS that ends in the child: every kind of handler can do it, with any client.
"""

from __future__ import annotations

import os
import random
import select
import signal
import ssl
import subprocess

import pytest

from tests.integration.peers.certificates import Authority, secured
from tests.integration.peers.clients import inode_of_servers_end, read, read_to_end
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import DEADLINE, children, descriptors, state, wait_until
from tests.integration.servers.serving import Serve, need

KINDS = ["plain:upper", "requests_of:UpperBytes", "coroutines:upper", "protocols:Upper", "program"]
"""One of each kind that uppercases; a program can only be asked to with letters in upper case."""

MUCH = random.Random(2967).randbytes(5 * 1024 * 1024).upper()
"""5 MiB that uppercasing leaves as they are."""


def serve_kind(serve: Serve, authority: Authority, kind: str, launcher: str = "fork") -> Server:
    """A server with a handler of that kind."""
    given = authority.options()
    if kind == "program":
        return serve.shared(*given, program=["cat"], launcher=launcher)
    return serve.shared(*given, handler=kind, launcher=launcher)


def serve_obedient(serve: Serve, authority: Authority, kind: str) -> Server:
    """A server whose handlers end as they are told in a line, handlers of ours or shells."""
    if kind == "program":
        program = ["sh", "-c", 'read -r line; eval "$line"']
        return serve.shared(*authority.options(), program=program, launcher="fork")
    return serve.shared(*authority.options(), handler="failing:obeys")


def exchange(connection: ssl.SSLSocket, data: bytes) -> bytes:
    """Send, and read as much meanwhile; from one thread, since an SSLSocket takes no more."""
    answer = bytearray()
    left = memoryview(data)
    connection.setblocking(False)
    poll = select.poll()
    poll.register(connection)
    while len(answer) < len(data):
        moved = False
        try:
            piece = connection.recv(256 * 1024)
            assert piece, f"an end after {len(answer)} bytes"
            answer += piece
            moved = True
        except ssl.SSLWantReadError:
            pass
        try:
            left = left[connection.send(left[: 64 * 1024]) if left else 0 :]
        except ssl.SSLWantWriteError:
            pass
        if not moved:
            poll.modify(connection, select.POLLIN | (select.POLLOUT if left else 0))
            assert poll.poll(DEADLINE * 1000), f"{len(left)} to send, {len(answer)} read"
    connection.settimeout(DEADLINE)
    return bytes(answer)


@pytest.mark.parametrize("kind", KINDS)
def test_pythons_client_talks_with_every_kind_of_handler(
    serve: Serve, authority: Authority, launcher: str, kind: str
) -> None:
    server = serve_kind(serve, authority, kind, launcher=launcher)
    with secured(server.address, authority.context()) as connection:
        for word in (b"ONE", b"TWO WORDS\n", b"X" * 100_000):
            connection.sendall(word)
            assert read(connection, len(word)) == word
        assert connection.version() == "TLSv1.3"
        # both say that it is over: close_notify is answered with close_notify
        connection.unwrap()
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")


@pytest.mark.parametrize("kind", ["plain:upper", "program"])
def test_openssls_client_talks_with_a_handler(
    serve: Serve, authority: Authority, kind: str
) -> None:
    server = serve_kind(serve, authority, kind)
    host, port = server.address
    client = subprocess.Popen(
        [
            *(need("openssl"), "s_client", "-connect", f"{host}:{port}", "-quiet", "-no_ign_eof"),
            *("-CAfile", str(authority.certificate), "-verify_return_error"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"HELLO\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"HELLO\n"
        _, stderr = client.communicate(timeout=DEADLINE)
    assert client.returncode == 0, stderr
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")


def test_the_echo_is_served_over_tls(serve: Serve, authority: Authority) -> None:
    server = serve(*authority.options())
    with secured(server.address, authority.context()) as connection:
        connection.sendall(b"hello\n")
        assert read(connection, 6) == b"HELLO\n"
        connection.sendall(b"quit\n")
        # the server says that this is the end, and does not only hang up
        assert connection.recv(1) == b""
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")


@pytest.mark.parametrize("kind", ["plain:upper", "coroutines:upper", "program"])
def test_much_is_sent_both_ways_at_once(serve: Serve, authority: Authority, kind: str) -> None:
    server = serve_kind(serve, authority, kind)
    with secured(server.address, authority.context()) as connection:
        assert exchange(connection, MUCH) == MUCH
        connection.unwrap()


@pytest.mark.parametrize("kind", ["handler", "program"])
def test_an_answer_that_ends_the_connection_arrives_in_full(
    serve: Serve, authority: Authority, kind: str
) -> None:
    if kind == "program":
        server = serve_obedient(serve, authority, "program")
    else:
        server = serve(*authority.options(), handler="secure:zeros")
    with secured(server.address, authority.context()) as connection:
        if kind == "program":
            connection.sendall(b"exec head -c %d /dev/zero\n" % len(MUCH))
        assert read_to_end(connection) == bytes(len(MUCH))


@pytest.mark.parametrize("kind", ["plain:upper", "program"])
def test_a_peer_that_vanishes_ends_its_child(serve: Serve, authority: Authority, kind: str) -> None:
    server = serve_kind(serve, authority, kind)
    with secured(server.address, authority.context()) as connection:
        connection.sendall(b"HELLO")
        assert read(connection, 5) == b"HELLO"
        pid = server.child_of(connection)
    server.expects_traceback = True
    server.wait_for(rf"child ended peer=\S+ pid={pid} ")


@pytest.mark.parametrize(
    ("kind", "order", "ending"),
    [
        ("handler", "exits", "exit=3"),
        ("handler", "crashes", "signal=SIGSEGV"),
        ("handler", "raises", "exit=1"),
        ("program", "exit 3", "exit=3"),
        ("program", "kill -KILL $$", "signal=SIGKILL"),
        ("coroutine", "", "exit=1"),
    ],
)
def test_a_handler_that_fails_over_tls_is_told_so(
    serve: Serve, authority: Authority, kind: str, order: str, ending: str
) -> None:
    if kind == "coroutine":
        server = serve(*authority.options(), handler="coroutines:raises")
    else:
        server = serve_obedient(serve, authority, kind)
    server.expects_traceback = True
    with secured(server.address, authority.context()) as connection:
        pid = server.child_of(connection)
        try:
            connection.sendall(order.encode() + b"\n")
            assert read_to_end(connection) == b""
        except OSError:
            assert "signal" in ending
    server.wait_for(rf"child ended peer=\S+ pid={pid} {ending}\b")


@pytest.mark.parametrize("kind", ["coroutines:upper", "protocols:Upper", "program"])
def test_where_the_child_pumps_the_handlers_process_does_not_hold_the_peers_connection(
    serve: Serve, authority: Authority, kind: str
) -> None:
    server = serve_kind(serve, authority, kind)
    with secured(server.address, authority.context()) as connection:
        connection.sendall(b"HELLO")
        assert read(connection, 5) == b"HELLO"
        pid = server.child_of(connection)
        (pumped,) = children(pid)
        peers = inode_of_servers_end(connection)
        assert peers in descriptors(pid).values()
        assert peers not in descriptors(pumped).values()
        connection.unwrap()


def test_nobody_is_left_of_a_program_that_does_not_end_at_shutdown(
    serve: Serve, authority: Authority
) -> None:
    """It is the child of a child, and does not read what would tell it of the end."""
    before = children(os.getpid())
    given = authority.options("--grace=0.1")
    server = serve(*given, program=["sleep", "600"], launcher="fork")
    with secured(server.address, authority.context()) as connection:
        server.child_of(connection)
        server.kill()
        try:
            read_to_end(connection)
        except OSError:
            pass
    server.wait_until_over()
    # it has been killed, and belongs to us, having lost its parent: see conftest.py
    orphans = children(os.getpid()) - before
    wait_until(lambda: {*map(state, orphans)} <= {"Z"}, "the program's end")
    for orphan in orphans:
        assert os.waitpid(orphan, 0)[1] in (signal.SIGTERM, signal.SIGKILL)
