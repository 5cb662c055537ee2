"""
The interactive client with pipes and files.
"""

from __future__ import annotations

import os
import queue
import random
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.servers.processes import DEADLINE
from twisted_fork.command.client import Conversation, until_quit

from .fake_servers import StartServer, uppercase_at_the_end
from .interactive import CLIENT, HEADER, assert_one_line, headed, read, run, started


def much() -> bytes:
    """10 MiB of bytes of all sorts, without a line that ends the input."""
    return random.Random(4387).randbytes(10 * 1024 * 1024).replace(b"q", b"\n")


def test_prints_the_header_and_the_answer_to_every_line(fake_server: StartServer) -> None:
    server = fake_server()
    result = run(*server.address, stdin=b"hello tcp\n\nsecond line\n")
    assert result.stdout == (
        b"response from server:\nHELLO TCP\n"
        b"response from server:\n\n"
        b"response from server:\nSECOND LINE\n"
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_sends_every_line_without_waiting_for_answers(fake_server: StartServer) -> None:
    server = fake_server(uppercase_at_the_end)
    result = run(*server.address, stdin=b"one\ntwo\nthree\n")
    assert result.stdout == headed(b"ONE\nTWO\nTHREE\n")
    assert result.returncode == 0


def test_prints_answers_as_they_come(fake_server: StartServer) -> None:
    server = fake_server()
    with started(*server.address) as client:
        for line in (b"one\n", b"two\n"):
            client.stdin.write(line)
            assert read(client.stdout, len(headed(line))) == headed(line.upper())
        client.stdin.close()
        assert client.wait(DEADLINE) == 0


def test_a_last_line_needs_no_newline(fake_server: StartServer) -> None:
    server = fake_server()
    assert run(*server.address, stdin=b"one\ntwo").stdout == headed(b"ONE\nTWO")
    assert server.everything_received() == b"one\ntwo"


def test_empty_input_is_no_error(fake_server: StartServer) -> None:
    result = run(*fake_server().address, stdin=b"")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_closed_standard_input_is_empty_input(fake_server: StartServer) -> None:
    closing = ["sh", "-c", 'exec "$@" <&-', "sh"]
    command = [*closing, *CLIENT, *fake_server().address]
    result = subprocess.run(command, capture_output=True, timeout=DEADLINE)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.parametrize("end", [b"quit\n", b"quit", b"quitters\n"])
def test_a_line_that_starts_with_quit_ends_the_input(fake_server: StartServer, end: bytes) -> None:
    server = fake_server()
    result = run(*server.address, stdin=b"do not quit\n quit\n" + end + b"more\n")
    assert result.stdout == headed(b"DO NOT QUIT\n QUIT\n")
    assert (result.returncode, result.stderr) == (0, b"")
    assert server.everything_received() == b"do not quit\n quit\n"


def test_quit_ends_it_though_it_comes_in_pieces_and_the_pipe_stays_open(
    fake_server: StartServer,
) -> None:
    server = fake_server()
    with started(*server.address) as client:
        client.stdin.write(b"one\nqu")
        assert read(client.stdout, len(headed(b"one\n"))) == headed(b"ONE\n")
        client.stdin.write(b"it\n")
        assert client.wait(DEADLINE) == 0
    assert server.everything_received() == b"one\n"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([b"quit", b"qui", b"x", b"\n"])), st.integers(1, 5))
def test_quit_is_found_wherever_the_input_is_cut(words: list[bytes], size: int) -> None:
    whole = b"".join(words)
    found = re.search(rb"^quit", whole, re.MULTILINE)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert b"".join(until_quit(pieces)) == (whole[: found.start()] if found else whole)


def test_no_more_is_read_ahead_than_the_connection_takes() -> None:
    """The part of a transport that is full is played here, to be sure when it is."""
    calls: queue.SimpleQueue[tuple[Callable[..., None], bytes]] = queue.SimpleQueue()
    conversation = Conversation(mock.Mock(callFromThread=lambda *call: calls.put(call)), False)
    conversation.transport = mock.Mock(write=lambda data: conversation.pauseProducing())
    asked_for_more = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"one"
        asked_for_more.set()
        yield b"two"

    conversation.begin(pieces())
    send, piece = calls.get(timeout=DEADLINE)
    send(piece)
    assert not conversation.wants_more.is_set()
    conversation.resumeProducing()
    assert asked_for_more.wait(DEADLINE)


def test_ten_mebibytes_from_a_pipe(fake_server: StartServer) -> None:
    data = much()
    result = run(*fake_server().address, stdin=data)
    assert result.stdout == headed(data.upper())
    assert (result.returncode, result.stderr) == (0, b"")


def test_ten_mebibytes_from_a_file(fake_server: StartServer, tmp_path: Path) -> None:
    data = much()
    (tmp_path / "input").write_bytes(data)
    with open(tmp_path / "input", "rb") as file:
        result = run(*fake_server().address, stdin=file.fileno())
    assert result.stdout == headed(data.upper())
    assert (result.returncode, result.stderr) == (0, b"")


def test_ends_quietly_when_nobody_reads_its_output(
    fake_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(much())
    with (
        open(tmp_path / "input", "rb") as file,
        started(*fake_server().address, stdin=file) as client,
    ):
        assert read(client.stdout, len(HEADER)) == HEADER
        client.stdout.close()
        assert client.wait(DEADLINE) == 0
        assert client.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error(fake_server: StartServer) -> None:
    with (
        open("/dev/full", "wb") as full,
        started(*fake_server().address, stdout=full) as client,
    ):
        client.stdin.write(b"one\n")
        assert client.wait(DEADLINE) == 1
        assert_one_line(client.stderr.read(), "standard output", "No space left")


def test_input_that_cannot_be_read_is_an_error(fake_server: StartServer) -> None:
    unreadable, other = socket.socketpair()
    with unreadable, other:
        unreadable.setblocking(False)
        result = run(*fake_server().address, stdin=unreadable.fileno())
    assert result.returncode == 1
    assert_one_line(result.stderr, "standard input", "temporarily unavailable")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_even_while_its_output_is_not_read(
    fake_server: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "input").write_bytes(much())

    def heed_the_signal() -> None:
        signal.signal(number, signal.SIG_DFL)  # these tests may run where it is ignored

    with (
        open(tmp_path / "input", "rb") as file,
        started(*fake_server().address, stdin=file, preexec_fn=heed_the_signal) as client,
    ):
        assert read(client.stdout, len(HEADER)) == HEADER
        client.send_signal(number)
        assert client.wait(DEADLINE) == -number
        assert client.stderr.read() == b""


# Endpoints


def test_connects_to_a_unix_socket(fake_server: StartServer, tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "echo.sock"))
    listener.listen()
    fake_server(listener=listener)
    result = run("--connect", f"unix:{tmp_path}/echo.sock", stdin=b"one\ntwo\n")
    assert result.stdout == headed(b"ONE\nTWO\n")
    assert (result.returncode, result.stderr) == (0, b"")


def test_connects_to_a_tcp_endpoint(fake_server: StartServer) -> None:
    host, port = fake_server().address
    assert run("--connect", f"tcp:{host}:{port}", stdin=b"one\n").stdout == headed(b"ONE\n")


def test_a_unix_socket_that_does_not_exist(tmp_path: Path) -> None:
    result = run("--connect", f"unix:{tmp_path}/none")
    assert result.returncode == 1
    assert_one_line(result.stderr, f"unix:{tmp_path}/none", "No such file")
