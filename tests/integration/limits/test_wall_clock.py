"""
The wall clock is set, an hour on or back: nothing that takes a time takes another.

All of this is measured by the monotonic clock, which the tests move: see servers/steered.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.peers.clients import ask, read_to_end, talk
from tests.integration.servers.harness import Server
from tests.integration.servers.serving import Serve

PROGRAM = Path(__file__).with_name("moved_clock.py")

ON_AND_BACK = pytest.mark.parametrize("seconds", [3600, -3600], ids=["on", "back"])


class WallClock:
    """
    The wall clock of servers.

    :ivar before: a command to put before that of a server, which then has this clock.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "moved"
        self.move(0)
        self.before = [sys.executable, str(PROGRAM), str(self._file)]

    def move(self, seconds: int) -> None:
        """It is that much later than it really is from now on."""
        newer = self._file.with_suffix(".new")
        newer.write_text(str(seconds))
        newer.rename(self._file)


@pytest.fixture(scope="module")
def clock_of_all(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    """One clock for all tests, since they share servers."""
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def clock(clock_of_all: WallClock) -> Iterator[WallClock]:
    """A clock that is right when a test begins."""
    yield clock_of_all
    clock_of_all.move(0)


def served(server: Server) -> bool:
    """Whether a connection is served, and not refused."""
    try:
        return ask(server.address, b"hello") == b"HELLO"
    except OSError:
        return False


def shared(serve: Serve, clock: WallClock, *options: str, **more: Any) -> Server:
    """A server with these clocks."""
    return serve.shared(*options, before=clock.before, steered=True, **more)


@pytest.mark.parametrize("reactor", ["epoll", "asyncio"])
def test_a_dead_template_is_replaced_when_the_clock_is_set(
    serve: Serve, clock: WallClock, reactor: str
) -> None:
    server = serve(before=clock.before, reactor=reactor, spares=0)
    for times, (seconds, wait) in enumerate([(3600, "0.100"), (-3600, "0.200")], 1):
        pid = server.template()
        os.kill(pid, signal.SIGKILL)
        server.wait_for(rf"template ended pid={pid} signal=SIGKILL retry={wait}\n")
        clock.move(seconds)
        server.wait_for("template ready", times + 1)
    assert ask(server.address, b"hello") == b"HELLO"


@ON_AND_BACK
def test_a_penalty_lasts_as_long_when_the_clock_is_set(
    serve: Serve, clock: WallClock, seconds: int
) -> None:
    server = shared(serve, clock, "--penalty=100")
    with server.connect() as connection:
        talk(connection)
        os.kill(server.child_of(connection), signal.SIGKILL)
        # each lasts twice as long as the last
        (penalty,) = server.wait_for(r"penalty source=127\.0\.0\.1 seconds=(\d+)\.000\n")
    clock.move(seconds)
    assert not served(server)
    server.advance(int(penalty) - 50)
    assert not served(server)
    server.advance(50)
    assert served(server)
    left = server.find("connection refused .* reason='penalty, (\\d+) seconds left'")
    assert [0 < int(each) <= int(penalty) for (each,) in left] == [True, True]
    assert int(left[1][0]) <= 50


@ON_AND_BACK
def test_a_rate_is_refilled_as_fast_when_the_clock_is_set(
    serve: Serve, clock: WallClock, seconds: int
) -> None:
    server = shared(serve, clock, "--rate=1/1000")
    server.advance(1000)  # whoever was there before has had its token
    assert served(server)
    clock.move(seconds)
    assert not served(server)
    server.advance(500)
    assert not served(server)
    server.advance(500)
    assert served(server)


@ON_AND_BACK
def test_a_session_lasts_as_long_when_the_clock_is_set(
    serve: Serve, clock: WallClock, seconds: int
) -> None:
    server = shared(serve, clock, "--session-timeout=1000")
    with server.connect() as connection:
        talk(connection)
        server.child_of(connection)
        clock.move(seconds)
        talk(connection, b"still here")
        server.advance(500)
        talk(connection, b"still here")
        server.advance(500)
        assert read_to_end(connection) == b""
        lasted = r"child ended PEER .* seconds=(\d+\.\d+) .*limit=session-timeout"
        (told,) = server.wait_for(lasted, of=connection)
    assert 1000 <= float(told) < 1500


@ON_AND_BACK
def test_the_grace_ends_when_the_clock_is_set_while_it_lasts(
    serve: Serve, clock: WallClock, seconds: int
) -> None:
    server = serve("--grace=1000", before=clock.before, steered=True)
    with server.connect() as connection:
        talk(connection)
        server.child_of(connection)
        server.kill()
        server.wait_for("stopping children=")
        clock.move(seconds)
        server.advance(500)
        talk(connection, b"still here")
        server.advance(500)
        server.wait_until_over()
    server.wait_for("children signalled signal=SIGTERM ")
