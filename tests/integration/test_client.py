"""
The interactive client as its user meets it: a process of its own, talking to a small
server in this one.  Nothing here sleeps; every wait is for something to happen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import queue
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twisted_fork import __version__
from twisted_fork.client import Conversation, parsed, until_quit

TIME_LIMIT = 30.0
CLIENT = [sys.executable, "-m", "twisted_fork.client"]
HEADER = b"response from server:\n"

Behaviour = Callable[[socket.socket, "Server"], None]


def uppercase(connection: socket.socket, server: Server) -> None:
    """Answer everything at once.  Blocks while the client does not read."""
    while data := connection.recv(65536):
        server.received += data
        connection.sendall(data.upper())


def uppercase_at_the_end(connection: socket.socket, server: Server) -> None:
    """Answer nothing before the client has closed its side."""
    while data := connection.recv(65536):
        server.received += data
    connection.sendall(server.received.upper())


def one_line_only(connection: socket.socket, server: Server) -> None:
    """Answer one line, read all that follows it, and close."""
    with connection.makefile("rb") as lines:
        connection.sendall(lines.readline().upper())
        lines.read()


def hang_up(connection: socket.socket, server: Server) -> None:
    """Close when the test says so."""
    server.may_close.wait(TIME_LIMIT)


def reset(connection: socket.socket, server: Server) -> None:
    """Break the connection off after the first bytes."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server:
    """A thread that serves one connection."""

    def __init__(self, listener: socket.socket, behaviour: Behaviour) -> None:
        self.received = b""
        self.may_close = threading.Event()
        self.closed = threading.Event()
        self._listener = listener
        self._behaviour = behaviour
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> list[str]:
        """HOST and PORT, for the command line."""
        return [str(word) for word in self._listener.getsockname()]

    def _serve(self) -> None:
        # An OSError: the client is gone, or the test is over.
        with contextlib.suppress(OSError), self._listener.accept()[0] as connection:
            self._behaviour(connection, self)
        self.closed.set()

    def everything_received(self) -> bytes:
        """All that the client sent, once the connection is over."""
        assert self.closed.wait(TIME_LIMIT)
        return self.received


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server with a behaviour, on a TCP port or another listening socket."""
    with contextlib.ExitStack() as stack:

        def start(
            behaviour: Behaviour = uppercase, listener: socket.socket | None = None
        ) -> Server:
            listener = listener or socket.create_server(("127.0.0.1", 0))
            stack.enter_context(listener)
            return Server(listener, behaviour)

        yield start


def run(*words: str, stdin: bytes | int = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the client to its end: with these bytes in a pipe, or with a descriptor."""
    given: dict[str, Any] = {"stdin": stdin} if isinstance(stdin, int) else {"input": stdin}
    return subprocess.run([*CLIENT, *words], capture_output=True, timeout=TIME_LIMIT, **given)


@contextlib.contextmanager
def started(*words: str, **streams: Any) -> Iterator[Any]:
    """The client, a Popen, while it runs; its standard streams are pipes unless told otherwise."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*CLIENT, *words], bufsize=0, **{**pipes, **streams}) as client:
        try:
            yield client
        finally:
            client.kill()


def read(stream: Any, size: int) -> bytes:
    """*size* bytes from an unbuffered pipe, or fewer if it ends or nothing comes."""
    data = b""
    while len(data) < size and select.select([stream], [], [], TIME_LIMIT)[0]:
        piece = stream.read(size - len(data))
        if not piece:
            break
        data += piece
    return data


def headed(answers: bytes) -> bytes:
    """What the client prints for these answers."""
    return b"".join(HEADER + line for line in re.findall(rb"[^\n]*\n|[^\n]+", answers))


def assert_one_line(stderr: bytes, *words: str) -> None:
    """One line that names the program and holds *words*, and no traceback."""
    text = stderr.decode()
    assert text.startswith("forkecho-client: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    for word in words:
        assert word in text


def much() -> bytes:
    """10 MiB of bytes of all sorts, without a line that ends the input."""
    return random.Random(4387).randbytes(10 * 1024 * 1024).replace(b"q", b"\n")


# From a pipe or a file


def test_prints_the_header_and_the_answer_to_every_line(serve: Callable[..., Server]) -> None:
    server = serve()
    result = run(*server.address, stdin=b"hello tcp\n\nsecond line\n")
    assert result.stdout == (
        b"response from server:\nHELLO TCP\n"
        b"response from server:\n\n"
        b"response from server:\nSECOND LINE\n"
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_sends_every_line_without_waiting_for_answers(serve: Callable[..., Server]) -> None:
    server = serve(uppercase_at_the_end)
    result = run(*server.address, stdin=b"one\ntwo\nthree\n")
    assert result.stdout == headed(b"ONE\nTWO\nTHREE\n")
    assert result.returncode == 0


def test_prints_answers_as_they_come(serve: Callable[..., Server]) -> None:
    server = serve()
    with started(*server.address) as client:
        for line in (b"one\n", b"two\n"):
            client.stdin.write(line)
            assert read(client.stdout, len(headed(line))) == headed(line.upper())
        client.stdin.close()
        assert client.wait(TIME_LIMIT) == 0


def test_a_last_line_needs_no_newline(serve: Callable[..., Server]) -> None:
    server = serve()
    assert run(*server.address, stdin=b"one\ntwo").stdout == headed(b"ONE\nTWO")
    assert server.everything_received() == b"one\ntwo"


def test_empty_input_is_no_error(serve: Callable[..., Server]) -> None:
    result = run(*serve().address, stdin=b"")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_closed_standard_input_is_empty_input(serve: Callable[..., Server]) -> None:
    closing = ["sh", "-c", 'exec "$@" <&-', "sh"]
    command = [*closing, *CLIENT, *serve().address]
    result = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.parametrize("end", [b"quit\n", b"quit", b"quitters\n"])
def test_a_line_that_starts_with_quit_ends_the_input(
    serve: Callable[..., Server], end: bytes
) -> None:
    server = serve()
    result = run(*server.address, stdin=b"do not quit\n quit\n" + end + b"more\n")
    assert result.stdout == headed(b"DO NOT QUIT\n QUIT\n")
    assert (result.returncode, result.stderr) == (0, b"")
    assert server.everything_received() == b"do not quit\n quit\n"


def test_quit_ends_it_though_it_comes_in_pieces_and_the_pipe_stays_open(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    with started(*server.address) as client:
        client.stdin.write(b"one\nqu")
        assert read(client.stdout, len(headed(b"one\n"))) == headed(b"ONE\n")
        client.stdin.write(b"it\n")
        assert client.wait(TIME_LIMIT) == 0
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
    send, piece = calls.get(timeout=TIME_LIMIT)
    send(piece)
    assert not conversation.wants_more.is_set()
    conversation.resumeProducing()
    assert asked_for_more.wait(TIME_LIMIT)


def test_ten_mebibytes_from_a_pipe(serve: Callable[..., Server]) -> None:
    data = much()
    result = run(*serve().address, stdin=data)
    assert result.stdout == headed(data.upper())
    assert (result.returncode, result.stderr) == (0, b"")


def test_ten_mebibytes_from_a_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    data = much()
    (tmp_path / "input").write_bytes(data)
    with open(tmp_path / "input", "rb") as file:
        result = run(*serve().address, stdin=file.fileno())
    assert result.stdout == headed(data.upper())
    assert (result.returncode, result.stderr) == (0, b"")


def test_ends_quietly_when_nobody_reads_its_output(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(much())
    with (
        open(tmp_path / "input", "rb") as file,
        started(*serve().address, stdin=file) as client,
    ):
        assert read(client.stdout, len(HEADER)) == HEADER
        client.stdout.close()
        assert client.wait(TIME_LIMIT) == 0
        assert client.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error(serve: Callable[..., Server]) -> None:
    with (
        open("/dev/full", "wb") as full,
        started(*serve().address, stdout=full) as client,
    ):
        client.stdin.write(b"one\n")
        assert client.wait(TIME_LIMIT) == 1
        assert_one_line(client.stderr.read(), "standard output", "No space left")


def test_input_that_cannot_be_read_is_an_error(serve: Callable[..., Server]) -> None:
    unreadable, other = socket.socketpair()
    with unreadable, other:
        unreadable.setblocking(False)
        result = run(*serve().address, stdin=unreadable.fileno())
    assert result.returncode == 1
    assert_one_line(result.stderr, "standard input", "temporarily unavailable")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_even_while_its_output_is_not_read(
    serve: Callable[..., Server], tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "input").write_bytes(much())

    def heed_the_signal() -> None:
        signal.signal(number, signal.SIG_DFL)  # these tests may run where it is ignored

    with (
        open(tmp_path / "input", "rb") as file,
        started(*serve().address, stdin=file, preexec_fn=heed_the_signal) as client,
    ):
        assert read(client.stdout, len(HEADER)) == HEADER
        client.send_signal(number)
        assert client.wait(TIME_LIMIT) == -number
        assert client.stderr.read() == b""


# Servers that fail


def test_a_server_that_closes_before_all_is_answered(serve: Callable[..., Server]) -> None:
    server = serve(one_line_only)
    result = run(*server.address, stdin=b"one\ntwo\nthree\n")
    assert result.stdout == headed(b"ONE\n")
    assert result.returncode == 1
    assert_one_line(result.stderr, "closed the connection early", "14 bytes sent", "4 answered")


def test_a_server_that_closes_while_the_input_is_still_open(serve: Callable[..., Server]) -> None:
    server = serve(hang_up)
    with started(*server.address) as client:
        server.may_close.set()
        assert client.wait(TIME_LIMIT) == 1
        assert_one_line(client.stderr.read(), "closed the connection early")


def test_a_server_that_resets_the_connection(serve: Callable[..., Server]) -> None:
    result = run(*serve(reset).address, stdin=b"one\n")
    assert result.returncode == 1
    assert_one_line(result.stderr, "closed the connection early")


def test_input_that_ends_as_the_connection_does_is_too_late() -> None:
    calls: queue.SimpleQueue[tuple[Callable[[], None]]] = queue.SimpleQueue()
    conversation = Conversation(mock.Mock(callFromThread=lambda *call: calls.put(call)), False)
    conversation.transport = mock.Mock()
    problems: list[Any] = []
    conversation.ended.addErrback(lambda failure: problems.append(failure.value))
    conversation.begin([])
    (end_of_input,) = calls.get(timeout=TIME_LIMIT)
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


# Endpoints


def test_connects_to_a_unix_socket(serve: Callable[..., Server], tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "echo.sock"))
    listener.listen()
    serve(listener=listener)
    result = run("--connect", f"unix:{tmp_path}/echo.sock", stdin=b"one\ntwo\n")
    assert result.stdout == headed(b"ONE\nTWO\n")
    assert (result.returncode, result.stderr) == (0, b"")


def test_connects_to_a_tcp_endpoint(serve: Callable[..., Server]) -> None:
    host, port = serve().address
    assert run("--connect", f"tcp:{host}:{port}", stdin=b"one\n").stdout == headed(b"ONE\n")


def test_a_unix_socket_that_does_not_exist(tmp_path: Path) -> None:
    result = run("--connect", f"unix:{tmp_path}/none")
    assert result.returncode == 1
    assert_one_line(result.stderr, f"unix:{tmp_path}/none", "No such file")


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


# At a terminal


class Terminal:
    """A session of the client at a pseudoterminal of its own; standard error is a pipe."""

    def __init__(self, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.modes = termios.tcgetattr(self.slave)
        self.seen = b""
        self._expected = 0
        environment = {
            **os.environ,
            "TERM": "dumb",
            "INPUTRC": os.devnull,
            "LC_ALL": "C.UTF-8",
            "PYTHONIOENCODING": "utf-8:strict",  # as it is in other locales
        }
        self.client = subprocess.Popen(
            [*CLIENT, *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes) -> None:
        """Wait for *text*, after whatever was expected before."""
        deadline = time.monotonic() + TIME_LIMIT
        while (found := self.seen.find(text, self._expected)) < 0:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self.master], [], [], left)[0]
            assert ready, f"{text!r} did not come; this did: {self.seen!r}"
            self.seen += os.read(self.master, 65536)
        self._expected = found + len(text)

    def ask(self, keys: bytes, answer: bytes) -> None:
        """Type *keys* at the prompt, and wait for *answer* under its header."""
        self.expect(b"> ")
        self.type(keys)
        self.expect(b"\r\nresponse from server:\r\n" + answer + b"\r\n")

    def exit_status(self) -> int:
        """Wait for the end, and see that the terminal is as it was before."""
        status = self.client.wait(TIME_LIMIT)
        assert termios.tcgetattr(self.slave) == self.modes
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        return status

    def errors(self) -> bytes:
        assert self.client.stderr is not None
        return self.client.stderr.read()

    def close(self) -> None:
        self.client.kill()
        self.client.wait()
        assert self.client.stderr is not None
        self.client.stderr.close()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> Terminal:
            session = Terminal(*words)
            stack.callback(session.close)
            return session

        yield start


def test_a_typed_session_reads_as_lines_and_their_answers(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    server = serve()
    session = terminal(*server.address)
    session.ask(b"hello tcp\r", b"HELLO TCP")
    session.ask(b"\r", b"")
    session.expect(b"> ")
    session.type(b"quit\r")
    assert session.exit_status() == 0
    assert session.errors() == b""
    assert session.seen == (
        b"> hello tcp\r\nresponse from server:\r\nHELLO TCP\r\n"
        b"> \r\nresponse from server:\r\n\r\n"
        b"> quit\r\n"
    )
    assert server.everything_received() == b"hello tcp\n\n"


def test_arrow_up_brings_back_the_last_line(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    pytest.importorskip("readline")
    server = serve()
    session = terminal(*server.address)
    session.ask(b"once more\r", b"ONCE MORE")
    session.ask(b"\x1b[A\r", b"ONCE MORE")
    session.expect(b"> ")
    session.type(b"\x04")
    assert session.exit_status() == 0
    assert server.everything_received() == b"once more\nonce more\n"


def test_arrow_left_edits_the_line(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    pytest.importorskip("readline")
    session = terminal(*serve().address)
    session.ask(b"hllo\x1b[D\x1b[D\x1b[De\r", b"HELLO")


def test_what_is_typed_need_not_be_valid_text(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    server = serve()
    session = terminal(*server.address)
    session.ask(b"caf\xc3\xa9 \xff\r", b"CAF\xc3\xa9 \xff")
    session.expect(b"> ")
    session.type(b"\x04")
    assert session.exit_status() == 0
    assert server.everything_received() == b"caf\xc3\xa9 \xff\n"


@pytest.mark.parametrize("key", [b"\x04", b"\x03"], ids=["Ctrl-D", "Ctrl-C"])
@pytest.mark.parametrize("typed", [b"", b"one\r"], ids=["at once", "after a line"])
def test_control_keys_at_the_prompt_end_it_cleanly(
    serve: Callable[..., Server], terminal: Callable[..., Terminal], key: bytes, typed: bytes
) -> None:
    server = serve()
    session = terminal(*server.address)
    if typed:
        session.ask(typed, b"ONE")
    session.expect(b"> ")
    session.type(key)
    assert session.exit_status() == 0
    assert session.errors() == b""
    assert session.seen.endswith(b"> \r\n")
    assert server.everything_received() == typed.replace(b"\r", b"\n")


def test_ctrl_c_ends_it_while_it_waits_for_an_answer(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    server = serve(uppercase_at_the_end)
    session = terminal(*server.address)
    session.expect(b"> ")
    session.type(b"one\r")
    session.expect(b"one\r\n")
    session.type(b"\x03")
    assert session.exit_status() == 0
    assert session.errors() == b""


def test_sigterm_at_the_prompt_gives_the_terminal_its_modes_back(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    session = terminal(*serve().address)
    session.expect(b"> ")
    session.client.terminate()
    assert session.exit_status() == 128 + signal.SIGTERM
    assert session.errors() == b""


def test_a_server_that_closes_at_the_prompt(
    serve: Callable[..., Server], terminal: Callable[..., Terminal]
) -> None:
    server = serve(hang_up)
    session = terminal(*server.address)
    session.expect(b"> ")
    server.may_close.set()
    assert session.exit_status() == 1
    assert_one_line(session.errors(), "closed the connection early")
    assert session.seen == b"> \r\n"


def test_a_connection_refused_at_a_terminal(terminal: Callable[..., Terminal]) -> None:
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        session = terminal("127.0.0.1", str(bound_but_not_listening.getsockname()[1]))
        assert session.exit_status() == 1
        assert_one_line(session.errors(), "refused")
        assert session.seen == b""
