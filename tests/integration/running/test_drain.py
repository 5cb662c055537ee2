"""
Draining: after SIGTERM busy children finish, as long as it takes and no longer than wanted,
and every connection that was accepted is accounted for.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.integration.peers.clients import Crowd, read, read_to_end, talk
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.processes import children, state, until, wait_until
from tests.integration.servers.serving import Serve, python_program

LONG = "--grace=100000"


def ends(server: Server) -> list[tuple[str, ...]]:
    """The peers of connections that have been served."""
    return server.find(r"(?:child ended|served) peer=(\S+) pid=\d+")


def test_whoever_is_served_is_served_to_the_end(serve: Serve, launcher: str) -> None:
    server = serve(LONG, launcher=launcher)
    clients = [server.connect() for _ in range(5)]
    for client in clients:
        talk(client)
    server.kill()
    server.wait_for(r"stopping children=5 grace=100000\.000\n")
    mebibyte = b"x" * 1024 * 1024
    for client in clients:
        client.settimeout(60)
        client.sendall(mebibyte[:65536])
        assert read(client, 65536) == mebibyte[:65536].upper()
    for client in clients:
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""
        client.close()
    server.wait_until_over()
    assert len(server.find(r"child ended peer=\S+ pid=\d+ exit=0")) == 5
    assert "children signalled" not in server.log()


def test_the_log_says_every_ten_seconds_how_many_are_left(serve: Serve) -> None:
    server = serve(LONG, steered=True)
    with server.connect() as second:
        with server.connect() as first:
            talk(first)
            talk(second)
            server.kill()
            server.wait_for(r"stopping children=2 grace=100000\.000\n")
            server.advance(5)
            assert server.find("draining") == []
            server.advance(5)
            server.wait_for(r"draining children=2\n")
            first.shutdown(socket.SHUT_WR)
            assert read_to_end(first) == b""
            server.wait_for("child ended PEER pid=", of=first)
        server.advance(10)
        server.wait_for(r"draining children=1\n")
        talk(second, b"still here")
    server.wait_until_over()


def test_sigterm_again_cuts_draining_short(serve: Serve, launcher: str) -> None:
    server = serve(LONG, launcher=launcher)
    with server.connect() as client:
        talk(client)
        pid = server.child_of(client)
        server.kill()
        server.wait_for("stopping children=")
        server.kill()
        server.wait_for(r"children signalled signal=SIGTERM children=\d+\n")
        assert client.recv(1) == b""
        server.wait_until_over()
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGTERM")


def test_a_program_that_ignores_sigterm_is_killed_at_the_third(serve: Serve) -> None:
    code = """
signal = __import__("signal")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"deaf")
while True: signal.pause()
"""
    server = serve(LONG, program=python_program("exec(os.environ['CODE'])"), env={"CODE": code})
    with server.connect() as client:
        assert read(client, 4) == b"deaf"
        pid = server.child_of(client)
        server.kill()
        server.wait_for("stopping children=")
        server.kill()
        server.wait_for("children signalled signal=SIGTERM ")
        assert state(pid) != ""
        server.kill()
        server.wait_until_over()
    server.wait_for(rf"child ended peer=\S+ pid={pid} signal=SIGKILL")


def test_time_limits_go_on_while_a_server_drains(serve: Serve, launcher: str) -> None:
    server = serve(LONG, "--session-timeout=100", launcher=launcher, steered=True)
    with server.connect() as client:
        talk(client)
        server.kill()
        server.wait_for("stopping children=1 ")
        server.advance(100)
        server.wait_until_over()
    server.wait_for(r"child ended peer=\S+ pid=\d+ signal=SIGTERM .*limit=session-timeout")


def test_who_is_ended_by_draining_gets_no_penalty(serve: Serve) -> None:
    server = serve("--grace=0", "--penalty=100")
    with server.connect() as client:
        talk(client)
        server.stop()
    assert server.find("child ended .* signal=SIGTERM ")
    assert "penalty" not in server.log()


def test_whose_proxy_header_is_awaited_is_refused_when_a_server_drains(serve: Serve) -> None:
    server = serve(LONG, "--proxy-protocol", "--handshake-timeout=1000")
    with server.connect() as client:
        client.sendall(b"PROXY")
        server.wait_until_idle()
        server.stop()
        assert client.recv(1) == b""
    server.wait_for(r"connection refused peer=\S+ reason='shutting down'")


def test_a_killed_reactor_process_leaves_busy_children_to_finish(
    serve: Serve, launcher: str, folder: Path
) -> None:
    """And nobody else: template and spares go by themselves."""
    server = serve(handler="plain:upper", launcher=launcher)
    with server.connect() as client:
        talk(client)
        pid = server.child_of(client)
        server.wait_until_idle(serving=1)
        others = children(server.pid) - {pid}
        assert others
        server.kill(signal.SIGKILL)
        wait_until(server.is_over, "the end of the reactor process")
        for other in others:
            wait_until(lambda other=other: state(other) in ("", "Z"), f"the end of {other}")  # type: ignore[misc]
        talk(client, b"still here")
    wait_until(lambda: state(pid) in ("", "Z"), "the end of the child")
    for orphan in {pid, *others}:
        os.waitpid(orphan, 0)
    # it has not ended as the fixture wants it, which is the point
    server.exit_status = 0


@with_twisted
@pytest.mark.parametrize("options", [(), ("-k5",), ("--max-children=3",)])
async def test_every_connection_that_was_accepted_is_accounted_for(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    server = await deferToThread(lambda: serve(LONG, *options, launcher=launcher))
    crowd = Crowd(reactor, server.address, 12)
    await crowd.next_round()
    server.kill()
    leaving = Deferred.fromCoroutine(crowd.leave())
    await until(reactor, server.is_over, "the end of the server")
    await leaving
    handed = [peer for (peer,) in server.find(r"handed over peer=(\S+) ")]
    assert sorted(handed) == sorted(peer for (peer,) in ends(server))
    assert not re.search(r"child ended peer=\S+ pid=\d+ (?!exit=0)", server.log())
    # whoever was handed over has been answered in full
    assert crowd.answered >= len(handed) - len(server.find("connection refused"))
