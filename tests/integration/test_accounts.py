"""
What went over each connection, in the line of its end, and what it costs: the reactor
process keeps its descriptor of a connection until that is over, and peers do not notice.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from .clients import connect, read_to_end, talk
from .harness import Server
from .processes import descriptors, state, wait_until
from .serving import Serve, forkserve, forkserve_program, python_program
from .test_what_children_hold import inode_of_servers_end

Start = Callable[..., Server]


def end_of(server: Server, connection: socket.socket) -> str:
    """What the log says at the end of a connection, of however many its child serves."""
    port = connection.getsockname()[1]
    return server.wait_for(rf"(?:served|child ended) peer=127.0.0.1:{port} (pid=.*)\n")[0]


def kept(server: Server, connection: socket.socket) -> bool:
    """Whether the reactor process holds the server's end of a connection."""
    return inode_of_servers_end(connection) in descriptors(server.pid).values()


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The reactor process does nothing at all meanwhile."""
    server.kill(signal.SIGSTOP)
    try:
        wait_until(lambda: state(server.pid) == "T", "a reactor process that is stopped")
        yield
    finally:
        server.kill(signal.SIGCONT)


@pytest.mark.parametrize("each", [1, 3])
def test_every_end_says_what_was_received_and_sent(serve: Start, launcher: str, each: int) -> None:
    server = serve(f"-k{each}", launcher=launcher)
    for size in (1, 10_000, 1000, 0):
        with connect(server.address) as connection:
            talk(connection, b"x" * size)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            assert f" received={size} sent={size} " in end_of(server, connection) + " "


def test_so_does_the_end_of_a_child_that_was_killed(serve: Start, launcher: str) -> None:
    server = serve(launcher=launcher)
    with connect(server.address) as connection:
        talk(connection, b"hello\n")
        os.kill(server.child_of(connection), signal.SIGKILL)
        assert connection.recv(1) == b""
        said = end_of(server, connection)
    assert re.search(r" signal=SIGKILL .* received=6 sent=6 ", said), said


def test_so_does_the_end_of_a_program(serve: Serve) -> None:
    server = forkserve_program(serve, *python_program("print(input() + '!')"))
    with connect(server.address) as connection:
        connection.sendall(b"hello\n")
        assert read_to_end(connection) == b"hello!\n"
        assert " received=6 sent=7 " in end_of(server, connection)


def test_of_a_unix_socket_nobody_knows(serve: Start, folder: object) -> None:
    server = serve(listen=[f"unix:{folder}/socket"])
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        connection.connect(f"{folder}/socket")
        talk(connection)
    (said,) = server.wait_for(r"child ended peer=unix:\S+ (pid=.*)\n")
    assert "received=" not in said


def test_the_descriptor_is_kept_until_the_connection_is_over(serve: Start, launcher: str) -> None:
    server = serve("-k3", launcher=launcher)
    with connect(server.address) as connection:
        talk(connection)
        server.child_of(connection)
        assert kept(server, connection)
        connection.shutdown(socket.SHUT_WR)
        end_of(server, connection)
    server.check_nothing_is_left()


def test_quiet_keeps_none(serve: Start, launcher: str) -> None:
    server = serve("--quiet", "-s2", launcher=launcher)
    with connect(server.address) as connection:
        talk(connection)
        # it is closed when the child's message has come, which may be after the answer
        wait_until(lambda: not kept(server, connection), "a connection that is let go")


@pytest.mark.parametrize("last", [b"quit\n", b""])
@pytest.mark.parametrize("each", [1, 3])
def test_peers_see_the_end_whatever_the_reactor_process_does(
    serve: Start, launcher: str, each: int, last: bytes
) -> None:
    server = serve(f"-k{each}", launcher=launcher)
    with connect(server.address) as connection:
        talk(connection, b"hello\n")
        server.child_of(connection)
        with stopped(server):
            connection.sendall(last)
            if not last:
                connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


def test_so_they_do_of_a_handler_that_returns(serve: Serve) -> None:
    server = forkserve(serve, "plain:upper")
    with connect(server.address) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        server.child_of(connection)
        with stopped(server):
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
