"""
What went over each connection, in the line of its end; and that the reactor process has no
descriptor of it meanwhile, so that its peer sees the end as soon as the child has closed it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.peers.clients import inode_of_servers_end, read, read_to_end, talk
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import descriptors, state, stop, wait_until
from tests.integration.servers.serving import Serve, python_program

RECYCLING: list[tuple[str, ...]] = [(), ("-k3",)]
"""Children that serve a connection, or three."""

EACH = pytest.mark.parametrize("options", RECYCLING, ids=["default", "recycled"])


def echo(serve: Serve, launcher: str = "fork", options: tuple[str, ...] = ()) -> Server:
    """A server that other tests have as well."""
    return serve.shared(*options, launcher=launcher, steered=True)


def end_of(server: Server, connection: socket.socket) -> str:
    """What the log says at the end of a connection, of however many its child serves."""
    return server.wait_for(r"(?:served|child ended) PEER (pid=.*)\n", of=connection)[0]


def kept(server: Server, connection: socket.socket) -> bool:
    """Whether the reactor process holds the server's end of a connection."""
    return inode_of_servers_end(connection) in descriptors(server.pid).values()


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The reactor process does nothing at all meanwhile."""
    try:
        stop(server.pid)
        yield
    finally:
        server.kill(signal.SIGCONT)


@EACH
def test_every_end_says_what_was_received_and_sent(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    server = echo(serve, launcher, options)
    for size in (1, 10_000, 1000, 0):
        with server.connect() as connection:
            talk(connection, b"x" * size)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            assert f" received={size} sent={size} " in end_of(server, connection) + " "


def test_a_long_answer_to_a_peer_that_has_ended_is_counted_whole(serve: Serve) -> None:
    server = echo(serve)
    question = b"long" * 1_000_000
    with server.connect() as connection:
        sender = threading.Thread(target=_send, args=(connection, question))
        sender.start()
        assert read_to_end(connection) == question.upper()
        sender.join()
        assert f" received={len(question)} sent={len(question)} " in end_of(server, connection)


def _send(connection: socket.socket, question: bytes) -> None:
    connection.sendall(question)
    connection.shutdown(socket.SHUT_WR)


def test_the_end_of_a_child_that_was_killed_says_nothing_of_that(
    serve: Serve, launcher: str
) -> None:
    server = echo(serve, launcher)
    with server.connect() as connection:
        talk(connection, b"hello\n")
        os.kill(server.child_of(connection), signal.SIGKILL)
        assert connection.recv(1) == b""
        said = end_of(server, connection)
    assert re.search(r" signal=SIGKILL ", said), said
    assert "received=" not in said


@pytest.mark.parametrize("last", [b"quit\n", b""])
@EACH
def test_peers_see_the_end_whatever_the_reactor_process_does(
    serve: Serve, launcher: str, options: tuple[str, ...], last: bytes
) -> None:
    server = echo(serve, launcher, options)
    with server.connect() as connection:
        talk(connection, b"hello\n")
        server.child_of(connection)
        with stopped(server):
            connection.sendall(last)
            if not last:
                connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    "options",
    [*RECYCLING, ("--quiet",), ("--idle-timeout=60", "--session-timeout=60")],
    ids=["default", "recycled", "quiet", "limits"],
)
def test_the_reactor_process_has_no_descriptor_of_a_connection_that_is_served(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    if options in RECYCLING:
        server = echo(serve, launcher, options)
    else:
        server = serve(*options, launcher=launcher)
    with server.connect() as connection:
        talk(connection)
        # it is closed when the child's message has come, which may be after the answer
        wait_until(lambda: not kept(server, connection), "a connection that is let go")


@pytest.mark.parametrize("handler", ["plain:upper", "failing:fail_late"])
def test_the_end_of_a_handler_of_ours_says_what_was_received_and_sent(
    serve: Serve, handler: str
) -> None:
    if handler == "plain:upper":
        server = serve.shared(handler=handler)
    else:
        server = serve(handler=handler)
        server.expects_traceback = True
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
        assert " received=5 sent=5 " in end_of(server, connection)


def test_peers_see_the_end_of_a_handler_that_returns(serve: Serve) -> None:
    server = serve.shared(handler="plain:upper")
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        server.child_of(connection)
        with stopped(server):
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


def test_the_end_of_a_program_says_nothing_of_what_was_received_and_sent(serve: Serve) -> None:
    server = serve(program=python_program("print(input() + '!')"))
    with server.connect() as connection:
        connection.sendall(b"hello\n")
        assert read_to_end(connection) == b"hello!\n"
        assert "received=" not in end_of(server, connection)


@pytest.mark.parametrize("limit", ["session", "idle"])
def test_the_end_of_a_program_by_a_time_limit_says_what_was_received_and_sent(
    serve: Serve, limit: str
) -> None:
    program = python_program("print(input() + '!'); time.sleep(600)")
    server = serve(f"--{limit}-timeout=100", program=program, steered=True)
    with server.connect() as connection:
        connection.sendall(b"hello\n")
        assert read(connection, 7) == b"hello!\n"
        server.child_of(connection)
        server.advance(100)
        assert connection.recv(1) == b""
        said = end_of(server, connection)
    assert re.search(rf" received=6 sent=7 .*limit={limit}-timeout", said), said


def test_a_handler_cannot_tell_for_others_nor_through_another_standard_error(
    serve: Serve, folder: Path
) -> None:
    server = serve(handler="plain:redirect", env={"INTO": f"{folder}/into"})
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
        assert "received=" not in end_of(server, connection)
    assert (folder / "into").read_bytes() == b""


def test_the_end_of_a_unix_socket_says_nothing_of_what_was_received_and_sent(
    serve: Serve, folder: object
) -> None:
    server = serve(listen=[f"unix:{folder}/socket"])
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        connection.connect(f"{folder}/socket")
        talk(connection)
    (said,) = server.wait_for(r"child ended peer=unix:\S+ (pid=.*)\n")
    assert "received=" not in said


@pytest.mark.parametrize("options", [(), ("--idle-timeout=60",)], ids=["default", "limits"])
def test_peers_see_the_end_when_a_handler_only_closes_and_goes_on(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    server = serve(*options, handler="plain:close_and_wait", launcher=launcher)
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        assert connection.recv(1) == b""
        child = server.child_of(connection)
        wait_until(lambda: state(child) == "S", "a handler that waits for us")
        assert server.find("child ended PEER ", of=connection) == []
        os.kill(child, signal.SIGUSR1)
        assert " received=5 sent=5 " in end_of(server, connection)


def test_peers_see_the_end_when_a_program_closes_its_streams_and_goes_on(serve: Serve) -> None:
    program = python_program("print('bye'); os.close(0); os.close(1); time.sleep(600)")
    server = serve(program=program)
    with server.connect() as connection:
        assert read_to_end(connection) == b"bye\n"
        os.kill(server.child_of(connection), signal.SIGTERM)
        end_of(server, connection)
