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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .clients import inode_of_servers_end, read_to_end, talk
from .harness import Server
from .processes import descriptors, state, wait_until
from .serving import Serve, python_program

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
def test_every_end_says_what_was_received_and_sent(serve: Serve, launcher: str, each: int) -> None:
    server = serve(f"-k{each}", launcher=launcher)
    for size in (1, 10_000, 1000, 0):
        with server.connect() as connection:
            talk(connection, b"x" * size)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
            assert f" received={size} sent={size} " in end_of(server, connection) + " "


@pytest.mark.parametrize("handler", ["plain:upper", "failing:fail_late"])
def test_the_end_of_a_handler_of_ours_says_so_too(serve: Serve, handler: str) -> None:
    server = serve(handler=handler)
    server.expects_traceback = True
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
        assert " received=5 sent=5 " in end_of(server, connection)


def test_a_long_answer_to_a_peer_that_has_ended_is_counted_whole(serve: Serve) -> None:
    server = serve()
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


def test_of_a_child_that_was_killed_nobody_knows(serve: Serve, launcher: str) -> None:
    server = serve(launcher=launcher)
    with server.connect() as connection:
        talk(connection, b"hello\n")
        os.kill(server.child_of(connection), signal.SIGKILL)
        assert connection.recv(1) == b""
        said = end_of(server, connection)
    assert re.search(r" signal=SIGKILL ", said), said
    assert "received=" not in said


def test_of_a_program_nobody_knows(serve: Serve) -> None:
    server = serve(program=python_program("print(input() + '!')"))
    with server.connect() as connection:
        connection.sendall(b"hello\n")
        assert read_to_end(connection) == b"hello!\n"
        assert "received=" not in end_of(server, connection)


@pytest.mark.parametrize("limit", ["session", "idle"])
def test_what_went_over_it_until_a_time_limit_is_known_of_a_program_too(
    serve: Serve, limit: str
) -> None:
    program = python_program("print(input() + '!'); time.sleep(600)")
    server = serve(f"--{limit}-timeout=1", program=program)
    with server.connect() as connection:
        connection.sendall(b"hello\n")
        assert read_to_end(connection) == b"hello!\n"
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


def test_of_a_unix_socket_nobody_knows(serve: Serve, folder: object) -> None:
    server = serve(listen=[f"unix:{folder}/socket"])
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        connection.connect(f"{folder}/socket")
        talk(connection)
    (said,) = server.wait_for(r"child ended peer=unix:\S+ (pid=.*)\n")
    assert "received=" not in said


@pytest.mark.parametrize(
    "options",
    [(), ("-k3",), ("--quiet",), ("--idle-timeout=60", "--session-timeout=60")],
    ids=["default", "recycled", "quiet", "limits"],
)
def test_the_reactor_process_has_no_descriptor_of_it(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    server = serve(*options, launcher=launcher)
    with server.connect() as connection:
        talk(connection)
        # it is closed when the child's message has come, which may be after the answer
        wait_until(lambda: not kept(server, connection), "a connection that is let go")


@pytest.mark.parametrize("last", [b"quit\n", b""])
@pytest.mark.parametrize("each", [1, 3])
def test_peers_see_the_end_whatever_the_reactor_process_does(
    serve: Serve, launcher: str, each: int, last: bytes
) -> None:
    server = serve(f"-k{each}", launcher=launcher)
    with server.connect() as connection:
        talk(connection, b"hello\n")
        server.child_of(connection)
        with stopped(server):
            connection.sendall(last)
            if not last:
                connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


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
        assert f"pid={child} exit" not in server.log()
        os.kill(child, signal.SIGUSR1)
        assert " received=5 sent=5 " in end_of(server, connection)


def test_peers_see_the_end_when_a_program_closes_its_streams_and_goes_on(serve: Serve) -> None:
    program = python_program("print('bye'); os.close(0); os.close(1); time.sleep(600)")
    server = serve(program=program)
    with server.connect() as connection:
        assert read_to_end(connection) == b"bye\n"
        os.kill(server.child_of(connection), signal.SIGTERM)
        end_of(server, connection)


def test_peers_see_the_end_of_a_handler_that_returns(serve: Serve) -> None:
    server = serve(handler="plain:upper")
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"HELLO"
        server.child_of(connection)
        with stopped(server):
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
