"""
A system that makes no more processes for a while: connections wait, none is lost.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.integration.peers.clients import Crowd, read, talk
from tests.integration.servers.commands import Unprivileged
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.serving import Serve


@pytest.fixture
def user() -> Unprivileged:
    """Somebody whose processes are counted: the limit does not hold for root."""
    # A user id of these tests' own, because the limit is on all processes of a user.
    return Unprivileged(uid=1_000_000 + os.getpid())


def forbid_processes(server: Server, user: Unprivileged) -> Callable[[], None]:
    """From now on nobody can make a child for *server*; call what is returned to end that."""
    maker = server.template() if server.launcher == "fork" else server.pid

    def limit(soft: str) -> None:
        # The user does it, since root needs a capability for that which it may not have.
        code = f"r.prlimit({maker}, r.RLIMIT_NPROC, ({soft}, r.getrlimit(r.RLIMIT_NPROC)[1]))"
        command = [user.python, "-c", f"import resource as r; {code}"]
        subprocess.run(command, check=True, cwd="/", **user.popen)

    limit("1")
    return lambda: limit("r.getrlimit(r.RLIMIT_NPROC)[0]")


def test_connections_wait_until_children_can_be_made(
    serve: Serve, launcher: str, user: Unprivileged
) -> None:
    server = serve(user=user, launcher=launcher)
    allow = forbid_processes(server, user)
    clients = [server.connect() for _ in range(20)]
    for client in clients:
        client.sendall(b"hello")
    # The two spares serve the first.
    server.wait_for("handed over", times=2)
    server.wait_for("launch failing errno=EAGAIN reason='Resource temporarily unavailable' retry=")
    served = {server.child_of(clients[0]), server.child_of(clients[1])}
    assert len(served) == 2
    allow()
    for client in clients:
        assert read(client, 5) == b"HELLO"
        client.close()
    server.wait_for("launch recovered")
    assert server.log().count("launch failing") == 1
    assert "refused" not in server.log()


@with_twisted
async def test_a_crowd_waits_through_several_spells(
    serve: Serve, launcher: str, user: Unprivileged
) -> None:
    from twisted.internet import reactor

    server = serve(user=user, launcher=launcher)
    size = 50 if launcher == "fork" else 10
    crowd = Crowd(reactor, server.address, size)
    for spell in (1, 2, 3):
        allow = forbid_processes(server, user)
        await server.logs("launch failing errno=EAGAIN ", spell)
        allow()
        await crowd.next_round()
        await server.logs("launch recovered failures=", spell)
    await crowd.leave()
    assert crowd.broken == []
    # A child that was begun before the spell may come to life in it, which ends it.
    told = [event for (event,) in server.find("(launch failing|launch recovered)")]
    assert told == ["launch failing", "launch recovered"] * (len(told) // 2)


def test_spares_are_made_when_children_can_be_made_again(
    serve: Serve, launcher: str, user: Unprivileged
) -> None:
    server = serve(user=user, launcher=launcher, spares=2)
    allow = forbid_processes(server, user)
    with server.connect() as client:
        talk(client)
    server.wait_for("launch failing")
    allow()
    server.wait_until_idle()
    assert len(server.spares()) == 2
