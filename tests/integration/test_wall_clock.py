"""
The wall clock is set, an hour on or back: nothing that takes a time takes another.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .clients import ask, read_to_end, talk
from .harness import Server
from .processes import wait_until
from .serving import Serve

Move = Callable[[], None]

PROGRAM = Path(__file__).with_name("moved_clock.py")


@pytest.fixture(params=[3600, -3600], ids=["on", "back"])
def move(request: pytest.FixtureRequest, folder: Path) -> Move:
    """What moves the server's wall clock."""
    _write(folder, 0)
    return lambda: _write(folder, request.param)


def _write(folder: Path, seconds: int) -> None:
    (folder / "new").write_text(str(seconds))
    (folder / "new").rename(folder / "moved")


def served(server: Server) -> bool:
    """Whether a connection is served, and not refused."""
    try:
        return ask(server.address, b"hello") == b"HELLO"
    except OSError:
        return False


def start(serve: Serve, folder: Path, *options: str, **more: Any) -> Server:
    """A server whose clock *move* moves."""
    return serve(*options, before=[sys.executable, str(PROGRAM), str(folder / "moved")], **more)


@pytest.mark.parametrize("reactor", ["epoll", "asyncio"])
def test_a_dead_template_is_replaced_when_the_clock_is_set(
    serve: Serve, folder: Path, move: Move, reactor: str
) -> None:
    server = start(serve, folder, reactor=reactor, spares=0)
    os.kill(server.template(), signal.SIGKILL)
    server.wait_for("template ended .* replaced in 0.1 seconds")
    move()
    server.wait_for("template ready", 2)
    assert ask(server.address, b"hello") == b"HELLO"


def test_a_penalty_lasts_as_long_when_the_clock_is_set(
    serve: Serve, folder: Path, move: Move
) -> None:
    server = start(serve, folder, "--penalty=2")
    with server.connect() as connection:
        talk(connection)
        os.kill(server.child_of(connection), signal.SIGKILL)
        server.wait_for(r"penalty source=127\.0\.0\.1 seconds=2\n")
        move()
        # as soon as it may again, and not before
        wait_until(lambda: served(server), "the end of the penalty")
    server.wait_for("connection refused .* reason='penalty, [12] seconds left'")


def test_a_rate_is_refilled_as_fast_when_the_clock_is_set(
    serve: Serve, folder: Path, move: Move
) -> None:
    server = start(serve, folder, "--rate=1/3")
    assert served(server)
    move()
    assert not served(server)
    wait_until(lambda: served(server), "another token")


def test_a_session_lasts_as_long_when_the_clock_is_set(
    serve: Serve, folder: Path, move: Move
) -> None:
    server = start(serve, folder, "--session-timeout=2")
    with server.connect() as connection:
        talk(connection)
        server.child_of(connection)
        move()
        talk(connection, b"still here")
        assert read_to_end(connection) == b""
    (seconds,) = server.wait_for(r"child ended .* seconds=(\d+\.\d+) .*limit=session-timeout")
    assert 2 <= float(seconds) < 60


def test_the_grace_ends_when_the_clock_is_set_while_it_lasts(
    serve: Serve, folder: Path, move: Move
) -> None:
    server = start(serve, folder, "--grace=1")
    with server.connect() as connection:
        talk(connection)
        server.child_of(connection)
        server.kill()
        server.wait_for("stopping children=")
        move()
        server.wait_until_over()
    server.wait_for("stopping: SIGTERM sent")
