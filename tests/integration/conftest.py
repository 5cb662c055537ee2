"""
Fixtures: a server is started by calling ``serve``, and after every test it is checked that
nothing of it is left.
"""

from __future__ import annotations

import compileall
import ctypes
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.peers.systemd import Listener, Manager
from tests.integration.servers.forked_twistd import FORKED
from tests.integration.servers.harness import new_public_folder
from tests.integration.servers.processes import children, descendants, told
from tests.integration.servers.public import remove_copies
from tests.integration.servers.serving import Serve, Shared

_PR_SET_CHILD_SUBREAPER = 36

_PROJECT = Path(__file__).parents[2]


def pytest_configure(config: pytest.Config) -> None:
    """
    What is tested is compiled once, where Python does not do that by itself
    (PYTHONDONTWRITEBYTECODE): if not, each of a thousand processes compiles it anew.
    """
    if not hasattr(config, "workerinput"):
        for name in ("twisted_fork", "tests"):
            compileall.compile_dir(_PROJECT / name, quiet=2)


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


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[Shared]:
    """Those of all tests that this process runs."""
    shared = Shared()
    yield shared
    shared.stop()


@pytest.fixture(scope="session", autouse=True)
def _forked_twistd() -> Iterator[None]:
    """Stop the process that forks for commands, if a test has had it started."""
    yield
    FORKED.stop()


@pytest.fixture
def nobody_left(shared_servers: Shared) -> Iterator[None]:
    """After the test no process is left that was not there before it."""
    before = children(os.getpid())

    def left() -> set[int]:
        return children(os.getpid()) - before - shared_servers.pids() - FORKED.pids()

    yield
    remaining = {pid: told(pid) for pid in left()}
    for pid in left():
        for each in {pid, *descendants(pid)}:
            os.kill(each, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert remaining == {}


@pytest.fixture
def serve(
    request: pytest.FixtureRequest, folder: Path, shared_servers: Shared, nobody_left: None
) -> Iterator[Serve]:
    """
    Start a server, or several; see serving.Serve.  They are started as forked_twistd.py does it,
    which is cheaper, but where a test or its module is marked with ``command``: there they are
    started by the command itself.

    After the test, whatever it did: once its clients are gone there are the processes and
    descriptors that there were before them, and SIGTERM ends the server with status 0 and
    nobody is left.  A server that the test has ended must have ended like that, too.  One that
    is shared is left as it was before the test.
    """
    made = Serve(folder, shared_servers)
    made.defaults["forked"] = request.node.get_closest_marker("command") is None
    failed = True
    try:
        yield made
        made.finish()
        failed = False
    finally:
        made.clean_up(failed)


@pytest.fixture
def manager(folder: Path, serve: Serve) -> Iterator[Manager]:
    """Whoever holds the sockets, as systemd does."""
    made = Manager(folder, serve)
    yield made
    made.close()


@pytest.fixture
def listener(folder: Path) -> Iterator[Listener]:
    """A notification socket."""
    made = Listener(folder)
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def _public_copies() -> Iterator[None]:
    """What the tests have put where everybody may read it is removed at the end."""
    yield
    remove_copies()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Certificates for all tests."""
    return Authority(tmp_path_factory.mktemp("authority"))
