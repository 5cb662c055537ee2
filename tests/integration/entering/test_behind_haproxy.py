"""
HAProxy in front: the peer in the log, for the handler and for a program is its client.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, connect, read_to_end
from tests.integration.servers.harness import Server
from tests.integration.servers.serving import Serve, need, python_program

_CONFIGURATION = """
defaults
    mode tcp
    timeout connect 60s
    timeout client 60s
    timeout server 60s

listen front
    bind fd@{descriptor}
    server back {host}:{port} {how}
"""

HOW = [
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2 proxy-v2-options crc32c,unique-id",
]
"""Ways to tell who the client is."""


@contextmanager
def haproxy(folder: Path, server: Server, how: str) -> Iterator[tuple[str, int]]:
    """HAProxy before a server; the address of its port."""
    program = need("haproxy")
    configuration = folder / "haproxy.cfg"
    host, port = server.address
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        text = _CONFIGURATION.format(descriptor=descriptor, host=host, port=port, how=how)
        if "unique-id" in how:
            text = text.replace("    bind", "    unique-id-format number-%rt\n    bind")
        configuration.write_text(text)
        address = listening.getsockname()
        with (folder / "haproxy.log").open("w") as log:
            proxy = subprocess.Popen(
                [program, "-db", "-f", str(configuration)],
                pass_fds=[descriptor],
                stdout=log,
                stderr=log,
            )
    try:
        yield address
    finally:
        proxy.kill()
        proxy.wait()


@pytest.mark.parametrize("how", HOW)
def test_a_handler_and_the_log_know_the_client(serve: Serve, folder: Path, how: str) -> None:
    server = serve.shared("--proxy-protocol", handler="plain:who")
    with haproxy(folder, server, how) as front, connect(front) as connection:
        host, port = connection.getsockname()
        told = json.loads(read_to_end(connection))
    assert told["peer"] == [host, port]
    assert told["getpeername"] != told["peer"]
    assert told["info_local"] == list(front)
    if "unique-id" in how:
        # types PP2_TYPE_CRC32C and PP2_TYPE_UNIQUE_ID
        assert bytes.fromhex(told["extras"]["5"]).startswith(b"number-")
        assert len(bytes.fromhex(told["extras"]["3"])) == 4
    server.wait_for(rf"handed over peer={host}:{port} pid={told['pid']}\n")
    server.wait_for(rf"child ended peer={host}:{port} pid={told['pid']} exit=0")


@pytest.mark.parametrize("how", HOW[:2])
@pytest.mark.parametrize("handler", ["coroutines:who", "protocols:who", "program"])
def test_handlers_of_other_kinds_and_programs_know_the_client(
    serve: Serve, folder: Path, handler: str, how: str
) -> None:
    if handler == "program":
        tell = (
            "env = os.environ; print(json.dumps({"
            "'peer': [env['TCPREMOTEIP'], int(env['TCPREMOTEPORT'])]}))"
        )
        server = serve.shared("--proxy-protocol", program=python_program(tell))
    else:
        server = serve.shared("--proxy-protocol", handler=handler)
    with haproxy(folder, server, how) as front, connect(front) as connection:
        here = list(connection.getsockname())
        assert json.loads(read_to_end(connection))["peer"] == here


@pytest.mark.parametrize("how", HOW[:2])
def test_much_goes_through_haproxy_and_back(serve: Serve, folder: Path, how: str) -> None:
    server = serve.shared("--proxy-protocol", handler="plain:upper")
    question = b"much of it" * 300_000
    with haproxy(folder, server, how) as front:
        assert ask(front, question) == question.upper()


def test_a_proxy_that_tells_nothing_is_refused(serve: Serve, folder: Path) -> None:
    server = serve.shared("--proxy-protocol", handler="plain:upper")
    with haproxy(folder, server, "") as front:
        assert ask(front, b"hello") == b""
    server.wait_for("connection refused peer=.* reason='bad PROXY header: it does not begin with")
