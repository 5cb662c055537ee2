"""
Handlers that go wrong, in every way there is: each ends as it should, the log says how, and
no other connection notices.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, read, read_to_end
from tests.integration.servers.harness import LOOPBACK, Server, with_twisted
from tests.integration.servers.processes import children, descriptors, ticks, wait_until
from tests.integration.servers.serving import Serve

from .load import Books, closing, gone, order, read_quietly, reap_orphans, threaded

HANDLER = ".faults.handlers:obeys"

LIMIT, GRACE = 600.0, 1.0
"""Seconds by a clock that is moved only when nobody but those whom the limit is for is served."""

SOON = 1.0
"""Seconds after which children have another standard error than one that was shut down."""

LIMITS = ("--memory=200M", "--cpu-seconds=1", f"--session-timeout={LIMIT}", f"--grace={GRACE}")

ENDINGS = {
    "raises": r"exit=1 ",
    "exits": r"exit=3 ",
    "exits_at_once": r"exit=4 ",
    # it is believed, where there is such a limit: it harms nobody else
    "forges_out_of_memory": r"exit=250 .* limit=memory",
    "forges_a_slow_handshake": r"exit=251 (?!.*limit=)",
    "aborts": r"signal=SIGABRT ",
    "crashes": r"signal=SIGSEGV ",
    "recurses": r"exit=1 ",
    "recurses_in_c": r"(?:signal=SIGSEGV|exit=1) ",
    "allocates": r"exit=250 .* limit=memory",
    "spins": r"signal=\w+ .* limit=cpu-seconds",
    "closes_everything": r"exit=\d+ ",
    "sends_descriptors": r"exit=0 ",
}
"""What a handler does, and how its child ends."""

ENDLESS = {
    "sleeps": r"signal=SIGTERM .* limit=session-timeout",
    "ignores_sigterm": r"signal=SIGKILL .* limit=session-timeout",
    "blocks_signals": r"signal=SIGKILL .* limit=session-timeout",
    "resists_in_company": r"signal=SIGKILL .* limit=session-timeout",
}
"""Likewise, where nothing but its time ends it."""


def _ends(how: str) -> str:
    return rf"child ended PEER pid=\d+ {how}"


@with_twisted
async def test_whatever_handlers_do_nobody_else_notices(serve: Serve, launcher: str) -> None:
    size = 30 if launcher == "fork" else 6
    server = serve(*LIMITS, handler=HANDLER, launcher=launcher, steered=True)
    server.expects_traceback = True
    before = children(os.getpid())
    books = Books(server)
    faults = {**ENDINGS, **ENDLESS}
    with closing([books.connect() for _ in faults]) as connections:
        victims = dict(zip(faults, connections, strict=True))
        async with books.crowd(size) as crowd:
            for fault, victim in victims.items():
                order(victim, fault)
            for fault in ENDINGS.keys() - {"spins"}:
                await server.logs(_ends(ENDINGS[fault]), of=victims[fault])
            await crowd.next_round()
        server.wait_for(_ends(ENDINGS["spins"]), of=victims["spins"])
        server.advance_idle(LIMIT, serving=len(ENDLESS))
        server.wait_for(_ends(ENDLESS["sleeps"]), of=victims["sleeps"])
        server.advance_idle(GRACE, serving=len(ENDLESS) - 1)
        async with books.crowd(size):
            for fault, how in ENDLESS.items():
                await server.logs(_ends(how), of=victims[fault])
        for victim in connections:
            read_quietly(victim)
    books.check()
    reap_orphans(before)


@with_twisted
async def test_descendants_may_keep_the_connection_when_their_child_has_ended(
    serve: Serve,
) -> None:
    server = serve(handler=HANDLER)
    books = Books(server)
    async with books.crowd():
        for fault in ("forks_and_leaves", "escapes"):
            with books.connect() as victim:
                order(victim, fault)
                await server.logs(_ends("exit=0"), of=victim)
                holder = int(await threaded(victim.recv, 20))
                # the child has ended, its descendant lives, and is nobody's zombie then
                assert holder not in children(server.pid)
            await _reaped(holder)
    books.check()


async def _reaped(pid: int) -> None:
    """A descendant that was left behind is ours to wait for: see the subreaper."""
    await threaded(os.waitpid, pid, 0)
    await gone(pid)


@with_twisted
@pytest.mark.parametrize("fault", ["floods_stderr", "floods_newlines"])
async def test_a_flood_of_stderr_does_not_drown_the_reactor(serve: Serve, fault: str) -> None:
    server = serve(handler=HANDLER)
    books = Books(server)
    async with books.crowd(), _timed(books) as slowest:
        with books.connect() as victim:
            order(victim, fault)
            assert await threaded(read, victim, 4) == b"done"
    assert len(server.log()) < 20_000_000
    assert max(slowest) < 10
    books.check()


class _timed:
    """While a block lasts, connect now and then and see how long an answer takes."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._going = True
        self._seconds: list[float] = []

    async def __aenter__(self) -> list[float]:
        from twisted.internet.threads import deferToThread

        self._asking = deferToThread(self._ask)
        return self._seconds

    async def __aexit__(self, *exception: object) -> None:
        self._going = False
        await self._asking

    def _ask(self) -> None:
        while self._going:
            begun = time.monotonic()
            self._books.made += 1
            assert ask(self._books.server.address, b"hello") == b"HELLO"
            self._seconds.append(time.monotonic() - begun)
            time.sleep(0.02)


def _is_heard_again(server: Server, books: Books) -> None:
    """In the end there are children whose standard error is logged."""

    def heard() -> bool:
        with books.connect() as connection:
            order(connection, "raises")
            read_quietly(connection)
        return bool(server.find("child wrote pid=.*Traceback"))

    wait_until(heard, "children that are heard")


@with_twisted
async def test_standard_error_that_a_child_shuts_down_does_not_keep_the_reactor_busy(
    serve: Serve,
) -> None:
    server = serve(handler=HANDLER, steered=True)
    server.expects_traceback = True
    template = server.template()
    books = Books(server)
    async with books.crowd() as crowd:
        with books.connect() as victim:
            order(victim, "shuts_stderr_down")
            assert await threaded(read, victim, 4) == b"done"
        await crowd.next_round()
    server.advance_idle(SOON)
    server.wait_for("standard error shut down\n")
    async with books.crowd():
        await threaded(_is_heard_again, server, books)
    books.check()
    assert server.template() == template
    assert "] reload" not in server.log()
    before = ticks(server.pid)
    time.sleep(1)
    assert ticks(server.pid) - before < 20


@pytest.fixture
def listening(serve: Serve) -> Server:
    """A server whose application listens to the messages of handlers."""
    application = Path(__file__).with_name("listening.py")
    return serve(application=application, env={"LISTEN": LOOPBACK})


@with_twisted
async def test_a_flood_of_messages_does_not_drown_the_reactor(listening: Server) -> None:
    books = Books(listening)
    async with books.crowd(), _timed(books) as slowest:
        with closing([books.connect() for _ in range(3)]) as victims:
            for victim in victims:
                order(victim, "tells")
            for victim in victims:
                assert await threaded(read, victim, 4) == b"1000"
    assert max(slowest) < 10
    books.check()
    listening.wait_for("3000 messages of 65536 bytes")


@with_twisted
async def test_a_child_is_given_no_more_connections_than_it_may_serve(listening: Server) -> None:
    books = Books(listening)
    async with books.crowd():
        with books.connect() as victim:
            order(victim, "wants_more")
            assert await threaded(read, victim, 4) == b"done"
            await listening.logs(r"channel protocol error pid=\d+ PEER reason=", of=victim)
    assert "without serving" not in listening.log()
    books.check()


@with_twisted
async def test_a_child_that_babbles_is_killed(listening: Server) -> None:
    books = Books(listening)
    async with books.crowd():
        with books.connect() as victim:
            order(victim, "babbles")
            await listening.logs(_ends("signal=SIGKILL"), of=victim)
            assert await threaded(read_to_end, victim) == b""
    books.check()


def test_descriptors_sent_with_standard_error_are_not_kept(serve: Serve) -> None:
    server = serve(handler=HANDLER)
    books = Books(server)
    before = len(descriptors(server.pid))
    with books.connect() as victim:
        order(victim, "sends_descriptors")
        assert read(victim, 4) == b"done"
        server.wait_for("child wrote pid=.* text='with descriptors")
        server.wait_for(_ends("exit=0"), of=victim)
    server.wait_until_idle()
    assert len(descriptors(server.pid)) <= before
    books.check()
