"""
Peers that mean harm, or know no better: whoever means well gets every byte all the same.
"""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress

import pytest

from tests.integration.peers.clients import Connection, ask, read, read_to_end, reset, talk, unread
from tests.integration.servers.harness import with_twisted
from tests.integration.servers.processes import descriptors, state, ticks, wait_until
from tests.integration.servers.serving import Serve

from .load import Books, closing, order, read_quietly, threaded

HANDLER = ".faults.handlers:obeys"

SILENT = 500

MOST = 64 * 1024 * 1024
"""Bytes that cannot be on their way between two processes."""

LIMIT, GRACE = 600.0, 1.0
"""Seconds by a clock that is moved only when nobody but those whom the limit is for is served."""


@with_twisted
async def test_peers_that_connect_and_say_nothing(serve: Serve) -> None:
    server = serve("--max-children=600")
    books = Books(server)
    async with books.crowd():
        with closing([]) as silent:
            for _ in range(SILENT):
                silent.append(await threaded(books.connect))
            for connection in silent:
                assert server.is_over() is False
                connection.setblocking(False)
            # each has a child of its own, whose price is a descriptor or two
            await threaded(server.wait_for, "handed over", SILENT)
            assert len(descriptors(server.pid)) < 2 * SILENT + 200
            speaker = silent[SILENT // 2]
            speaker.settimeout(60)
            await threaded(talk, speaker)
    books.check()


@with_twisted
async def test_peers_that_say_nothing_until_they_are_sent_away(serve: Serve) -> None:
    server = serve(f"--idle-timeout={LIMIT}", "--max-children=110", steered=True)
    books = Books(server)
    with closing([]) as silent:
        async with books.crowd(10):
            for _ in range(100):
                silent.append(await threaded(books.connect))
        server.advance_idle(LIMIT, serving=100)
        async with books.crowd(10):
            for connection in silent:
                assert await threaded(read_to_end, connection) == b""
    books.check()
    server.wait_for("child ended peer=.* limit=idle-timeout", 100)


@with_twisted
async def test_a_peer_that_sends_a_byte_now_and_then(serve: Serve) -> None:
    server = serve(f"--idle-timeout={LIMIT}", steered=True)
    books = Books(server)
    with books.connect() as slow:
        for letter in (b"s", b"l", b"o", b"w"):
            async with books.crowd():
                slow.sendall(letter)
                assert await threaded(read, slow, 1) == letter.upper()
            server.advance_idle(0.3 * LIMIT, serving=1)
    assert "limit reached" not in server.log()
    books.check()


@with_twisted
async def test_resets_in_the_backlog(serve: Serve) -> None:
    server = serve("--max-children=1")
    books = Books(server)
    with books.connect() as inside:
        talk(inside)
        for _ in range(50):
            waiting = books.connect()
            waiting.sendall(b"hello")
            reset(waiting)
        polite = books.connect()
        polite.sendall(b"polite")
    assert read(polite, 6) == b"POLITE"
    polite.close()
    async with books.crowd():
        pass
    books.check()


@with_twisted
async def test_resets_in_mid_answer(serve: Serve, launcher: str) -> None:
    server = serve(handler=HANDLER, launcher=launcher)
    server.expects_traceback = True
    books = Books(server)
    async with books.crowd(30 if launcher == "fork" else 6):
        victims = [await threaded(books.connect) for _ in range(20)]
        for victim in victims:
            order(victim, "answers_slowly")
        for victim in victims:
            assert await threaded(read, victim, 100_000) == b"y" * 100_000
            reset(victim)
    books.check()


@with_twisted
async def test_half_closed_peers_get_everything(serve: Serve) -> None:
    server = serve()
    books = Books(server)
    question = random.Random(4).randbytes(3_000_000).replace(b"quit", b"----")
    async with books.crowd():
        for _ in range(3):
            books.made += 1
            assert await threaded(_ask_while_reading, server.address, question) == question.upper()
    books.check()


def _ask_while_reading(address: tuple[str, int], question: bytes) -> bytes:
    from threading import Thread

    with socket.create_connection(address, 60) as connection:

        def send() -> None:
            connection.sendall(question)
            connection.shutdown(socket.SHUT_WR)

        sender = Thread(target=send)
        sender.start()
        answer = read_to_end(connection)
        sender.join()
    return answer


@with_twisted
async def test_a_peer_that_sends_much_and_reads_nothing(serve: Serve) -> None:
    options = (f"--session-timeout={LIMIT}", f"--grace={GRACE}")
    server = serve(*options, steered=True)
    books = Books(server)
    with books.connect() as greedy:
        async with books.crowd():
            child = server.child_of(greedy)
            sent = await threaded(_send_until_nobody_reads, greedy, child)
            # nobody stores what is not read: not the child, not the reactor process
            assert sent < MOST
        server.advance_idle(LIMIT, serving=1)
        server.advance(GRACE)
        how = rf"child ended PEER pid={child} .* memory=(\d+) limit=session-timeout"
        (memory,) = server.wait_for(how, of=greedy)
        assert int(memory) < 64 << 20
    async with books.crowd():
        pass
    books.check()


def _send_until_nobody_reads(connection: Connection, child: int) -> int:
    """
    Send as long as *child* reads: until it sleeps though there is something to read.

    :returns: bytes that were sent, MOST or more if it reads on and on.
    """
    connection.setblocking(False)
    sent = 0

    def is_stuck() -> bool:
        nonlocal sent
        with suppress(BlockingIOError):
            while sent < MOST:
                sent += connection.send(b"g" * 65536)
        return sent >= MOST or (state(child) == "S" and unread(connection) > 0)

    wait_until(is_stuck, "a child that reads no more")
    return sent


@with_twisted
async def test_a_tight_loop_from_many_addresses(serve: Serve) -> None:
    server = serve("--rate=3/3600", "--max-per-source=2", "--allow=127.0.0.0/8")
    books = Books(server)
    before = len(descriptors(server.pid))

    def storm() -> int:
        answers = 0
        for _ in range(6):
            for number in range(200):
                with books.connect(f"127.7.{number // 100}.{number % 100 + 1}") as connection:
                    try:
                        connection.sendall(b"hello")
                        connection.shutdown(socket.SHUT_WR)
                        answers += read_to_end(connection) == b"HELLO"
                    except OSError:
                        pass
        return answers

    # every source has three turns, and no more
    assert await threaded(storm) == 600
    found = books.check()
    assert found["refused"] == 600
    assert len(server.find("connection refused")) <= 600
    server.wait_until_idle()
    assert len(descriptors(server.pid)) <= before


@pytest.mark.parametrize("when_full", ["wait", "refuse"])
@with_twisted
async def test_a_flood_of_one_source_leaves_room_for_others(serve: Serve, when_full: str) -> None:
    options = ("--max-per-source=5", "--max-children=20", f"--when-full={when_full}")
    server = serve(*options, "--banner-refused=go away")
    books = Books(server)
    with closing([books.connect("127.9.9.9") for _ in range(5)]) as greedy:
        for connection in greedy:
            talk(connection)
        with closing([books.connect("127.9.9.9") for _ in range(100)]) as more:
            for connection in more:
                assert await threaded(read_quietly, connection) in (b"", b"go away")
        async with books.crowd(3):
            pass
    found = books.check()
    assert found["refused"] == 100


@with_twisted
async def test_silence_costs_no_time(serve: Serve) -> None:
    server = serve("--max-children=300")
    books = Books(server)
    with closing([books.connect() for _ in range(200)]) as silent:
        server.wait_for("handed over", 200)
        server.wait_until_idle(serving=len(silent))
        before = ticks(server.pid)
        await threaded(time.sleep, 1)
        assert ticks(server.pid) - before <= 5
        assert ask(server.address, b"hello") == b"HELLO"
        books.made += 1
    books.check()
