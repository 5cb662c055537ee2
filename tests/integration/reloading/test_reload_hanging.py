"""
Reloads that hang, storms of them, and templates that do not go.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.integration.peers.clients import read, talk
from tests.integration.servers.commands import environment, twistd
from tests.integration.servers.processes import state, status, stop, wait_until
from tests.integration.servers.serving import Serve, refusal

from . import changing
from .changing import waiting


def test_a_reload_that_hangs_keeps_neither_connections_nor_the_stop(
    serve: Serve, folder: Path, launcher: str
) -> None:
    # one that hangs as it is started anew, too, would not end by itself
    changed = changing.start(
        serve, folder, "--grace=1000", launcher=launcher, spares=3, steered=True
    )
    tried = changed.hang()
    changed.server.kill(signal.SIGHUP)
    waiting(tried)
    assert [changed.version() for _ in range(2)] == ["a"] * 2
    changed.server.kill()
    changed.server.wait_for("signal received signal=SIGTERM\n")
    with suppress(OSError):  # when it is over
        for _ in range(20):  # spares that hang are killed when they have not ended in five seconds
            changed.server.advance(5)
    changed.server.wait_until_over()
    assert changed.server.find("reload(?:ed| failed)") == []
    assert changed.server.find("children signalled") == []


def test_a_reload_that_hangs_does_not_keep_those_who_are_served_from_finishing(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, "--grace=1000000", launcher=launcher, steered=True)
    server = changed.server
    with server.connect() as connection:
        assert read(connection, 1) == b"a"
        tried = changed.hang()
        server.kill(signal.SIGHUP)
        waiting(tried)
        server.kill()
        server.wait_for("stopping children=1 ")

        def nobody_hangs() -> bool:
            """Neither what was to be reloaded, nor a spare that was being started."""
            server.advance(5)
            return not any(state(int(pid)) for pid in tried.read_text().split())

        wait_until(nobody_hangs, "the end of all imports that hang")
        talk(connection, b"still here")
    server.wait_until_over()


def test_a_reload_that_hangs_fails_in_its_time_and_the_next_goes_well(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, launcher=launcher, steered=True)
    tried = changed.hang()
    changed.server.kill(signal.SIGHUP)
    pid = waiting(tried)
    changed.server.advance(30)
    assert changed.server.find("reload failed") == []
    changed.server.advance(30)
    changed.server.wait_for("reload failed reason='the handler was not imported within 60 seconds'")
    wait_until(lambda: state(pid) == "", "the end of the import that hung")
    changed.write("b")
    changed.reload()
    assert changed.version() == "b"


IN_A_SECOND = """
import runpy, sys
from twisted_fork.launchers import interpreter
interpreter.PATIENCE = 1.0
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""To be put before a command, which then gives imports a second, and not sixty."""


def test_a_handler_that_hangs_when_it_is_imported_is_refused_in_its_time(
    folder: Path, launcher: str
) -> None:
    (folder / "hanging.py").write_text("import time\ntime.sleep(1000)\n")
    command = [*environment(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1"), sys.executable]
    command += ["-c", IN_A_SECOND, *twistd(), "-n", "--pidfile=", "forkserve"]
    command += [f"--launcher={launcher}", "-l", f"unix:{folder}/socket", "--handler", "hanging:x"]
    told = refusal(folder, "forkserve", command)
    assert told == "twistd forkserve: the handler was not imported within 1 seconds"


def test_reloads_that_are_asked_for_meanwhile_become_one(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, launcher=launcher, steered=True)
    server = changed.server
    tried = changed.hang()
    server.kill(signal.SIGHUP)
    pid = waiting(tried)
    for _ in range(20):
        server.kill(signal.SIGHUP)
        # it is seen to have taken the signal
        wait_until(lambda: status(server.pid, "SigPnd") == "0" * 16, "no signal that waits")
        wait_until(lambda: status(server.pid, "ShdPnd") == "0" * 16, "no signal that waits")
    server.advance(0)  # and has dealt with it when this returns
    changed.write("b")
    os.kill(pid, signal.SIGKILL)
    server.wait_for("reload failed")
    server.wait_for(r"reloaded( pid=\d+)?\n")
    assert changed.version() == "b"
    assert len(server.find("reloading\n")) == 2


def test_a_storm_of_signals_leaves_a_server_that_serves_and_stops(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, launcher=launcher)
    changed.write("a", "import time\ntime.sleep(0.2)")
    number = 0
    while number < 731 or len(changed.server.find(r"reloaded( pid=\d+)?\n")) < 3:
        changed.server.kill(signal.SIGHUP)
        time.sleep(0.001)
        if number % 100 == 0:
            assert changed.version() == "a"
        number += 1
        assert number < 100_000, changed.server.tell()
    changed.write("b")
    changed.server.kill(signal.SIGHUP)
    wait_until(lambda: changed.version() == "b", "the last version")
    changed.server.stop()
    events = [event for (event,) in changed.server.find(r"(reloading|reloaded|reload failed)")]
    assert len(events) >= 6
    assert set(events[::2]) == {"reloading"}, "no reload begins before the last is over"
    assert set(events[1::2]) == {"reloaded"}


def test_an_old_template_that_is_stopped_does_not_stay(serve: Serve, folder: Path) -> None:
    changed = changing.start(serve, folder, "--grace=1000", steered=True)
    old = changed.server.template()
    stop(old)
    changed.reload()
    assert state(old) == "T"
    changed.server.advance(5)
    wait_until(lambda: state(old) == "", "the end of the old template")
    changed.server.stop()
