"""
Floods: whatever children and peers pour out, the reactor process is never away for long from
accepting connections.  How long it was is asserted for every server here: see conftest.py.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.integration.peers.clients import Connection, ask, read, read_to_end, unread
from tests.integration.servers.harness import with_twisted
from tests.integration.servers.processes import children, descendants, state, wait_until
from tests.integration.servers.serving import Serve, python_program

from .load import Books, closing, order, read_quietly, reap_orphans, threaded

HANDLER = ".faults.handlers:obeys"

LIMIT, GRACE = 600.0, 1.0
"""Seconds by a clock that is moved only when nobody but those whom the limit is for is served."""


@with_twisted
async def test_descendants_that_flood_standard_error_while_children_crash(serve: Serve) -> None:
    server = serve(handler=HANDLER)
    before = children(os.getpid())
    books = Books(server)
    async with books.crowd():
        with closing([books.connect() for _ in range(2)]) as flooding:
            for connection in flooding:
                order(connection, "goes_on_flooding")
                assert await threaded(connection.recv, 20)
            with closing([books.connect() for _ in range(20)]) as crashing:
                for connection in crashing:
                    order(connection, "exits_at_once")
                for connection in crashing:
                    await threaded(read_quietly, connection)
            await server.logs("child ended peer=.* exit=4 ", 20)
    books.check()
    reap_orphans(before)


@with_twisted
async def test_descendants_that_write_a_byte_at_a_time_while_children_crash(serve: Serve) -> None:
    server = serve(handler=HANDLER)
    before = children(os.getpid())
    books = Books(server)
    async with books.crowd(10):
        with books.connect() as writing:
            order(writing, "goes_on_writing_letters")
            assert await threaded(read, writing, 4) == b"done"
            with closing([books.connect() for _ in range(20)]) as crashing:
                for connection in crashing:
                    order(connection, "exits_at_once")
                for connection in crashing:
                    await threaded(read_quietly, connection)
            await server.logs("child ended peer=.* exit=4 ", 20)
    books.check()
    reap_orphans(before)


def test_programs_that_flood_standard_error(serve: Serve) -> None:
    options = (f"--session-timeout={LIMIT}", f"--grace={GRACE}")
    server = serve(*options, program=["/bin/sh", "-c", "exec yes >&2"], steered=True)
    with closing([server.connect() for _ in range(12)]) as connections:
        server.wait_for("handed over", 12)
        server.wait_for(r"standard error dropped bytes=\d+\n")
        server.advance(LIMIT)
        for connection in connections:
            assert read_to_end(connection) == b""
    server.wait_for("child ended peer=.* limit=session-timeout", 12)
    assert server.log_file.stat().st_size < 10_000_000


def test_what_a_program_leaves_behind_is_heard_and_does_not_keep_the_server(serve: Serve) -> None:
    before = children(os.getpid())
    code = "(setsid sh -c 'while echo still here >&2; do sleep 0.05; done' </dev/null >/dev/null &)"
    server = serve(program=["/bin/sh", "-c", code])
    assert ask(server.address, b"") == b""
    server.wait_for("child ended peer=.* exit=0")
    server.wait_for("child wrote pid=.* text='still here", len(server.find("still here")) + 2)
    server.stop()
    # nobody hears it any more
    reap_orphans(before)


def test_no_program_can_change_the_flags_of_anothers_standard_error(serve: Serve) -> None:
    code = "print(os.get_blocking(2)); os.set_blocking(2, False); sys.stdin.read()"
    server = serve(program=python_program(code))
    with server.connect() as first, server.connect() as second:
        for connection in (first, second):
            assert read(connection, 5) == b"True\n"


def test_flags_that_a_child_leaves_behind_are_not_those_of_the_next(
    serve: Serve, launcher: str
) -> None:
    server = serve(handler=HANDLER, launcher=launcher, spares=0)
    for _ in range(2):
        assert ask(server.address, b"!makes_stderr_nonblocking") == b"1"


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(
            ("--user=nobody", "--processes=20"),
            marks=pytest.mark.skipif(os.getuid() != 0, reason="only root has others serve"),
        ),
    ],
    ids=["free", "limited"],
)
@with_twisted
async def test_fork_bombs(serve: Serve, options: tuple[str, ...]) -> None:
    limits = (f"--session-timeout={LIMIT}", f"--grace={GRACE}")
    server = serve(*limits, *options, handler=HANDLER, steered=True)
    before = children(os.getpid())
    books = Books(server)
    with closing([books.connect() for _ in range(3)]) as bombs:
        async with books.crowd(10) as crowd:
            for connection in bombs:
                order(connection, "forks_without_end")
            for connection in bombs:
                child = server.child_of(connection)
                await threaded(_wait_until_it_forks_no_more, connection, child)
            await crowd.next_round()
        server.advance_idle(LIMIT, serving=len(bombs))
        server.advance(GRACE)
        for connection in bombs:
            read_quietly(connection)
            server.wait_for("child ended PEER .* limit=session-timeout", of=connection)
    async with books.crowd(10):
        pass
    books.check()
    reap_orphans(before)


def _wait_until_it_forks_no_more(connection: Connection, pid: int) -> None:
    """It has read its order, and it and all that it has forked wait for the connection's end."""

    def waits() -> bool:
        own = {pid, *descendants(pid)}
        asleep = unread(connection) == 0 and {*map(state, own)} == {"S"}
        return asleep and own == {pid, *descendants(pid)}

    wait_until(waits, f"{pid} forks no more")


@with_twisted
async def test_the_log_is_rotated_under_load(serve: Serve) -> None:
    server = serve(daemon=True)
    books = Books(server)
    async with books.crowd() as crowd:
        for number in range(1, 4):
            server.kill(signal.SIGUSR1)
            rotated = server.folder / f"log.{number}"
            await threaded(wait_until, rotated.exists, f"{rotated}")
            server.mark()  # the log is read on in the new file
            await crowd.next_round()
    books.check()


def test_proxy_headers_of_very_many_parts(serve: Serve) -> None:
    server = serve("--proxy-protocol", "--handshake-timeout=60")
    parts = b"\xe0\0\0" * 21_000
    addresses = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2])
    size = (len(addresses) + len(parts)).to_bytes(2, "big")
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + size + addresses + parts
    with closing([server.connect() for _ in range(40)]) as connections:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for connection in connections:
                connection.sendall(header + b"hello")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        for connection in connections:
            assert read(connection, 5) == b"HELLO"
