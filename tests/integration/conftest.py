"""
Fixtures: a server is started by calling ``serve``, and after every test it is checked that
nothing of it is left.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Server, new_public_folder
from .processes import children, descendants, state, wait_until

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="session", autouse=True)
def _subreaper() -> None:
    """
    Whoever loses its parent becomes ours, not init's: so a process that a server leaves
    behind is found, and a daemon's exit status is known.  See prctl(2).
    """
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody may look into; its path is short."""
    made = new_public_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["fork", "spawn"])
def launcher(request: pytest.FixtureRequest) -> str:
    """Both launchers, one after the other."""
    return str(request.param)


@pytest.fixture
def nobody_left() -> Iterator[None]:
    """After the test no process is left that was not there before it."""
    before = children(os.getpid())

    def left() -> set[int]:
        return children(os.getpid()) - before

    yield
    remaining = {pid: state(pid) for pid in left()}
    for pid in left():
        for each in {pid, *descendants(pid)}:
            os.kill(each, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert remaining == {}


@pytest.fixture
def serve(folder: Path, nobody_left: None) -> Iterator[Callable[..., Server]]:
    """
    Start a server, or several; see harness.Server.  It is ready then, but for what has to
    be done *meanwhile*.

    After the test, whatever it did: once its clients are gone there are the processes and
    descriptors that there were before them, and SIGTERM ends the server with status 0 and
    nobody is left.  A server that the test has ended must have ended like that, too.
    """
    servers: list[Server] = []

    def start(*options: str, meanwhile: Callable[[], object] = lambda: None, **more: Any) -> Server:
        place = folder / str(len(servers))
        place.mkdir()
        if user := more.get("user"):
            shutil.chown(place, user.uid, user.uid)
        server = Server(place, *options, **more)
        servers.append(server)
        meanwhile()
        _reap_the_daemons_parent(server)
        server.wait_until_ready()
        return server

    yield start
    try:
        for server in servers:
            if not server.is_over():
                server.check_nothing_is_left()
                server.stop()
            server.wait_until_over()
    finally:
        for server in servers:
            if not server.is_over():
                server.kill(signal.SIGKILL)
                wait_until(server.is_over, "the end of a server that was killed")


def _reap_the_daemons_parent(server: Server) -> None:
    """A process that becomes a daemon leaves one behind that nobody waits for but init."""
    for pid in children(os.getpid()) - {server.pid}:
        if state(pid) == "Z":
            os.waitpid(pid, 0)
