"""
What a server tells systemd.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, talk
from tests.integration.peers.systemd import Listener
from tests.integration.servers.processes import children, wait_until
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command


def test_systemd_is_told_of_every_state_in_its_order(
    serve: Serve, listener: Listener, launcher: str
) -> None:
    server = serve(before=listener.told(), launcher=launcher)
    listener.wait_for("READY=1")
    assert ask(server.address, b"hello") == b"HELLO"
    server.kill(signal.SIGHUP)
    listener.wait_for("READY=1", 2)
    server.stop()
    listener.wait_for("STOPPING=1")
    assert listener.said == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_ready_means_that_connections_are_accepted(serve: Serve, listener: Listener) -> None:
    server = serve.begin(before=listener.told())
    listener.wait_for("READY=1")
    assert listener.said == ["READY=1"]
    assert len(server.find("accepting connections")) == 1
    assert ask(server.address, b"hello") == b"HELLO"


def test_systemd_is_told_that_a_reload_that_has_failed_is_over(
    serve: Serve, listener: Listener, folder: Path
) -> None:
    module = folder / "mine.py"
    module.write_text("def serve(connection, peer):\n    pass\n")
    variables = {
        "PYTHONPATH": str(folder),
        "NOTIFY_SOCKET": str(listener.path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    server = serve(handler=".mine:serve", env=variables)
    listener.wait_for("READY=1")
    module.write_text("import no_such_module\n")
    server.kill(signal.SIGHUP)
    listener.wait_for("READY=1", 2)
    assert listener.said == ["READY=1", "RELOADING=1", "READY=1"]
    server.wait_for("reload failed")


@pytest.mark.parametrize("kind", ["fork", "spawn", "program"])
def test_a_hangup_as_soon_as_the_server_is_said_to_be_ready_is_a_reload(
    serve: Serve, listener: Listener, kind: str
) -> None:
    def hang_up() -> None:
        os.kill(listener.wait_for("READY=1"), signal.SIGHUP)

    before = listener.told()
    if kind == "program":
        serve(program=["cat"], before=before, meanwhile=hang_up)
    else:
        serve(before=before, launcher=kind, meanwhile=hang_up)
    listener.wait_for("READY=1", 2)
    assert listener.said == ["READY=1", "RELOADING=1", "READY=1"]


def test_nothing_is_said_after_stopping_when_it_stops_in_the_middle_of_a_reload(
    serve: Serve, listener: Listener, folder: Path, launcher: str
) -> None:
    module = folder / "mine.py"
    module.write_text("def serve(connection, peer):\n    pass\n")
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    server = serve(
        "--grace=1000",
        handler=".mine:serve",
        before=listener.told(),
        env=variables,
        launcher=launcher,
        spares=0,
    )
    tried = folder / "tried"
    module.write_text(f"import time\nopen({str(tried)!r}, 'w').close()\ntime.sleep(1000)\n")
    server.kill(signal.SIGHUP)
    wait_until(tried.exists, "an import that hangs")
    server.stop()
    assert listener.all_said() == ["READY=1", "RELOADING=1", "STOPPING=1"]


def test_stopping_is_said_before_the_last_child_has_finished(
    serve: Serve, listener: Listener
) -> None:
    server = serve("--grace=1000", before=listener.told())
    with server.connect() as connection:
        talk(connection)
        server.kill()
        listener.wait_for("STOPPING=1")
        talk(connection, b"still here")
    server.wait_until_over()


def test_a_watchdog_hears_that_the_server_is_alive(serve: Serve, listener: Listener) -> None:
    server = serve(before=listener.told(WATCHDOG_USEC="1000000000"), steered=True)
    for times in range(1, 6):
        listener.wait_for("WATCHDOG=1", times)
        assert listener.all_said().count("WATCHDOG=1") == times
        server.advance(500)
    assert ask(server.address, b"hello") == b"HELLO"
    assert listener.said[0] == "READY=1"


def test_children_are_not_told_where_systemd_listens(
    serve: Serve, listener: Listener, launcher: str
) -> None:
    server = serve(before=listener.told(WATCHDOG_USEC="10000000"), launcher=launcher)
    for pid in children(server.pid):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environ
        assert b"WATCHDOG" not in environ
