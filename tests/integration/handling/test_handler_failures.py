"""
Whatever a handler does to itself, it says so in the log, and no other connection notices.
"""

from __future__ import annotations

import ast
import os
import re

import pytest

from tests.integration.peers.clients import read, read_to_end, talk
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, wait_until
from tests.integration.servers.serving import Serve

ENDINGS = {
    "raises": "exit=1",
    "raises_badly": "exit=1",
    "exits": "exit=3",
    "exits_with_words": "exit=1",
    "exits_at_once": "exit=4",
    "aborts": "signal=SIGABRT",
    "crashes": "signal=SIGSEGV",
    "closes_everything": r"exit=\d+",
    "forks": "exit=0",
    "prints": "exit=0",
}
"""What a handler may do, see served/failing.py, and how its child ends."""


def obedient(serve: Serve, launcher: str = "fork") -> Server:
    """A server whose handlers do so when they are told to."""
    return serve.shared(handler="failing:obeys", launcher=launcher)


def fail(server: Server, how: str) -> tuple[int, str, bytes]:
    """
    Have a handler fail, and see how its child ends.

    :returns: its pid, its peer and what it sent.
    """
    with server.connect() as connection:
        pid = server.child_of(connection)
        connection.sendall(how.encode())
        answer = read_to_end(connection)
    ending = ENDINGS.get(how, "exit=0")
    server.wait_for(rf"child ended PEER pid={pid} {ending} seconds=", of=connection)
    return pid, connection.name, answer


def test_no_other_connection_notices(serve: Serve, launcher: str) -> None:
    server = obedient(serve, launcher)
    server.expects_traceback = True
    with server.connect() as bystander:
        talk(bystander)
        for how in ENDINGS:
            fail(server, how)
            talk(bystander, b"still here")


def said(server: Server, pid: int) -> list[str]:
    """The lines that a child has written."""
    texts = [text for (text,) in server.find(rf"child wrote pid={pid} text=(.*)\n")]
    return [ast.literal_eval(text) if text[0] in "'\"" else text for text in texts]


@pytest.mark.parametrize("each", ["1", "3"])
def test_a_traceback_is_logged_with_pid_and_peer(serve: Serve, each: str) -> None:
    server = serve.shared("-k", each, handler="failing:obeys")
    server.expects_traceback = True
    pid, peer, answer = fail(server, "raises")
    assert answer == b""
    host, port = peer.split(":")
    lines = said(server, pid)
    assert lines[0] == f"handler raised, peer=('{host}', {port})"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'no such key'"
    assert any(re.search(r'File ".*served/failing\.py", line \d+, in raises', x) for x in lines)
    # it is the handler's traceback, not that of who called it
    assert not any("twisted_fork" in line for line in lines)
    # and it is there before the line that says how the child ended
    log = server.log()
    assert log.index("KeyError: 'no such key'") < log.index(f"child ended peer={peer}")


def test_nobody_writes_a_line_of_the_log(serve: Serve) -> None:
    server = obedient(serve)
    server.expects_traceback = True
    pid, _, _ = fail(server, "raises_badly")
    server.wait_for(rf"child wrote pid={pid} text='\\x1b\[31msecond'\n")
    assert "\x1b" not in server.log()


def test_an_exit_with_words_says_them(serve: Serve) -> None:
    server = obedient(serve)
    pid, _, _ = fail(server, "exits_with_words")
    # they are there before the line that says how the child ended, and no traceback is
    server.wait_for(f"child wrote pid={pid} text='the last words'\n")
    assert "Traceback" not in server.log()


def test_a_coroutine_that_raises_is_told_as_well(serve: Serve) -> None:
    server = serve(handler="coroutines:raises")
    server.expects_traceback = True
    with server.connect() as connection:
        pid = server.child_of(connection)
        connection.sendall(b"line\n")
        assert read_to_end(connection) == b""
    server.wait_for(rf"child wrote pid={pid} text=.RuntimeError: the coroutine's own.\n")
    server.wait_for(rf"child ended PEER pid={pid} exit=1", of=connection)


def test_a_factory_that_fails_is_told_as_well(serve: Serve) -> None:
    server = serve(handler="protocols:Unbuildable")
    server.expects_traceback = True
    with server.connect() as connection:
        pid = server.child_of(connection)
        assert read_to_end(connection) == b""
    server.wait_for(rf"child wrote pid={pid} text=.*RuntimeError: the factory's own.\n")
    server.wait_for(rf"child ended PEER pid={pid} exit=1", of=connection)


def test_a_handler_may_have_children_of_its_own(serve: Serve, launcher: str) -> None:
    server = obedient(serve, launcher)
    assert fail(server, "forks")[2] == b"its child ended with 0"


def test_a_handlers_child_may_outlive_it(serve: Serve) -> None:
    server = obedient(serve)
    before = children(os.getpid())
    with server.connect() as connection:
        pid = server.child_of(connection)
        connection.sendall(b"forks_and_leaves")
        assert read(connection, 4) == b"left"
        server.wait_for(rf"child ended PEER pid={pid} exit=0", of=connection)
        # it is nobody's child any more, hence ours: see the subreaper in conftest.py
        (orphan,) = children(os.getpid()) - before
        talk(connection, b"still served")
    assert os.waitpid(orphan, 0) == (orphan, 0)


def test_what_a_handler_prints_is_found(serve: Serve, launcher: str) -> None:
    server = obedient(serve, launcher)
    pid, _, answer = fail(server, "prints")
    assert answer == b"printed"
    server.wait_for(f"child wrote pid={pid} text='this is printed'\n")
    server.wait_for(f"child wrote pid={pid} text='this is an error'\n")
    server.wait_for(f"child wrote pid={pid} text='this has no end'\n")


def test_a_handler_that_floods_the_log_does_not_fill_it(serve: Serve) -> None:
    # of its own: what is dropped might be the words of another test
    server = serve(handler="failing:obeys")
    with server.connect() as bystander:
        talk(bystander)
        assert fail(server, "floods")[2] == b"flooded"
        talk(bystander, b"still here")
    server.wait_for(r"standard error dropped bytes=\d+\n")

    def dropped() -> int:
        return sum(int(each) for (each,) in server.find(r"standard error dropped bytes=(\d+)\n"))

    def logged() -> list[int]:
        return [len(text) for (text,) in server.find(r"child wrote pid=\d+ text=(x+\n)")]

    wait_until(lambda: dropped() + sum(logged()) == 64 * 16 * 1024, "all bytes accounted for")
    assert len(logged()) <= 500 * 10
