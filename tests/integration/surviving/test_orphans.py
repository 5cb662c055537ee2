"""
Orphans of programs, where they become children of the server: none stays a zombie, and
nobody's exit status is lost.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.peers.clients import read_to_end
from tests.integration.servers.applications import Application
from tests.integration.servers.commands import HERE, through, twistd
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.processes import children, state, wait_until
from tests.integration.servers.serving import Serve, need
from tests.integration.servers.steering import Steering

pytestmark = pytest.mark.command

EVERY = 1.0
"""Seconds from one look for orphans to the next."""

_SUBREAPER = (
    "import ctypes, os, sys; assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0;"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
"""PR_SET_CHILD_SUBREAPER"""

_PROGRAM = "exec 3<&0; {} cat <&3 >/dev/null & exit 3"
"""Ends at once, and leaves somebody behind, who ends when the peer does."""


def _subreaper(folder: Path, program: str) -> Application:
    return _server(folder, program, sys.executable, "-c", _SUBREAPER)


def _first_process(folder: Path, program: str) -> Application:
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return _server(folder, program, need("unshare"), *root, "--pid", "--fork", "--mount-proc")


def _server(folder: Path, program: str, *before: str) -> Application:
    command = through(twistd(), HERE / "servers" / "steered.py", str(Steering(folder).path))
    options = ["-n", "--pidfile=", "forkserve", "-l", LOOPBACK, "--", "sh", "-c", program]
    return Application(folder, *before, *command, *options)


@pytest.mark.parametrize("how", [_subreaper, _first_process], ids=["subreaper", "first process"])
@pytest.mark.parametrize("leads", ["", "setsid"])
def test_orphans_are_waited_for_and_exit_statuses_are_kept(
    serve: Serve, folder: Path, how: Callable[..., Application], leads: str
) -> None:
    application = serve.application(how, _PROGRAM.format(leads))
    steering = Steering(folder)

    def waited_for(orphans: set[int]) -> bool:
        """Whether they are, after another look for orphans."""
        steering.advance(EVERY)
        return not any(map(state, orphans))

    server = application.pid if how is _subreaper else children(application.pid).pop()
    clients = []
    for number in range(5):
        clients.append(application.connect())
        application.wait_for(r"child ended peer=\S+ pid=\d+ exit=3", times=number + 1)
    orphans = children(server)
    wait_until(lambda: {*map(state, orphans)} == {"S"}, "five orphans that wait")
    assert len(orphans) == 5
    for client in clients:
        client.close()
    wait_until(lambda: waited_for(orphans), "all orphans to be waited for")
    # and connections go on being served, and told about
    with application.connect() as another:
        application.wait_for(r"child ended peer=\S+ pid=\d+ exit=3", times=6)
        another.shutdown(1)
        assert read_to_end(another) == b""
    wait_until(lambda: waited_for(children(server)), "the last orphan to be waited for")
    os.kill(server, signal.SIGTERM)
    wait_until(application.is_over, "the server's end")
    assert application.exit_status == 0
