"""
The echo over real sockets: what a client sends comes back with its ASCII letters
uppercased, however it sends and reads.
"""

from __future__ import annotations

import functools
import random
import socket

import pytest

from tests.integration.peers.clients import ask, read, read_to_end, reset, talk, unread
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import wait_until
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command

MANY = 10 * 1024 * 1024


@pytest.fixture
def server(serve: Serve, launcher: str) -> Server:
    return serve.shared(launcher=launcher)


@functools.cache
def many_bytes() -> bytes:
    """10 MiB of bytes of all sorts, without a line that would end them."""
    return random.Random(4387).randbytes(MANY).replace(b"q", b"\n")


def test_ascii_letters_are_uppercased_and_every_other_byte_is_left_alone(server: Server) -> None:
    assert ask(server.address, bytes(range(256))) == bytes(
        byte - 32 if ord("a") <= byte <= ord("z") else byte for byte in range(256)
    )


def test_each_read_is_answered_at_once_and_needs_no_newline(server: Server) -> None:
    with server.connect() as connection:
        for word in (b"a", b"hello", b"two words", b"\n", b"with an end\n"):
            talk(connection, word)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"quit", b""),
        (b"quit\n", b""),
        (b"quitter", b""),
        (b"one\nquit", b"ONE\n"),
        (b"one\nquit\nmore", b"ONE\n"),
        (b"\n\nquit", b"\n\n"),
    ],
)
def test_quit_at_the_beginning_or_after_a_newline_ends_the_connection(
    serve: Serve, sent: bytes, answer: bytes
) -> None:
    with serve.shared().connect() as connection:
        connection.sendall(sent)
        assert read_to_end(connection) == answer


def test_quit_anywhere_else_is_text(server: Server) -> None:
    assert ask(server.address, b"do not quit\n quit\nQUIT\nqui\nq") == (
        b"DO NOT QUIT\n QUIT\nQUIT\nQUI\nQ"
    )


def test_quit_may_come_in_pieces(server: Server) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"line\nq")
        assert read(connection, 5) == b"LINE\n"
        for piece in (b"u", b"i"):
            connection.sendall(piece)
            wait_until(lambda: unread(connection) == 0, "the child to read the piece")
        connection.sendall(b"t")
        # neither an answer to what came before the last piece, nor to all of it
        assert read_to_end(connection) == b""


def test_what_only_began_like_quit_is_answered_when_that_is_clear(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"qui")
        connection.sendall(b"et")
        assert read(connection, 5) == b"QUIET"
        connection.sendall(b"\nqui")
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b"\nQUI"


def test_a_client_that_ends_its_side_gets_all_answers(server: Server) -> None:
    question = b"no newline at the end" * 10_000
    assert ask(server.address, question) == question.upper()


def test_a_client_may_send_10_mib_before_it_reads(server: Server) -> None:
    question = many_bytes()
    with server.connect() as connection:
        connection.sendall(question)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == question.upper()


def test_a_client_may_send_10_mib_and_stay(server: Server) -> None:
    question = many_bytes()
    with server.connect() as connection:
        connection.sendall(question)
        assert read(connection, MANY) == question.upper()
        talk(connection, b"and one more")


def test_the_answer_to_what_came_before_quit_arrives_whatever_follows_it(server: Server) -> None:
    """Closing with junk unread would make the kernel send a reset, which destroys answers
    that the client has not read yet."""
    question = b"answer me\n" * 20_000
    with server.connect() as connection:
        connection.sendall(question + b"quit\n" + b"junk" * 100_000)
        server.child_of(connection)
        assert read_to_end(connection) == question.upper()


def test_a_reset_is_no_fault_of_the_child_though_answers_are_on_their_way(
    serve: Serve, launcher: str
) -> None:
    server = serve(launcher=launcher)
    answered, unanswered = server.connect(), server.connect()
    talk(answered)
    unanswered.sendall(b"many answers" * 400_000)
    for connection in (answered, unanswered):
        pid = server.child_of(connection)
        reset(connection)
        server.wait_for(rf"child ended PEER pid={pid} exit=0", of=connection)
    # what they had to say has been read to its end only then
    server.stop()
    assert "child wrote" not in server.log()


def test_a_client_that_says_nothing_disturbs_nobody(server: Server) -> None:
    with server.connect() as silent:
        pid = server.child_of(silent)
        assert ask(server.address, b"hello") == b"HELLO"
    server.wait_for(rf"child ended PEER pid={pid} exit=0", of=silent)


def test_a_client_that_does_not_read_disturbs_nobody(server: Server) -> None:
    question = many_bytes()
    with server.connect() as slow:
        slow.sendall(question)
        for _ in range(20):
            assert ask(server.address, b"hello") == b"HELLO"
        slow.shutdown(socket.SHUT_WR)
        assert read_to_end(slow) == question.upper()


def test_the_log_says_who_was_served_by_whom_and_for_how_long(server: Server) -> None:
    with server.connect() as connection:
        talk(connection)
    (pid,) = server.wait_for(r"handed over PEER pid=(\d+)\n", of=connection)
    server.wait_for(rf"child ended PEER pid={pid} exit=0 seconds=\d+\.\d\d\d\b", of=connection)
