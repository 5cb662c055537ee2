"""
TLS, as its peers meet it: who is let in, who is slow, and who comes again.
"""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
import time
from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority, secured
from tests.integration.peers.clients import read, read_to_end
from tests.integration.servers.serving import Serve

# Who is let in


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_refused_and_1_2_is_not(serve: Serve, authority: Authority) -> None:
    server = serve.shared(*authority.options(), handler="plain:upper")
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured(server.address, context) as connection:
        assert connection.version() == "TLSv1.2"
        connection.unwrap()
    context = authority.context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)version"), secured(server.address, context):
        pass
    server.wait_for(r"child wrote pid=\d+ text=['\"]TLS handshake failed: .*(?i:version|protocol)")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=1\b")


def test_a_client_with_a_certificate_is_let_in(serve: Serve, authority: Authority) -> None:
    server = serve.shared(
        *authority.options(f"--tls-client-ca={authority.certificate}"), handler="secure:session"
    )
    context = authority.context()
    context.load_cert_chain(authority.client)
    with secured(server.address, context) as connection:
        connection.sendall(b"?")
        told = json.loads(read_to_end(connection))
    assert told["certificate"]["subject"] == [[["commonName", "alice"]]]


@pytest.mark.parametrize("stranger", [False, True])
def test_a_client_without_a_certificate_of_that_authority_is_refused(
    serve: Serve, authority: Authority, tmp_path: Path, stranger: bool
) -> None:
    server = serve.shared(
        *authority.options(f"--tls-client-ca={authority.certificate}"), handler="secure:session"
    )
    context = authority.context()
    refusal: Exception | None = None
    if stranger:
        context.load_cert_chain(Authority(tmp_path, "another").client)
    # with TLS 1.3 the client is done before the server has looked at its certificate
    try:
        with secured(server.address, context) as connection:
            read_to_end(connection)
    except OSError as failure:
        refusal = failure
    assert re.search("(?i)certificate|unknown ca", str(refusal))
    server.wait_for(r"child wrote pid=\d+ text=['\"]TLS handshake failed: .*(?i:certificate|reset)")
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=1\b")
    assert "Traceback" not in server.log()


# Who is slow


def test_a_stalled_handshake_costs_one_child_for_so_long(
    serve: Serve, authority: Authority
) -> None:
    server = serve(*authority.options("--handshake-timeout=2"), handler="plain:upper")
    began = time.monotonic()
    with server.connect() as stalled:
        stalled.sendall(b"\x16\x03\x01")
        pid = server.child_of(stalled)
        with secured(server.address, authority.context()) as connection:
            connection.sendall(b"hello")
            assert read(connection, 5) == b"HELLO"
            connection.unwrap()
        early = server.find("child ended PEER ", of=stalled) == []
        assert early or time.monotonic() - began >= 2
        # its last words need not be an alert
        try:
            read_to_end(stalled)
        except ConnectionResetError:
            pass
        server.wait_for(
            rf"child wrote pid={pid} text='TLS handshake failed: the TLS handshake took too long'"
        )
        limit = rf"child ended PEER pid={pid} exit=251 .* limit=handshake-timeout"
        server.wait_for(limit, of=stalled)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.0\r\n\r\n"])
def test_who_does_not_speak_tls_is_told_in_one_line(
    serve: Serve, authority: Authority, said: bytes
) -> None:
    server = serve.shared(*authority.options(), handler="plain:upper")
    with server.connect() as connection:
        pid = server.child_of(connection)
        connection.sendall(said)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError as failure:
            if failure.errno != errno.ENOTCONN:  # it has been reset by now
                raise
        try:
            read_to_end(connection)
        except ConnectionResetError:
            pass
    server.wait_for(rf"child ended peer=\S+ pid={pid} exit=1\b")
    assert len(server.find(rf"child wrote pid={pid} text=['\"]TLS handshake failed: ")) == 1
    assert len(server.find(rf"child wrote pid={pid} ")) == 1


# Who comes again


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_with_another_child(
    serve: Serve, authority: Authority, version: ssl.TLSVersion
) -> None:
    server = serve.shared(*authority.options(), handler="secure:session")
    context = authority.context()
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
    server = serve(*authority.options("-k3"), handler=kind, spares=0)
    pids = set()
    for number in range(3):
        with secured(server.address, authority.context()) as connection:
            connection.sendall(b"HELLO")
            assert read(connection, 5) == b"HELLO"
            pids.add(server.child_of(connection))
            connection.unwrap()
        server.wait_for(r"(?:served|child ended) peer=", number + 1)
    (pid,) = pids
    server.wait_for(rf"child ended peer=\S+ pid={pid} exit=0\b")
