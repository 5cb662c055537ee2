"""
kill -9 of a child, of a spare, of the template, while clients keep coming: whoever is not
served by the one that was killed is answered.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.integration.peers.clients import Crowd, ask, read_to_end, talk
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.processes import children, stop
from tests.integration.servers.serving import Serve

STUCK = 5.0
"""Seconds after which the server looks whether anybody does not do what it was asked for."""


def crowd_size(launcher: str) -> int:
    """A spawned child takes a hundred times as long to start as a forked one."""
    return 50 if launcher == "fork" else 10


@asynccontextmanager
async def crowd_at(server: Server) -> AsyncIterator[Crowd]:
    """Clients keep coming, all of whom must be answered, until the end of the block."""
    from twisted.internet import reactor

    crowd = Crowd(reactor, server.address, crowd_size(server.launcher))
    try:
        await crowd.next_round()
        yield crowd
    finally:
        await crowd.leave()
    assert crowd.broken == []


@with_twisted
async def test_nobody_else_notices_that_a_serving_child_is_killed(
    serve: Serve, launcher: str
) -> None:
    server = serve.shared(launcher=launcher)
    with server.connect() as victim, server.connect() as bystander:
        talk(victim)
        talk(bystander)
        pid = server.child_of(victim)
        async with crowd_at(server) as crowd:
            os.kill(pid, signal.SIGKILL)
            await crowd.next_round()
        assert read_to_end(victim) == b""
        server.wait_for(rf"child ended PEER pid={pid} signal=SIGKILL seconds=", of=victim)
        talk(bystander, b"still here")


@with_twisted
async def test_serving_children_may_be_killed_again_and_again(serve: Serve, launcher: str) -> None:
    server = serve.shared(launcher=launcher)
    async with crowd_at(server) as crowd:
        for _ in range(10):
            with server.connect() as victim:
                talk(victim)
                os.kill(server.child_of(victim), signal.SIGKILL)
            await crowd.next_round()
    server.wait_for("child ended peer=.* signal=SIGKILL", times=10)


def test_a_spare_that_is_killed_is_replaced(serve: Serve, launcher: str) -> None:
    server = serve(launcher=launcher, spares=3)
    before = server.spares()
    pid = min(before)
    os.kill(pid, signal.SIGKILL)
    server.wait_for(rf"idle child ended pid={pid} signal=SIGKILL\b")
    server.wait_until_idle()
    assert len(server.spares() - before) == 1
    assert ask(server.address, b"hello") == b"HELLO"


@with_twisted
async def test_connections_that_a_killed_spare_was_given_go_to_others(
    serve: Serve, launcher: str
) -> None:
    server = serve(launcher=launcher, spares=3)
    server.expects_retries = True
    stopped = server.spares()
    stop(*stopped)  # so that each is given a connection, and cannot take it
    async with crowd_at(server) as crowd:
        for pid in stopped:
            with suppress(ProcessLookupError):  # the server has, if this took five seconds
                os.kill(pid, signal.SIGKILL)
        await crowd.next_round()
    for pid in stopped:
        pattern = rf"without serving peer=\S+ pid={pid} signal=SIGKILL tries=1\n"
        server.wait_for(pattern)


@with_twisted
async def test_the_template_may_be_killed_while_clients_keep_coming(serve: Serve) -> None:
    server = serve()
    with server.connect() as bystander:
        talk(bystander)
        running = server.child_of(bystander)
        async with crowd_at(server) as crowd:
            for times in (1, 2, 3):
                pid = server.template()
                os.kill(pid, signal.SIGKILL)
                await server.logs(rf"template ended pid={pid} signal=SIGKILL retry=")
                await server.logs("template ready", times + 1)
                await crowd.next_round()
        assert running in children(server.pid)
        talk(bystander, b"still here")


def test_connections_wait_while_there_is_no_template(serve: Serve) -> None:
    server = serve(spares=0)
    pid = server.template()
    os.kill(pid, signal.SIGKILL)
    server.wait_for(rf"template ended pid={pid} signal=SIGKILL retry=0\.100\n")
    clients = [server.connect() for _ in range(20)]
    for client in clients:
        talk(client)
        client.close()
    server.wait_for("handed over", times=len(clients))
    events = re.findall("template ended|template ready|handed over", server.log())
    assert events[:3] == ["template ready", "template ended", "template ready"]
    assert events[3:] == ["handed over"] * len(clients)


def test_a_stopped_template_is_replaced_and_no_connection_is_lost(serve: Serve) -> None:
    server = serve(spares=0, steered=True)
    pid = server.template()
    stop(pid)
    with server.connect() as client:
        server.advance_until(rf"template stuck pid={pid} seconds=\S+\n", STUCK)
        talk(client)
    server.wait_for(rf"template ended pid={pid} signal=SIGKILL retry=0\.100\n")


def test_a_stopped_spare_is_killed_and_its_connection_goes_to_another(serve: Serve) -> None:
    server = serve(spares=1, steered=True)
    server.expects_retries = True
    (pid,) = server.spares()
    stop(pid)
    with server.connect() as client:
        server.advance_until(rf"child stuck pid={pid} peer=\S+ seconds=\S+\n", STUCK)
        talk(client)
        again = rf"without serving PEER pid={pid} signal=SIGKILL tries=1\n"
        server.wait_for(again, of=client)
