"""
How long a connection may last, how long nothing may happen on it, and how long a handshake may
take.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.peers.certificates import Authority
from tests.integration.peers.clients import read, talk
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import state, wait_until
from tests.integration.servers.serving import Serve, order, python_program, refused

SESSION = 100.0
"""Seconds of a session, by a clock that is moved."""

GRACE = 50.0
"""Seconds between SIGTERM and SIGKILL, likewise."""

IDLE = 100.0
"""Seconds in which nothing happens on a connection, likewise."""

LIMITED = (f"--session-timeout={SESSION}", f"--grace={GRACE}")

DEAF_PROGRAM = """
signal = __import__("signal")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
parent = os.getpid()
child = os.fork()
if not child: os.write(1, b"%d %d\\n" % (parent, os.getpid()))
while True: signal.pause()
"""


def limited(serve: Serve, launcher: str) -> Server:
    """A server whose sessions last so long."""
    return serve.shared(*LIMITED, handler="lasting:obeys", launcher=launcher, steered=True)


def family_of(connection: socket.socket) -> list[int]:
    """The processes that serve a connection, which they say."""
    return [int(pid) for pid in connection.makefile("rb").readline().split()]


def wait_until_gone(pids: Iterable[int]) -> None:
    """They have ended; whose parent has ended before them is waited for here."""
    for pid in pids:
        wait_until(lambda pid=pid: state(pid) in ("Z", ""), f"the end of {pid}")  # type: ignore[misc]
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass


def test_a_session_ends_in_its_time_however_busy_it_is(serve: Serve, launcher: str) -> None:
    server = limited(serve, launcher)
    answers = 0

    def talk_on() -> None:
        nonlocal answers
        try:
            while True:
                talk(connection, b"busy")
                answers += 1
        except (AssertionError, OSError):
            pass

    def go_on() -> None:
        """Ten more answers."""
        due = answers + 10
        wait_until(lambda: answers >= due, "answers")

    with order(server, "") as connection:
        pid = server.child_of(connection)
        talking = threading.Thread(target=talk_on)
        talking.start()
        go_on()
        server.advance(SESSION / 2)
        go_on()
        server.advance(SESSION / 2)
        talking.join()
        line = server.ending_of(connection)
        server.wait_for(rf"limit reached PEER pid={pid} limit=session-timeout\n", of=connection)
    found = re.match(r"signal=SIGTERM seconds=(\d+\.\d+) ", line)
    assert found, line
    assert float(found[1]) >= SESSION
    assert line.endswith(" limit=session-timeout")


@pytest.mark.parametrize("what", ["multiplies", "leads"])
def test_the_whole_process_group_ends_with_a_session(
    serve: Serve, launcher: str, what: str
) -> None:
    server = limited(serve, launcher)
    with order(server, what) as connection:
        family = family_of(connection)
        assert len(family) == (3 if what == "multiplies" else 2)
        server.advance(SESSION)
        server.wait_for("limit reached PEER pid=", of=connection)
        if what == "multiplies":  # SIGTERM has been sent, to no effect
            assert server.find("child ended PEER ", of=connection) == []
            server.advance(GRACE)
        line = server.ending_of(connection)
        try:
            wait_until_gone(family)
        finally:
            for pid in family:
                if state(pid) not in ("", "Z"):
                    os.kill(pid, signal.SIGKILL)
                    wait_until_gone([pid])
        assert connection.recv(1) == b""
    assert line.startswith("signal=SIGKILL" if what == "multiplies" else "signal=SIGTERM")
    assert line.endswith(" limit=session-timeout")


def test_a_program_and_its_children_end_with_a_session(serve: Serve) -> None:
    program = python_program("exec(os.environ['CODE'])")
    server = serve(*LIMITED, program=program, env={"CODE": DEAF_PROGRAM}, steered=True)
    with server.connect() as connection:
        family = family_of(connection)
        server.advance(SESSION)
        server.wait_for("limit reached PEER pid=", of=connection)
        server.advance(GRACE)
        line = server.ending_of(connection)
        wait_until_gone(family)
    assert line.startswith("signal=SIGKILL")
    assert line.endswith(" limit=session-timeout")


def test_other_sessions_do_not_notice_the_end_of_one(serve: Serve) -> None:
    server = limited(serve, "fork")
    with order(server, "multiplies") as doomed:
        family = family_of(doomed)
        server.advance(SESSION)
        server.wait_for("limit reached PEER pid=", of=doomed)
        with order(server, "") as other:
            talk(other)
            server.advance(GRACE)
            wait_until_gone(family)
            talk(other, b"still here")
            assert server.find("limit reached PEER pid=", of=other) == []


def test_an_idle_connection_ends_while_others_whose_bytes_flow_do_not(
    serve: Serve, launcher: str
) -> None:
    server = serve.shared(
        f"--idle-timeout={IDLE}", handler="lasting:obeys", launcher=launcher, steered=True
    )
    with (
        order(server, "") as both,
        order(server, "swallows") as sends,
        order(server, "pours") as receives,
        order(server, "") as idle,
    ):
        talk(idle)
        pid = server.child_of(idle)
        for _ in range(3):
            assert server.find("limit reached") == []
            talk(both)
            sends.sendall(b"x")
            assert receives.recv(1) == b"x"
            receives.sendall(b".")
            server.advance(0.4 * IDLE)
        server.wait_for(rf"limit reached PEER pid={pid} limit=idle-timeout\n", of=idle)
        assert idle.recv(1) == b""
        line = server.ending_of(idle)
        talk(both, b"still here")
        assert receives.recv(1) == b"x"
        sends.sendall(b"x")
        assert len(server.find("limit reached")) == 1
    assert line.startswith("signal=SIGTERM")
    assert line.endswith(" limit=idle-timeout")


def test_a_program_on_an_idle_connection_ends_too(serve: Serve) -> None:
    server = serve(f"--idle-timeout={IDLE}", program=["cat"], steered=True)
    with server.connect() as connection:
        connection.sendall(b"hello")
        assert read(connection, 5) == b"hello"
        server.child_of(connection)
        server.advance(IDLE)
        assert connection.recv(1) == b""
        assert server.ending_of(connection).endswith(" limit=idle-timeout")


def test_an_idle_peer_that_never_said_anything_ends_too(serve: Serve, launcher: str) -> None:
    """By a clock that nobody moves: the kernel's word on how long it was is all there is."""
    server = serve("--idle-timeout=0.5", "-k3", launcher=launcher)
    for _ in range(2):
        with server.connect() as connection:
            assert connection.recv(1) == b""
            assert server.ending_of(connection).endswith(" limit=idle-timeout")


def test_unix_sockets_have_no_idle_timeout(folder: Path) -> None:
    line = refused(folder, "--handler=served.plain:upper", "--idle-timeout=5")
    assert "--idle-timeout cannot be kept on Unix sockets" in line
    assert "--session-timeout can" in line


def test_a_tls_handshake_ends_in_its_time(serve: Serve, authority: Authority) -> None:
    server = serve(*authority.options("--handshake-timeout=0.5", "--penalty=10000"))
    with server.connect() as silent:
        pid = server.child_of(silent)
        assert silent.recv(1) == b""
        server.wait_for(f"child wrote pid={pid} text='.*the TLS handshake took too long'\n")
        line = server.ending_of(silent)
    assert line.startswith("exit=251 ")
    assert line.endswith(" limit=handshake-timeout")
    server.wait_for("penalty source=127.0.0.1 seconds=10000.000\n")


def test_a_proxy_header_is_waited_for_no_longer_than_a_handshake(serve: Serve) -> None:
    server = serve("--proxy-protocol", "--handshake-timeout=100", steered=True)
    with server.connect() as silent:
        # when it sleeps again it has accepted the connection
        server.wait_until_idle()
        server.advance(50)
        assert server.find("connection refused") == []
        server.advance(50)
        assert silent.recv(1) == b""
        server.wait_for("connection refused PEER reason='no PROXY header in time'\n", of=silent)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make others serve")
def test_time_limits_end_children_of_another_user(serve: Serve, launcher: str) -> None:
    server = serve(
        *LIMITED, "--user=nobody", handler="lasting:obeys", launcher=launcher, steered=True
    )
    with order(server, "multiplies") as connection:
        family = family_of(connection)
        server.child_of(connection)
        server.advance(SESSION)
        server.wait_for("limit reached PEER .*limit=session-timeout", of=connection)
        server.advance(GRACE)
        assert server.ending_of(connection).endswith(" limit=session-timeout")
        wait_until_gone(family)
