"""
Peers that mean harm, or know no better: whoever means well gets every byte all the same.
"""

from __future__ import annotations

import random
import socket
import time

import pytest

from tests.integration.clients import ask, read, read_to_end, reset, talk
from tests.integration.harness import with_twisted
from tests.integration.processes import descriptors, ticks
from tests.integration.serving import Serve

from .load import Books, closing, order, threaded

HANDLER = ".faults.handlers:obeys"

SILENT = 500


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
async def test_peers_that_say_nothing_until_they_are_sent_away(
    serve: Serve,
) -> None:
    server = serve("--idle-timeout=3", "--max-children=100")
    books = Books(server)
    async with books.crowd(10):
        with closing([]) as silent:
            for _ in range(100):
                silent.append(await threaded(books.connect))
            for connection in silent:
                assert await threaded(read_to_end, connection) == b""
    books.check()
    server.wait_for("child ended peer=.* limit=idle-timeout", 100)


@with_twisted
async def test_a_peer_that_sends_a_byte_now_and_then(serve: Serve) -> None:
    server = serve("--idle-timeout=8")
    books = Books(server)
    async with books.crowd():
        with books.connect() as slow:
            for letter in (b"s", b"l", b"o", b"w"):
                slow.sendall(letter)
                assert await threaded(read, slow, 1) == letter.upper()
                await threaded(time.sleep, 2.5)
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
        for _ in range(20):
            victim = await threaded(books.connect)
            order(victim, "answers_slowly")
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
    server = serve("--session-timeout=4", "--grace=1")
    books = Books(server)
    sent = 0
    async with books.crowd():
        with books.connect() as greedy:
            child = server.child_of(greedy)
            greedy.settimeout(1)
            try:
                while sent < 64 * 1024 * 1024:
                    sent += await threaded(greedy.send, b"g" * 65536)
            except (TimeoutError, ConnectionError):  # or the limit came first
                pass
            # nobody stores what is not read: not the child, not the reactor process
            assert sent < 64 * 1024 * 1024
            await server.logs(rf"child ended peer=\S+ pid={child} .* limit=session-timeout")
            memory = server.find(rf"child ended peer=\S+ pid={child} .* memory=(\d+)K")
            assert int(memory[0][0]) < 64 * 1024
    books.check()


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
                assert await threaded(_read_quietly, connection) in (b"", b"go away")
        async with books.crowd(3):
            pass
    found = books.check()
    assert found["refused"] == 100


def _read_quietly(connection: socket.socket) -> bytes:
    try:
        return read_to_end(connection)
    except ConnectionResetError:
        return b""


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
