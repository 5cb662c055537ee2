"""
Stopping: ports close first, busy children may finish, those that do not are made to, and
the exit status is 0.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from .clients import read_to_end, talk
from .harness import Server
from .processes import children, state, wait_until
from .serving import Serve

LONG = "--grace=1000"
"""A grace that no test waits for: where it passes, that is by a second signal."""


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
    assert f"received {number.name}\n" in server.log()
    assert "sent to children" not in server.log()
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
        server.wait_for(r"stopping children=2 grace=1000\n")
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
    assert "sent to children" not in server.log()


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
    server = serve("--grace=2", launcher=launcher, spares=0)
    with server.connect() as silent:
        pid = server.child_of(silent)
        began = time.monotonic()
        server.kill()
        server.wait_until_over()
        assert time.monotonic() - began >= 2
        assert read_to_end(silent) == b""
    server.wait_for("stopping: SIGTERM sent to children=1\n")
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGTERM")
    assert "SIGKILL" not in server.log()


def test_who_does_not_obey_sigterm_gets_sigkill(serve: Serve, launcher: str) -> None:
    server = serve("--grace=0.5", launcher=launcher, spares=0)
    with server.connect() as client:
        talk(client)
        pid = server.child_of(client)
        # A stopped process does nothing about SIGTERM until it is continued.
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        server.kill()
        server.wait_until_over()
        assert time.monotonic() - began >= 1.0
    server.wait_for("stopping: SIGTERM sent to children=1\n")
    server.wait_for("stopping: SIGKILL sent to children=1\n")
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
        os.kill(pid, signal.SIGSTOP)
        server.kill()
        server.wait_for("stopping children=")
        server.kill(signal.SIGINT)
        server.wait_for("stopping: SIGTERM sent")
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
    server.wait_for(rf"peer=\S+ pid={pid} ")
    assert "exit=1" not in server.log()


def test_spares_that_are_just_being_started_end_too(serve: Serve, launcher: str) -> None:
    server = serve(LONG, launcher=launcher, spares=2)
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        # New spares are ordered as soon as nobody comes any more.
        talk(client)
        client.close()
    server.stop()
    assert "exit=1" not in server.log()


def test_no_grace_is_a_grace_too(serve: Serve, launcher: str) -> None:
    server = serve("--grace=0", launcher=launcher)
    with server.connect() as silent:
        server.child_of(silent)
        server.kill()
        server.wait_until_over()
    assert "signal=SIG" in server.log()


def test_a_stopped_template_and_stopped_spares_do_not_keep_the_server(
    serve: Serve, launcher: str
) -> None:
    server = serve("--grace=0.5", launcher=launcher, spares=2)
    for pid in children(server.pid):
        os.kill(pid, signal.SIGSTOP)
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
