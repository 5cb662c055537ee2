"""
Paths of Unix sockets: who has one, who may take it over, and what is left of it.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults.load import reap_orphans
from tests.integration.peers.clients import ask, connect, talk
from tests.integration.servers.commands import Unprivileged
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, state, wait_until
from tests.integration.servers.serving import Serve, forked_refusal

pytestmark = pytest.mark.command

BACKGROUND = pytest.mark.parametrize("daemon", [False, True], ids=["foreground", "daemon"])


def entries(folder: Path) -> list[str]:
    """What is in a folder but for those of the servers."""
    return sorted(file.name for file in folder.iterdir() if not file.is_dir())


def refused(folder: Path, endpoint: str, daemon: bool) -> str:
    """The one line that a second server says about its endpoint."""
    place = folder / "second"
    place.mkdir()
    options = [] if daemon else ["-n"]
    return forked_refusal(place, "forkecho", [*options, "forkecho", "-l", endpoint])


@pytest.fixture
def killed(folder: Path, nobody_left: None) -> Iterator[list[Server]]:
    """Servers that SIGKILL ends, at the latest after the test."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        if not server.is_over():
            kill(server)


def kill(server: Server) -> None:
    """End a server that can do nothing about it."""
    server.kill(signal.SIGKILL)
    wait_until(server.is_over, "the end of a server that was killed")


@BACKGROUND
@pytest.mark.parametrize("second", [False, True], ids=["-n", "another daemon"])
def test_a_second_server_is_refused_and_the_first_keeps_its_path(
    serve: Serve, folder: Path, daemon: bool, second: bool
) -> None:
    path = folder / "socket"
    server = serve(listen=[f"unix:{path}"], daemon=daemon)
    line = refused(folder, f"unix:{path}", daemon=second)
    assert line.endswith(
        f"unix:{path}: a server listens there already; stop it, or choose another path"
    )
    assert ask(str(path), b"hello") == b"HELLO"
    server.stop()
    assert entries(folder) == []


@BACKGROUND
def test_while_a_server_runs_there_is_its_socket_and_afterwards_nothing(
    serve: Serve, folder: Path, daemon: bool
) -> None:
    server = serve(listen=[f"unix:{folder / 'socket'}"], daemon=daemon)
    assert entries(folder) == ["socket"]
    server.stop()
    assert entries(folder) == []


@BACKGROUND
def test_a_server_that_has_taken_the_path_of_another_keeps_it_when_that_stops(
    serve: Serve, folder: Path, daemon: bool
) -> None:
    path = folder / "socket"
    first = serve(listen=[f"unix:{path}"], daemon=daemon)
    path.unlink()
    second = serve(listen=[f"unix:{path}"], daemon=daemon)
    first.stop()
    assert ask(str(path), b"hello") == b"HELLO"
    second.stop()
    assert entries(folder) == []


@BACKGROUND
def test_what_a_killed_server_left_is_taken_over_although_its_child_still_serves(
    serve: Serve, folder: Path, killed: list[Server], daemon: bool
) -> None:
    before = children(os.getpid())
    path = folder / "socket"
    place = folder / "first"
    place.mkdir()
    first = Server(place, listen=[f"unix:{path}"], daemon=daemon)
    killed.append(first)
    first.wait_until_ready()
    with connect(str(path)) as client:
        talk(client)
        (child,) = first.wait_for(r"handed over peer=.* pid=(\d+)\n")
        kill(first)
        second = serve(listen=[f"unix:{path}"], daemon=daemon)
        assert ask(str(path), b"hello") == b"HELLO"
        # the first server's child is there all the time
        talk(client)
        wait_until(lambda: state(int(child)) == "S", "a child that waits for its peer")
    second.stop()
    assert entries(folder) == []
    # the child's end, and that of the first server's template and spares
    reap_orphans(before)


@pytest.mark.parametrize("alive", [False, True], ids=["of nobody", "of another process by now"])
def test_a_lock_that_twisted_has_left_is_no_obstacle_and_goes_with_the_first_stop(
    serve: Serve, folder: Path, alive: bool
) -> None:
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    os.symlink(str(os.getpid() if alive else gone.pid), f"{path}.lock")
    server = serve(listen=[f"unix:{path}"])
    assert ask(str(path), b"hello") == b"HELLO"
    server.stop()
    assert entries(folder) == []


@BACKGROUND
@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_modes_are_those_asked_for_whatever_the_umask_is(
    serve: Serve, folder: Path, daemon: bool, umask: str
) -> None:
    usual, other = folder / "usual", folder / "other"
    before = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
    serve(listen=[f"unix:{usual}", f"unix:{other}:mode=640"], before=before, daemon=daemon)
    assert stat.filemode(usual.stat().st_mode) == "srw-rw-rw-"
    assert stat.filemode(other.stat().st_mode) == "srw-r-----"


@BACKGROUND
def test_a_path_that_somebody_has_removed_does_not_disturb_the_stop(
    serve: Serve, folder: Path, daemon: bool
) -> None:
    path = folder / "socket"
    server = serve(listen=[f"unix:{path}"], daemon=daemon)
    path.unlink()
    server.stop()
    assert entries(folder) == []


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to become somebody else")
def test_a_path_that_its_server_may_not_remove_is_told_and_replaced_by_the_next(
    serve: Serve, folder: Path
) -> None:
    user = Unprivileged()
    path = folder / "socket"
    first = serve(listen=[f"unix:{path}"], user=user, root_starts_it=True, daemon=True)
    first.stop()
    assert first.find("port not closed address=.* reason=.*Permission denied") == [()]
    assert entries(folder) == ["socket"]
    second = serve(listen=[f"unix:{path}"], daemon=True)
    assert ask(str(path), b"hello") == b"HELLO"
    second.stop()
    assert entries(folder) == []


def test_the_log_names_ports_as_the_service_does_and_in_no_other_way(
    serve: Serve, folder: Path
) -> None:
    server = serve(listen=["tcp:0:interface=127.0.0.1", f"unix:{folder / 'socket'}"])
    server.stop()
    assert "Handover" not in server.log()
    assert "Closed" not in server.log()
    assert " starting on " not in server.log()
