"""
Signals to any of the processes, under load: nobody notices who is not served by the victim.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, read, read_to_end, talk
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.processes import children, state, stop, until
from tests.integration.servers.serving import Serve

from .load import Books, closing, reap_orphans, threaded

KILL, STOP, SEGV = signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV

HANDLER = ".faults.handlers:obeys"

LIMIT, GRACE = 600.0, 1.0
"""Seconds by a clock that is moved only when nobody but those whom the limit is for is served."""

CRASHES = 5.0
"""Seconds at most without new spares after those that there were have been killed."""

STUCK = 5.0
"""Seconds after which the server looks whether anybody does not do what it was asked for."""


@with_twisted
@pytest.mark.parametrize("number", [KILL, SEGV], ids=["kill", "segv"])
async def test_signals_to_serving_children(
    serve: Serve, launcher: str, number: signal.Signals
) -> None:
    server = serve(launcher=launcher)
    books = Books(server)
    async with books.crowd(30 if launcher == "fork" else 6) as crowd:
        with closing([books.connect() for _ in range(8)]) as victims:
            for victim in victims:
                await threaded(talk, victim)
            pids = [server.child_of(victim) for victim in victims]
            for pid in pids[:-1]:
                os.kill(pid, number)
            await crowd.next_round()
            for victim, pid in zip(victims[:-1], pids[:-1], strict=True):
                assert await threaded(read_to_end, victim) == b""
                await server.logs(rf"child ended PEER pid={pid} signal={number.name} ", of=victim)
            await threaded(talk, victims[-1], b"still here")
    books.check()


@with_twisted
async def test_a_serving_child_that_is_stopped(serve: Serve, launcher: str) -> None:
    options = (f"--session-timeout={LIMIT}", f"--grace={GRACE}")
    server = serve(*options, handler=HANDLER, launcher=launcher, steered=True)
    books = Books(server)
    with books.connect() as continued, books.connect() as victim:
        async with books.crowd(30 if launcher == "fork" else 6) as crowd:
            for connection in (continued, victim):
                await threaded(talk, connection)
            pids = [server.child_of(connection) for connection in (continued, victim)]
            stop(*pids)
            await crowd.next_round()
            os.kill(pids[0], signal.SIGCONT)
            await threaded(talk, continued, b"goes on")
            continued.close()
        # a time limit ends even a child that cannot obey
        server.wait_for("child ended PEER ", of=continued)
        server.advance_idle(LIMIT, serving=1)
        server.advance(GRACE)
        server.wait_for(rf"child ended PEER pid={pids[1]} .* limit=session-timeout", of=victim)
    async with books.crowd(30 if launcher == "fork" else 6):
        pass
    books.check()


@with_twisted
@pytest.mark.parametrize("number", [KILL, SEGV], ids=["kill", "segv"])
async def test_signals_to_spares(serve: Serve, launcher: str, number: signal.Signals) -> None:
    server = serve(launcher=launcher, spares=4, steered=True)
    server.expects_retries = True
    books = Books(server)
    async with books.crowd(30 if launcher == "fork" else 6) as crowd:
        for _ in range(5):
            for pid in children(server.pid) - {server.template() if launcher == "fork" else 0}:
                with suppress(ProcessLookupError):
                    _signal_a_spare(pid, number)
            await crowd.next_round()
    books.check()
    server.advance_idle(CRASHES, missing=4)


def _signal_a_spare(pid: int, number: signal.Signals) -> None:
    """But none that serves, whose client would be cut off."""
    if not _serves(pid):
        os.kill(pid, STOP)
        if not _serves(pid):
            os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)


def _serves(pid: int) -> bool:
    """Whether a process has a TCP connection, or is no spare of ours any more."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return True
    sockets = {link[8:-1] for link in links if link.startswith("socket:")}
    return bool(sockets & {line.split()[9] for line in Path("/proc/net/tcp").open()}) or (
        not sockets
    )


@with_twisted
async def test_spares_that_are_stopped(serve: Serve) -> None:
    server = serve(spares=3, steered=True)
    server.expects_retries = True
    books = Books(server)
    pids = server.spares()
    stop(*pids)
    with closing([books.connect() for _ in pids]) as waiting:
        for connection in waiting:
            connection.sendall(b"hello")
        async with books.crowd(10) as crowd:
            await crowd.next_round()
        server.advance_idle(STUCK, serving=len(pids))
        for pid in pids:
            server.advance_until(rf"child stuck pid={pid} peer=\S+ seconds=\S+\n", STUCK)
        for connection in waiting:
            assert await threaded(read, connection, 5) == b"HELLO"
            server.wait_for(r"without serving PEER pid=\d+ .* tries=1\n", of=connection)
    for pid in pids:
        assert len(server.find(rf"without serving peer=\S+ pid={pid} ")) == 1
    async with books.crowd(10):
        pass
    books.check()


@with_twisted
async def test_signals_to_the_template(serve: Serve) -> None:
    from twisted.internet import reactor

    server = serve(steered=True)
    books = Books(server)
    with books.connect() as bystander:
        talk(bystander)
        async with books.crowd(pause=0) as crowd:
            for times, number in enumerate((KILL, SEGV, STOP), 1):
                pid = server.template()
                os.kill(pid, number)
                if number == STOP:
                    # who is left besides the bystander's child: all others wait for it
                    await until(reactor, lambda: len(children(server.pid)) == 2, "it, and one more")
                    server.advance_until(rf"template stuck pid={pid}\b", STUCK)
                name = KILL.name if number == STOP else number.name
                await server.logs(rf"template ended pid={pid} signal={name} retry=")
                await server.logs("template ready", times + 1)
                await crowd.next_round()
        talk(bystander, b"still here")
    assert len(set(server.find(r"template stuck pid=(\d+)"))) == 1
    books.check()


@with_twisted
async def test_a_template_that_has_served_is_replaced_at_once_again_and_again(
    serve: Serve,
) -> None:
    """Whenever there is another and it has served somebody, it is killed."""
    server = serve(spares=0)
    books = Books(server)
    async with books.crowd() as crowd:
        for times in range(1, 13):
            await crowd.next_round()
            os.kill(server.template(), KILL)
            await server.logs("template ready", times + 1)
        await crowd.next_round()
    assert {*server.find("template ended .* retry=(.*)\n")} == {("0.000",)}
    assert "launch failing" not in server.log()
    books.check()


@with_twisted
async def test_template_spares_and_children_all_at_once(serve: Serve) -> None:
    """Whoever is left begins anew; only those who were being served lose anything."""
    server = serve(spares=3)
    server.expects_retries = True
    books = Books(server)
    with closing([books.connect() for _ in range(3)]) as victims:
        for victim in victims:
            talk(victim)
        for pid in children(server.pid):
            os.kill(pid, KILL)
        for victim in victims:
            assert read_to_end(victim) == b""
        async with books.crowd():
            await server.logs("template ready", 2)
    books.check()


@with_twisted
async def test_when_the_reactor_process_is_killed_busy_children_finish(
    serve: Serve, launcher: str
) -> None:
    from twisted.internet import reactor

    before = children(os.getpid())
    server = serve.application(Server, spares=3, launcher=launcher)
    server.wait_until_ready()
    books = Books(server)
    with closing([books.connect() for _ in range(20)]) as busy:
        for connection in busy:
            talk(connection)
        serving = {server.child_of(connection) for connection in busy}
        server.wait_until_idle(serving=len(busy))
        own = children(server.pid)
        idle = own - serving
        server.kill(KILL)
        await until(reactor, server.is_over, "the server's end")
        await until(reactor, lambda: _ended(idle), "the end of template and spares")
        for connection in busy:
            talk(connection, b"still served")
    reap_orphans(before)
    assert {*map(state, own)} == {""}
    assert server.exit_status == -KILL


def _ended(pids: set[int]) -> bool:
    """Nobody but the reactor process was to wait for them; as orphans they are ours."""
    for pid in pids:
        if state(pid) == "Z":
            os.waitpid(pid, 0)
    return {*map(state, pids)} == {""}


@with_twisted
async def test_when_the_reactor_process_is_killed_under_load_nobody_is_left(serve: Serve) -> None:
    from twisted.internet import reactor

    before = children(os.getpid())
    server = serve.application(Server, "--connections-per-child=5", spares=4)
    server.wait_until_ready()
    books = Books(server)
    crowd = None
    try:
        async with books.crowd(pause=0) as crowd:
            server.kill(KILL)
            await until(reactor, server.is_over, "the server's end")
    except AssertionError:
        # clients find nobody there: that is what they shall find, and no silence
        assert crowd is not None
        told = "(?i)refused|lost|closed|reset|answered with b''"
        assert all(re.search(told, each) for each in crowd.broken)
    reap_orphans(before)
    again = serve(spares=1)
    assert ask(again.address, b"hello") == b"HELLO"
