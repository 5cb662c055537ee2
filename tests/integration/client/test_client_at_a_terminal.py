"""
The interactive client as its user meets it, at a terminal.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import pytest

from .fake_servers import StartServer, hang_up, uppercase_at_the_end
from .interactive import StartTerminal, Terminal, assert_one_line


@pytest.fixture
def terminal() -> Iterator[StartTerminal]:
    """Start the client at a terminal."""
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> Terminal:
            session = Terminal(*words)
            stack.callback(session.close)
            return session

        yield start


def test_a_typed_session_reads_as_lines_and_their_answers(
    fake_server: StartServer, terminal: StartTerminal
) -> None:
    server = fake_server()
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
    fake_server: StartServer, terminal: StartTerminal
) -> None:
    pytest.importorskip("readline")
    server = fake_server()
    session = terminal(*server.address)
    session.ask(b"once more\r", b"ONCE MORE")
    session.ask(b"\x1b[A\r", b"ONCE MORE")
    session.expect(b"> ")
    session.type(b"\x04")
    assert session.exit_status() == 0
    assert server.everything_received() == b"once more\nonce more\n"


def test_arrow_left_edits_the_line(fake_server: StartServer, terminal: StartTerminal) -> None:
    pytest.importorskip("readline")
    session = terminal(*fake_server().address)
    session.ask(b"hllo\x1b[D\x1b[D\x1b[De\r", b"HELLO")


def test_what_is_typed_need_not_be_valid_text(
    fake_server: StartServer, terminal: StartTerminal
) -> None:
    server = fake_server()
    session = terminal(*server.address)
    session.ask(b"caf\xc3\xa9 \xff\r", b"CAF\xc3\xa9 \xff")
    session.expect(b"> ")
    session.type(b"\x04")
    assert session.exit_status() == 0
    assert server.everything_received() == b"caf\xc3\xa9 \xff\n"


@pytest.mark.parametrize("key", [b"\x04", b"\x03"], ids=["Ctrl-D", "Ctrl-C"])
@pytest.mark.parametrize("typed", [b"", b"one\r"], ids=["at once", "after a line"])
def test_control_keys_at_the_prompt_end_it_cleanly(
    fake_server: StartServer, terminal: StartTerminal, key: bytes, typed: bytes
) -> None:
    server = fake_server()
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
    fake_server: StartServer, terminal: StartTerminal
) -> None:
    server = fake_server(uppercase_at_the_end)
    session = terminal(*server.address)
    session.expect(b"> ")
    session.type(b"one\r")
    session.expect(b"one\r\n")
    session.type(b"\x03")
    assert session.exit_status() == 0
    assert session.errors() == b""


def test_sigterm_at_the_prompt_gives_the_terminal_its_modes_back(
    fake_server: StartServer, terminal: StartTerminal
) -> None:
    session = terminal(*fake_server().address)
    session.expect(b"> ")
    session.client.terminate()
    assert session.exit_status() == 128 + signal.SIGTERM
    assert session.errors() == b""


def test_a_server_that_closes_at_the_prompt(
    fake_server: StartServer, terminal: StartTerminal
) -> None:
    server = fake_server(hang_up)
    session = terminal(*server.address)
    session.expect(b"> ")
    server.may_close.set()
    assert session.exit_status() == 1
    assert_one_line(session.errors(), "closed the connection early")
    assert session.seen == b"> \r\n"


def test_a_connection_refused_at_a_terminal(terminal: StartTerminal) -> None:
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        session = terminal("127.0.0.1", str(bound_but_not_listening.getsockname()[1]))
        assert session.exit_status() == 1
        assert_one_line(session.errors(), "refused")
        assert session.seen == b""
