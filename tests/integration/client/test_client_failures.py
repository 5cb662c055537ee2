"""
The interactive client, when its server fails, or its words are wrong.
"""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from tests.integration.servers.processes import DEADLINE
from twisted_fork import __version__
from twisted_fork.command.client import Conversation
from twisted_fork.command.client_arguments import parsed

from .fake_servers import StartServer, hang_up, one_line_only, reset
from .interactive import assert_one_line, headed, run, started

# Servers that fail


def test_a_server_that_closes_before_all_is_answered(fake_server: StartServer) -> None:
    server = fake_server(one_line_only)
    result = run(*server.address, stdin=b"one\ntwo\nthree\n")
    assert result.stdout == headed(b"ONE\n")
    assert result.returncode == 1
    assert_one_line(result.stderr, "closed the connection early", "14 bytes sent", "4 answered")


def test_a_server_that_closes_while_the_input_is_still_open(fake_server: StartServer) -> None:
    server = fake_server(hang_up)
    with started(*server.address) as client:
        server.may_close.set()
        assert client.wait(DEADLINE) == 1
        assert_one_line(client.stderr.read(), "closed the connection early")


def test_a_server_that_resets_the_connection(fake_server: StartServer) -> None:
    result = run(*fake_server(reset).address, stdin=b"one\n")
    assert result.returncode == 1
    assert_one_line(result.stderr, "closed the connection early")


def test_input_that_ends_as_the_connection_does_is_too_late() -> None:
    calls: queue.SimpleQueue[tuple[Callable[[], None]]] = queue.SimpleQueue()
    conversation = Conversation(mock.Mock(callFromThread=lambda *call: calls.put(call)), False)
    conversation.transport = mock.Mock()
    problems: list[Any] = []
    conversation.ended.addErrback(lambda failure: problems.append(failure.value))
    conversation.begin([])
    (end_of_input,) = calls.get(timeout=DEADLINE)
    conversation.connectionLost()
    end_of_input()
    assert [type(problem) for problem in problems] == [SystemExit]
    conversation.transport.loseWriteConnection.assert_not_called()


def test_connection_refused() -> None:
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        port = str(bound_but_not_listening.getsockname()[1])
        for words in (["127.0.0.1", port], ["--connect", f"tcp:127.0.0.1:{port}"]):
            result = run(*words)
            assert (result.returncode, result.stdout) == (1, b"")
            assert_one_line(result.stderr, "127.0.0.1", port, "refused")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host", "localhost:8000"])
def test_unknown_host(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")  # some resolvers say nothing
    result = run(host)
    assert (result.returncode, result.stdout) == (1, b"")
    assert_one_line(result.stderr, "cannot connect to", host)


# The command line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["localhost", "http"], ["'http'", "1 to 65535"]),
        (["localhost", "0"], ["'0'", "1 to 65535"]),
        (["localhost", "65536"], ["'65536'", "1 to 65535"]),
        (["localhost", "-1"], ["-1"]),
        (["localhost", "9" * 5000], ["1 to 65535"]),
        (["localhost", "8000", "more\nand more"], ["more", "--help"]),
        (["--connect", "tcp:h:1", "localhost"], ["'tcp:h:1'", "'localhost'", "one of them"]),
        (["localhost", "8000", "--connect", "tcp:h:1"], ["'tcp:h:1'", "'localhost'"]),
        (["--connect"], ["--connect", "--help"]),
        (["--connect", "carrier-pigeon:coop"], ["carrier-pigeon", "tcp:localhost:8000"]),
        (["--connect", "tcp:localhost"], ["'tcp:localhost'", "port", "tcp:localhost:8000"]),
        (["--connect", ""], ["''", "tcp:localhost:8000"]),
        (["--unheard-of"], ["--unheard-of", "--help"]),
    ],
)
def test_wrong_arguments_are_named_in_one_line(words: list[str], named: list[str]) -> None:
    result = run(*words)
    assert (result.returncode, result.stdout) == (1, b"")
    assert_one_line(result.stderr, *named)


def test_the_defaults_are_the_port_of_the_service_on_this_host() -> None:
    assert vars(parsed([])) == {"host": "127.0.0.1", "port": 8000, "connect": None}


def test_help_names_every_argument_and_the_defaults() -> None:
    result = run("--help")
    assert (result.returncode, result.stderr) == (0, b"")
    for word in (b"HOST", b"PORT", b"127.0.0.1", b"8000", b"--connect ENDPOINT", b"--version"):
        assert word in result.stdout


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == f"forkecho-client {__version__}\n"
