"""
How often a source may connect, and for how long it is refused after its children have come to
grief.
"""

from __future__ import annotations

import re

from tests.integration.peers.clients import read_to_end
from tests.integration.servers.harness import Server
from tests.integration.servers.serving import Serve

from .test_admission import AWAY, FAR, HOME, is_served, reasons


def later(server: Server, seconds: int) -> None:
    """So much later.  Nothing is under way meanwhile: a template that takes so long to make a
    spare would be killed."""
    server.wait_until_idle()
    server.advance(seconds)


def test_a_source_may_come_in_a_burst_and_then_at_its_rate(serve: Serve) -> None:
    server = serve("--rate=3/300000", steered=True)
    assert [is_served(server, AWAY) for _ in range(5)] == [True] * 3 + [False] * 2
    assert reasons(server, AWAY)[0] == "too many new connections"
    assert is_served(server, HOME)
    # a token comes back in a third of the time, and another one in the next third
    for _ in range(2):
        later(server, 99_000)
        assert not is_served(server, AWAY)
        later(server, 1_000)
        assert [is_served(server, AWAY) for _ in range(2)] == [True, False]
    # not for ever
    later(server, 1_000_000)
    assert [is_served(server, AWAY) for _ in range(4)] == [True] * 3 + [False]


def crash(server: Server, source: str) -> None:
    """Have the child of a connection from *source* crash."""
    with server.connect(source) as connection:
        connection.sendall(b"crashes")
        try:
            assert connection.recv(1) == b""
        except ConnectionResetError:
            pass


def test_a_source_whose_child_crashed_is_refused_for_longer_each_time(
    serve: Serve, launcher: str
) -> None:
    server = serve("--penalty=1000", handler="failing:obeys", launcher=launcher, steered=True)
    for seconds in (1000, 2000, 4000):
        crash(server, AWAY)
        server.wait_for(rf"penalty source={AWAY} seconds={seconds}\.000\n")
        later(server, seconds - 500)
        assert not is_served(server, AWAY)
        later(server, 500)
        assert is_served(server, AWAY)
    assert is_served(server, HOME)
    assert len(server.find("penalty source=")) == 3


def punishing(serve: Serve) -> Server:
    """A server that refuses whose children crash for long; so each test has sources of its
    own."""
    return serve.shared("--penalty=10000", "--banner-refused=enough", handler="failing:obeys")


def test_who_is_in_disgrace_is_told_of_and_nobody_else_suffers(serve: Serve) -> None:
    server = punishing(serve)
    crash(server, AWAY)
    server.wait_for(rf"child ended peer={AWAY}:\d+ pid=\d+ signal=SIGSEGV\b")
    server.wait_for(f"penalty source={AWAY} seconds=10000.000\n")
    with server.connect(AWAY) as connection:
        assert read_to_end(connection) == b"enough"
    (reason,) = reasons(server, AWAY)
    assert re.fullmatch(r"penalty, \d+ seconds left", reason)
    assert is_served(server, HOME)


def test_a_handler_that_fails_in_python_brings_no_penalty(serve: Serve) -> None:
    server = punishing(serve)
    server.expects_traceback = True
    with server.connect(FAR) as connection:
        connection.sendall(b"raises")
        assert read_to_end(connection) == b""
    server.wait_for(r"child ended PEER pid=\d+ exit=1", of=connection)
    assert is_served(server, FAR)
    assert "penalty" not in server.log()


def test_who_runs_into_a_time_limit_gets_a_penalty(serve: Serve) -> None:
    server = serve("--penalty=10000", "--session-timeout=0.2")
    with server.connect(AWAY) as connection:
        assert read_to_end(connection) == b""
    server.wait_for(f"penalty source={AWAY} seconds=10000.000\n")
    assert not is_served(server, AWAY)
