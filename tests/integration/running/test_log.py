"""
What is written where: --quiet, --print, and lines that are there whatever was asked for.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, read_to_end, talk
from tests.integration.servers.applications import Application
from tests.integration.servers.commands import twistd
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.processes import wait_until
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command


def test_quiet_leaves_out_the_lines_of_every_connection(serve: Serve, launcher: str) -> None:
    server = serve.shared("--quiet", launcher=launcher, spares=1)
    before = server.log()
    for _ in range(10):
        assert ask(server.address, b"hello") == b"HELLO"
    server.wait_until_idle()
    assert server.log() == before


def test_quiet_with_children_that_live_on(serve: Serve, launcher: str) -> None:
    server = serve("-q", "-k2", launcher=launcher)
    before = server.log()
    for _ in range(6):
        assert ask(server.address, b"hello") == b"HELLO"
    server.stop()
    assert server.log().startswith(before)
    for word in ("handed over", "served", "child ended"):
        assert word not in server.log()


def test_a_child_that_is_killed_is_logged_even_if_quiet(serve: Serve, launcher: str) -> None:
    server = serve.shared("--quiet", launcher=launcher, spares=1)
    (pid,) = server.spares()
    with server.connect() as client:
        talk(client)
        os.kill(pid, signal.SIGKILL)
        assert read_to_end(client) == b""
    server.wait_for(f"child ended PEER pid={pid} signal=SIGKILL seconds=", of=client)


def test_print_writes_what_comes_to_standard_output(serve: Serve, launcher: str) -> None:
    server = serve("--print", launcher=launcher)
    question = b"every byte: " + bytes(range(256)) + b"\nand no more\n"
    assert ask(server.address, question) == question.upper()
    assert ask(server.address, b"somebody else\n") == b"SOMEBODY ELSE\n"
    written = server.log_file.read_bytes
    wait_until(lambda: question in written() and b"somebody else\n" in written(), "the print")


_TO = {
    "full": ("os.dup2(os.open('/dev/full', os.O_WRONLY), 1)", "No space left on device"),
    "gone": ("read, write = os.pipe(); os.close(read); os.dup2(write, 1)", "Broken pipe"),
}
"""What standard output is made, and what the system says when it is written to."""


def _printing(folder: Path, where: str, launcher: str) -> Application:
    code = f"import os, sys; {_TO[where][0]}; os.execv(sys.argv[1], sys.argv[1:])"
    before = [sys.executable, "-c", code, *twistd(), "-n", "--pidfile=", "--logfile=log"]
    options = ["forkecho", "--print", f"--launcher={launcher}", "-l", LOOPBACK]
    return Application(folder, *before, *options)


@pytest.mark.parametrize("where", _TO)
def test_connections_are_answered_though_nothing_can_be_printed(
    serve: Serve, launcher: str, where: str
) -> None:
    server = serve.application(_printing, where=where, launcher=launcher)
    for number in range(5):
        assert ask(server.address, b"hello %d" % number) == b"HELLO %d" % number
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0", times=5)
    server.stop()
    # all children of a template say so once
    times = 1 if launcher == "fork" else 5
    told = rf"child wrote pid=\d+ text='standard output cannot be written: {_TO[where][1]}"
    assert len(server.find(told)) == times


def test_nothing_that_comes_is_written_unless_asked_for(serve: Serve) -> None:
    server = serve()
    assert ask(server.address, b"not for the log\n") == b"NOT FOR THE LOG\n"
    server.wait_for("child ended")
    server.stop()
    assert "not for the log" not in server.log()
