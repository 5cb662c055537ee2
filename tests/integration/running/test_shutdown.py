"""
Stopping: ports close first, busy children may finish, those that do not are made to, and
the exit status is 0.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.peers.clients import read_to_end, talk
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, state, stop, wait_until
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command

LONG = "--grace=1000"
"""A grace that no test waits for: where it passes, that is by a second signal, or because the
clock is moved."""

SLOW = """
import os, time
importing = {importing!r}
if os.path.exists(importing):
    with open(importing, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(1000)

def serve(connection, peer):
    while data := connection.recv(65536):
        connection.sendall(data.upper())
"""
"""A handler whose import does not end, once there is a certain file."""


def refuses(server: Server) -> bool:
    """Whether new connections are refused."""
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_stops_at_once(serve: Serve, launcher: str, number: signal.Signals) -> None:
    server = serve(LONG, launcher=launcher, spares=4)
    everybody = children(server.pid)
    server.kill(number)
    server.wait_until_over()
    assert [state(pid) for pid in everybody] == [""] * len(everybody)
    assert f"signal received signal={number.name}\n" in server.log()
    assert "children signalled" not in server.log()
    assert "] stopped\n" in server.log()


def test_busy_children_finish_while_new_connections_are_refused(
    serve: Serve, launcher: str
) -> None:
    server = serve(LONG, launcher=launcher, spares=2)
    with server.connect() as first, server.connect() as second:
        talk(first)
        talk(second)
        serving = {server.child_of(first), server.child_of(second)}
        server.kill()
        server.wait_for(r"stopping children=2 grace=1000\.000\n")
        assert refuses(server)
        # Spares and the template end, those who serve stay.
        wait_until(lambda: children(server.pid) == serving, "the end of spares and template")
        assert not server.is_over()
        talk(first, b"still here")
        first.close()
        server.wait_for(rf"child ended peer=\S+ pid=({min(serving)}|{max(serving)}) exit=0 ")
        talk(second, b"me too")
        assert not server.is_over()
    server.wait_until_over()
    assert server.log().count("exit=0") == 2
    assert "children signalled" not in server.log()


def test_the_last_line_of_the_log_is_written_when_all_the_others_have_been(
    serve: Serve, launcher: str
) -> None:
    server = serve("--grace=0", launcher=launcher)
    with server.connect() as silent:
        server.child_of(silent)
        server.stop()
    ours = [line for (line,) in server.find(r"\[twisted_fork#\w+\] (.*)")]
    assert ours[-1] == "stopped"


def test_who_does_not_finish_within_the_grace_gets_sigterm(serve: Serve, launcher: str) -> None:
    # whoever has not been waited for is counted, spares too
    server = serve(LONG, launcher=launcher, spares=0, steered=True)
    with server.connect() as silent:
        pid = server.child_of(silent)
        server.kill()
        server.wait_for("stopping children=1 ")
        server.advance(500)
        assert server.find("children signalled") == []
        server.advance(500)
        server.wait_until_over()
        assert read_to_end(silent) == b""
    server.wait_for("children signalled signal=SIGTERM children=1\n")
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGTERM")
    assert "SIGKILL" not in server.log()


def test_who_does_not_obey_sigterm_gets_sigkill(serve: Serve, launcher: str) -> None:
    server = serve(LONG, launcher=launcher, spares=0, steered=True)
    with server.connect() as client:
        talk(client)
        pid = server.child_of(client)
        # A stopped process does nothing about SIGTERM until it is continued.
        stop(pid)
        server.kill()
        server.wait_for("stopping children=1 ")
        server.advance(1000)
        server.wait_for("children signalled signal=SIGTERM children=1\n")
        server.advance(500)
        assert server.find("signalled signal=SIGKILL") == []
        server.advance(500)
        server.wait_until_over()
    server.wait_for("children signalled signal=SIGKILL children=1\n")
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGKILL")


def test_a_second_signal_skips_the_grace(serve: Serve, launcher: str) -> None:
    server = serve(LONG, launcher=launcher)
    with server.connect() as silent:
        pid = server.child_of(silent)
        server.kill()
        server.wait_for("stopping children=")
        assert not server.is_over()
        server.kill()
        server.wait_until_over()
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGTERM")


def test_a_third_signal_skips_the_second_grace(serve: Serve) -> None:
    server = serve(LONG)
    with server.connect() as client:
        talk(client)
        pid = server.child_of(client)
        stop(pid)
        server.kill()
        server.wait_for("stopping children=")
        server.kill(signal.SIGINT)
        server.wait_for("children signalled signal=SIGTERM ")
        server.kill(signal.SIGINT)
        server.wait_until_over()
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGKILL")


def test_a_child_that_would_live_on_ends_with_the_connection_that_it_has(
    serve: Serve, launcher: str
) -> None:
    server = serve(LONG, "-k3", launcher=launcher)
    with server.connect() as client:
        talk(client)
        pid = server.child_of(client)
        server.kill()
        server.wait_for("stopping children=")
        talk(client, b"still here")
    server.wait_until_over()
    server.wait_for(rf"(?:served|child ended) peer=\S+ pid={pid} ")
    assert "exit=1" not in server.log()


def test_spares_that_a_stopped_template_was_asked_for_do_not_keep_the_server(
    serve: Serve,
) -> None:
    server = serve(LONG, spares=1, steered=True)
    template = server.template()
    stop(template)
    with server.connect() as client:
        talk(client)  # with the only spare there was
        # Another is ordered as soon as nobody comes any more, which the template does not answer.
        server.advance(1)
    server.kill()
    server.wait_for("signal received signal=SIGTERM\n")
    server.advance_until(rf"template stuck pid={template} seconds=\S+\n", 5)
    server.wait_until_over()
    assert "exit=1" not in server.log()


def test_spares_that_import_their_handler_do_not_keep_the_server(
    serve: Serve, folder: Path
) -> None:
    importing = folder / "importing"
    (folder / "slow.py").write_text(SLOW.format(importing=str(importing)))
    server = serve(
        LONG, launcher="spawn", spares=1, steered=True, handler=".slow:serve",
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    importing.touch()
    with server.connect() as client:
        talk(client)  # with the only spare there was
        server.advance(1)  # another is ordered as soon as nobody comes any more
        spare = int(wait_until(importing.read_text, "a spare that imports its handler"))
    server.kill()
    server.wait_for("signal received signal=SIGTERM\n")
    server.advance_until(rf"child does not end pid={spare} seconds=\S+\n", 5)
    server.wait_until_over()
    assert "exit=1" not in server.log()


def test_without_grace_children_are_ended_at_once(serve: Serve, launcher: str) -> None:
    server = serve("--grace=0", launcher=launcher)
    with server.connect() as silent:
        server.child_of(silent)
        server.kill()
        server.wait_until_over()
    assert server.find("child ended .* signal=SIG")


def test_a_stopped_template_and_stopped_spares_do_not_keep_the_server(
    serve: Serve, launcher: str
) -> None:
    server = serve("--grace=0.5", launcher=launcher, spares=2)
    stop(*children(server.pid))
    server.kill()
    server.wait_until_over()


def test_connections_that_wait_for_a_place_are_closed_with_the_ports(
    serve: Serve,
) -> None:
    server = serve(LONG, "--max-children=1")
    with server.connect() as served, server.connect() as waiting:
        talk(served)
        server.kill()
        server.wait_for("stopping children=")
        # The kernel resets what is left in the listen backlog.
        with pytest.raises(ConnectionResetError):
            waiting.recv(1)
        talk(served, b"still here")
    server.wait_until_over()


def test_ctrl_c_in_a_terminal_reaches_no_child(serve: Serve) -> None:
    """A terminal sends SIGINT to its whole foreground process group."""
    server = serve(LONG, before=["setsid"])
    with server.connect() as client:
        talk(client)
        os.killpg(server.pid, signal.SIGINT)
        server.wait_for("stopping children=")
        talk(client, b"still here")
    server.wait_until_over()
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0")
