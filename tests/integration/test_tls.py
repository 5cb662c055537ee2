"""
TLS that ends in the child: every kind of handler can do it, with any client, and a peer that
is slow to shake hands keeps nobody else waiting.
"""

from __future__ import annotations

import json
import random
import select
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .certificates import Authority
from .clients import Address, connect, read, read_to_end
from .harness import Server
from .processes import DEADLINE
from .serving import Serve, forkserve, forkserve_program, need

KINDS = ["plain:upper", "requests_of:UpperBytes", "coroutines:upper", "protocols:Upper", "program"]
"""One of each kind that uppercases; a program can only be asked to with letters in upper case."""

MUCH = random.Random(2967).randbytes(5 * 1024 * 1024).upper()
"""5 MiB that uppercasing leaves as they are."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def options(authority: Authority, *more: str) -> list[str]:
    """The server's options."""
    return [f"--tls-certificate={authority.server}", f"--tls-key={authority.server_key}", *more]


def serve_kind(
    serve: Serve, authority: Authority, kind: str, *more: str, launcher: str = "fork"
) -> Server:
    """A server with a handler of that kind."""
    given = options(authority, *more)
    if kind == "program":
        return forkserve_program(serve, "cat", options=given, launcher=launcher)
    return forkserve(serve, kind, *given, launcher=launcher)


def client_context(authority: Authority) -> ssl.SSLContext:
    """A client's that checks the server's certificate, as it should."""
    return ssl.create_default_context(cafile=str(authority.certificate))


@contextmanager
def secured(
    address: Address, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    """A connection that has shaken hands; its end has to be said by both sides."""
    with (
        connect(address) as plain,
        context.wrap_socket(
            plain, server_hostname="127.0.0.1", session=session, suppress_ragged_eofs=False
        ) as connection,
    ):
        yield connection


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
            answer += connection.recv(256 * 1024)
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
    with secured(server.address, client_context(authority)) as connection:
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
        [need("openssl"), "s_client", "-connect", f"{host}:{port}", "-quiet", "-no_ign_eof"]
        + ["-CAfile", str(authority.certificate), "-verify_return_error"],
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
    server = serve(*options(authority))
    with secured(server.address, client_context(authority)) as connection:
        connection.sendall(b"hello\n")
        assert read(connection, 6) == b"HELLO\n"
        connection.sendall(b"quit\n")
        # the server says that this is the end, and does not only hang up
        assert connection.recv(1) == b""
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")


@pytest.mark.parametrize("kind", ["plain:upper", "coroutines:upper", "program"])
def test_much_is_sent_both_ways_at_once(serve: Serve, authority: Authority, kind: str) -> None:
    server = serve_kind(serve, authority, kind)
    with secured(server.address, client_context(authority)) as connection:
        assert exchange(connection, MUCH) == MUCH
        connection.unwrap()


@pytest.mark.parametrize("kind", ["handler", "program"])
def test_an_answer_that_ends_the_connection_arrives_in_full(
    serve: Serve, authority: Authority, kind: str
) -> None:
    if kind == "program":
        program = ["head", "-c", str(len(MUCH)), "/dev/zero"]
        server = forkserve_program(serve, *program, options=options(authority), launcher="fork")
    else:
        server = forkserve(serve, "secure:zeros", *options(authority))
    with secured(server.address, client_context(authority)) as connection:
        assert read_to_end(connection) == bytes(len(MUCH))


@pytest.mark.parametrize("kind", ["plain:upper", "program"])
def test_a_peer_that_vanishes_ends_its_child(
    serve: Serve, authority: Authority, kind: str
) -> None:
    server = serve_kind(serve, authority, kind)
    with secured(server.address, client_context(authority)) as connection:
        connection.sendall(b"HELLO")
        assert read(connection, 5) == b"HELLO"
        pid = server.child_of(connection)
    server.expects_traceback = True
    server.wait_for(rf"child ended peer=\S+ pid={pid} ")


@pytest.mark.parametrize(
    ("handler", "ending"),
    [
        ("exits", "exit=3"),
        ("crashes", "signal=SIGSEGV"),
        ("raises", "exit=1"),
        ("program", "exit=3"),
        ("killed program", "signal=SIGKILL"),
        ("coroutine", "exit=1"),
    ],
)
def test_a_handler_that_fails_over_tls_is_told_so(
    serve: Serve, authority: Authority, handler: str, ending: str
) -> None:
    given = options(authority)
    if "program" in handler:
        program = ["sh", "-c", "exit 3" if handler == "program" else "kill -KILL $$"]
        server = forkserve_program(serve, *program, options=given, launcher="fork")
    else:
        name = "coroutines:raises" if handler == "coroutine" else f"failing:{handler}"
        server = forkserve(serve, name, *given)
    server.expects_traceback = True
    with secured(server.address, client_context(authority)) as connection:
        pid = server.child_of(connection)
        try:
            connection.sendall(b"\n")
            assert read_to_end(connection) == b""
        except OSError:
            assert "signal" in ending
    server.wait_for(rf"child ended peer=\S+ pid={pid} {ending}")


# Who is let in


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_refused_and_1_2_is_not(serve: Serve, authority: Authority) -> None:
    server = forkserve(serve, "plain:upper", *options(authority))
    context = client_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured(server.address, context) as connection:
        assert connection.version() == "TLSv1.2"
        connection.unwrap()
    context = client_context(authority)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)version"), secured(server.address, context):
        pass
    server.wait_for(r"child wrote pid=\d+: TLS handshake failed: .*(?i:version|protocol)")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=1")


def test_a_client_with_a_certificate_is_let_in(serve: Serve, authority: Authority) -> None:
    server = forkserve(
        serve, "secure:session", *options(authority, f"--tls-client-ca={authority.certificate}")
    )
    context = client_context(authority)
    context.load_cert_chain(authority.client)
    with secured(server.address, context) as connection:
        connection.sendall(b"?")
        told = json.loads(read_to_end(connection))
    assert ["commonName", "alice"] in [pair for group in told["certificate"]["subject"] for pair in group]


@pytest.mark.parametrize("stranger", [False, True])
def test_a_client_without_such_a_certificate_is_not(
    serve: Serve, authority: Authority, tmp_path: Any, stranger: bool
) -> None:
    server = forkserve(
        serve, "secure:session", *options(authority, f"--tls-client-ca={authority.certificate}")
    )
    context = client_context(authority)
    if stranger:
        context.load_cert_chain(Authority(tmp_path, "another").client)
    # with TLS 1.3 the client is done before the server has looked at its certificate
    with pytest.raises(OSError), secured(server.address, context) as connection:
        connection.sendall(b"?")
        assert read_to_end(connection) == b""
        raise ConnectionResetError
    server.wait_for(r"child wrote pid=\d+: TLS handshake failed: .*(?i:certificate|reset)")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=1")
    assert "Traceback" not in server.log()


# Who is slow


def test_a_stalled_handshake_costs_one_child_for_so_long(
    serve: Serve, authority: Authority
) -> None:
    server = forkserve(serve, "plain:upper", *options(authority, "--handshake-timeout=2"))
    with connect(server.address) as stalled:
        stalled.sendall(b"\x16\x03\x01")
        pid = server.child_of(stalled)
        with secured(server.address, client_context(authority)) as connection:
            connection.sendall(b"hello")
            assert read(connection, 5) == b"HELLO"
            connection.unwrap()
        assert f"pid={pid} exit" not in server.log()
        # its last words need not be an alert
        try:
            read_to_end(stalled)
        except ConnectionResetError:
            pass
        server.wait_for(
            rf"child wrote pid={pid}: TLS handshake failed: the TLS handshake took too long"
        )
        server.wait_for(rf"child ended peer=\S+ pid={pid} exit=1")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.0\r\n\r\n"])
def test_who_does_not_speak_tls_is_told_in_one_line(
    serve: Serve, authority: Authority, said: bytes
) -> None:
    server = forkserve(serve, "plain:upper", *options(authority))
    with connect(server.address) as connection:
        pid = server.child_of(connection)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        try:
            read_to_end(connection)
        except ConnectionResetError:
            pass
    server.wait_for(rf"child ended peer=\S+ pid={pid} exit=1")
    assert len(server.find(rf"child wrote pid={pid}: TLS handshake failed: ")) == 1
    assert len(server.find(rf"child wrote pid={pid}: ")) == 1


# Who comes again


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_with_another_child(
    serve: Serve, authority: Authority, version: ssl.TLSVersion
) -> None:
    server = forkserve(serve, "secure:session", *options(authority))
    context = client_context(authority)
    context.minimum_version = context.maximum_version = version
    session, told = None, []
    for _ in range(3):
        with secured(server.address, context, session) as connection:
            connection.sendall(b"?")
            told.append(json.loads(read_to_end(connection)))
            assert connection.session_reused is (session is not None)
            session = connection.session
    assert [each["reused"] for each in told] == [False, True, True]
    assert len({each["pid"] for each in told}) == 3


@pytest.mark.parametrize("kind", ["plain:upper", "coroutines:upper"])
def test_a_child_serves_several_connections_over_tls(
    serve: Serve, authority: Authority, kind: str
) -> None:
    server = forkserve(serve, kind, *options(authority, "-k3"), spares=0)
    pids = set()
    for number in range(3):
        with secured(server.address, client_context(authority)) as connection:
            connection.sendall(b"HELLO")
            assert read(connection, 5) == b"HELLO"
            pids.add(server.child_of(connection))
            connection.unwrap()
        server.wait_for(r"(?:served|child ended) peer=", number + 1)
    (pid,) = pids
    server.wait_for(rf"child ended peer=\S+ pid={pid} exit=0")
