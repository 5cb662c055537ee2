"""
Reloading, by SIGHUP: the handler anew, and whoever is served is served to the end.
"""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.integration.peers.clients import read, read_to_end, talk
from tests.integration.servers.processes import children, state, wait_until
from tests.integration.servers.serving import Serve

from . import changing


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the handlers of shared servers are."""
    return tmp_path_factory.mktemp("changing")


@pytest.fixture(params=["1", "3"])
def each(request: pytest.FixtureRequest) -> str:
    """Connections for each child."""
    return f"-k{request.param}"


def test_after_a_reload_the_new_code_serves(
    serve: Serve, place: Path, launcher: str, each: str
) -> None:
    changed = changing.shared(serve, place, [each], launcher=launcher)
    for times, version in enumerate(changed.others()[:3], 1):
        changed.write(version)
        changed.reload(times)
        assert [changed.version() for _ in range(5)] == [version] * 5


def test_busy_children_finish_with_the_old_code(
    serve: Serve, place: Path, launcher: str, each: str
) -> None:
    changed = changing.shared(serve, place, [each], launcher=launcher)
    server = changed.server
    with server.connect() as old:
        was = read(old, 1)
        pid = server.child_of(old)
        version = changed.others()[0]
        changed.write(version)
        changed.reload()
        with server.connect() as new:
            assert read(new, 1) == version.encode()
            talk(old, b"still here")
            old.sendall(b"?")
            assert read(old, 1) == was
    # and when its connection is over it goes, and is given no other
    wait_until(lambda: state(pid) == "", "the end of the old child")
    assert changed.version() == version
    assert "children signalled" not in server.log()


def test_without_a_reload_the_old_code_serves(serve: Serve, place: Path) -> None:
    changed = changing.shared(serve, place, ["-k1"], launcher="fork")
    old = changed.version()
    changed.write(changed.others()[0])
    assert [changed.version() for _ in range(5)] == [old] * 5


def test_spares_and_the_old_template_go_with_a_reload(serve: Serve, place: Path) -> None:
    changed = changing.shared(serve, place, ["-k1"], launcher="fork")
    before = children(changed.server.pid)
    version = changed.others()[0]
    changed.write(version)
    changed.reload()
    wait_until(lambda: not before & children(changed.server.pid), "the end of all that were old")
    changed.server.wait_until_idle()
    assert changed.version() == version


def test_a_handler_that_cannot_be_imported_leaves_the_old_template_serving(
    serve: Serve, place: Path, each: str
) -> None:
    changed = changing.shared(serve, place, [each], launcher="fork")
    server = changed.server
    template = server.template()
    old = changed.version()
    changed.break_it()
    with server.connect() as connection:
        assert read(connection, 1).decode() == old
        changed.fail()
        talk(connection, b"still here")
    server.wait_for(r"reload failed exit=1 template=\d+\n")
    server.wait_for(r"child wrote pid=\d+ text=.*no_such_module")
    assert [changed.version() for _ in range(5)] == [old] * 5
    assert server.template() == template
    assert "reloaded" not in server.log()
    assert len(server.find("reload failed")) == 1
    # once it has been mended the next one succeeds
    version = changed.others()[0]
    changed.write(version)
    changed.reload()
    assert changed.version() == version


def test_a_reload_that_fails_loses_no_spare(serve: Serve, place: Path) -> None:
    changed = changing.shared(serve, place, ["-k1"], launcher="fork")
    before = changed.server.spares()
    changed.break_it()
    changed.fail()
    changed.server.wait_until_idle()
    assert changed.server.spares() == before


def test_a_broken_handler_is_told_of_and_loses_nobody_with_fresh_interpreters(
    serve: Serve, folder: Path
) -> None:
    changed = changing.start(serve, folder, launcher="spawn")
    changed.server.expects_traceback = True  # of a spare that is started meanwhile
    changed.break_it()
    changed.fail()
    assert changed.version() == "a"
    changed.write("c")
    changed.reload()
    assert changed.version() == "c"


def test_many_signals_are_one_reload_at_least_and_the_last_code_serves(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, launcher=launcher)
    for version in "bcdefg":
        changed.write(version)
        changed.server.kill(signal.SIGHUP)
    changed.server.wait_for("reloaded")
    wait_until(lambda: changed.version() == "g", "the last version")
    assert [changed.version() for _ in range(5)] == ["g"] * 5
    assert "reload failed" not in changed.server.log()


def test_a_reload_that_has_not_ended_does_not_keep_the_server_from_stopping(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, launcher=launcher)
    changed.server.kill(signal.SIGHUP)
    changed.server.wait_for("reloading\n")
    changed.server.stop()
    assert "reload failed" not in changed.server.log()


def test_while_it_stops_nothing_is_reloaded(serve: Serve, folder: Path, launcher: str) -> None:
    changed = changing.start(serve, folder, "--grace=1000", launcher=launcher)
    with changed.server.connect() as connection:
        assert read(connection, 1) == b"a"
        changed.server.kill()
        changed.server.wait_for("stopping children=")
        changed.server.kill(signal.SIGHUP)
        talk(connection, b"still here")
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b""
    changed.server.wait_until_over()
    assert "reloading" not in changed.server.log()


def test_the_built_in_echo_can_be_reloaded(serve: Serve, launcher: str) -> None:
    server = serve(launcher=launcher)
    before = children(server.pid)
    server.kill(signal.SIGHUP)
    server.wait_for(r"reloaded( pid=\d+)?\n")
    wait_until(lambda: not before & children(server.pid), "the end of all that were old")
    with server.connect() as connection:
        talk(connection)


def test_programs_are_always_executed_as_they_are(serve: Serve, folder: Path) -> None:
    program = folder / "program"
    program.write_text("#!/bin/sh\necho old\n")
    program.chmod(0o755)
    server = serve(program=[str(program)], spares=0, launcher="spawn")

    def says() -> bytes:
        with server.connect() as connection:
            return read_to_end(connection)

    assert says() == b"old\n"
    newer = folder / "newer"
    newer.write_text("#!/bin/sh\necho new\n")
    newer.chmod(0o755)
    newer.rename(program)
    assert says() == b"new\n"
    server.kill(signal.SIGHUP)
    server.wait_for("nothing to reload\n")
    assert says() == b"new\n"
    assert "reloaded" not in server.log()


def test_a_handler_that_ends_the_process_when_it_is_imported_is_not_taken(
    serve: Serve, folder: Path, launcher: str
) -> None:
    changed = changing.start(serve, folder, launcher=launcher, spares=6)
    before = changed.server.spares()
    changed.break_it("import os\nos._exit(0)")
    changed.fail()
    assert changed.server.spares() == before
    assert changed.version() == "a"
    assert "reloaded" not in changed.server.log()
    changed.write("a")
