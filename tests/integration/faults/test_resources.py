"""
Resources that run out while clients keep coming: they wait, and none is lost.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.peers.clients import read_to_end, talk
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.processes import descriptors, open_files
from tests.integration.servers.serving import Serve

from .load import Books, closing, order, resident, threaded

HANDLER = ".faults.handlers:obeys"


@contextmanager
def descriptors_left(server: Server, number: int) -> Iterator[None]:
    """For a block the reactor process may open so many descriptors more, and no others."""
    soft, hard = open_files(server.pid)
    used = set(descriptors(server.pid))
    limit = 0
    while number >= 0:
        number -= limit not in used
        limit += 1
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit - 1, hard))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))


@with_twisted
@pytest.mark.parametrize("options", [(), ("--idle-timeout=60",)], ids=["plain", "idle"])
async def test_descriptors_run_out(serve: Serve, launcher: str, options: tuple[str, ...]) -> None:
    server = serve(*options, launcher=launcher)
    books = Books(server)
    with closing([books.connect() for _ in range(3)]) as bystanders:
        for bystander in bystanders:
            talk(bystander)
        async with books.crowd(30 if launcher == "fork" else 6) as crowd:
            # to start an interpreter takes several at once
            for number in (0, 1, 2, 3, 5, 8) if launcher == "fork" else (0, 10):
                with descriptors_left(server, number):
                    await threaded(_wait_for_trouble, server, number)
                    for bystander in bystanders:
                        await threaded(talk, bystander, b"still here")
                await crowd.next_round()
    assert "refused" not in server.log()
    books.check()


def _wait_for_trouble(server: Server, number: int) -> None:
    """With none left every client waits; with some, as many as can be get through."""
    if number == 0:
        server.wait_for("(?:accept|launch) failing errno=EMFILE ")
    else:
        served = len(server.find("handed over"))
        try:
            server.wait_for("handed over", served + 5)
        except AssertionError:
            raise AssertionError(f"nobody is served with {number} descriptors left") from None


@with_twisted
async def test_memory_runs_out_in_children(serve: Serve) -> None:
    server = serve("--memory=200M", handler=HANDLER)
    server.expects_traceback = True
    books = Books(server)
    async with books.crowd():
        before = resident(server.pid)
        for _ in range(3):
            with closing([books.connect() for _ in range(2)]) as victims:
                for victim in victims:
                    order(victim, "allocates")
                for victim in victims:
                    assert await threaded(read_to_end, victim) == b""
        await server.logs(r"child wrote pid=\d+ text=MemoryError", 6)
    books.check()
    assert resident(server.pid) < before + 20 * 1024


@pytest.fixture
def tiny_disk(folder: Path) -> Iterator[Callable[[], Callable[[], None]]]:
    """The folder is a disk of 1 MB; call it to fill the disk, and what it returns to make
    room again."""
    options = ["-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")

    def fill() -> Callable[[], None]:
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        return ballast.unlink

    yield fill
    subprocess.run(["umount", "--lazy", folder], check=True)


@with_twisted
async def test_the_disk_is_full_under_the_log(
    tiny_disk: Callable[[], Callable[[], None]], serve: Serve
) -> None:
    server = serve(daemon=True)
    server.expects_traceback = True
    books = Books(server)
    make_room = tiny_disk()
    # whatever is left of the last page
    async with books.crowd() as crowd:
        size = -1
        while size != server.log_file.stat().st_size:
            size = server.log_file.stat().st_size
            await crowd.next_round()
        for _ in range(5):
            await crowd.next_round()
        assert server.log_file.stat().st_size == size, "the disk is full"
    make_room()
    with books.connect() as connection:
        talk(connection)
        server.child_of(connection)
    assert os.path.getsize(server.log_file) > size


@with_twisted
async def test_the_log_may_not_grow(serve: Serve) -> None:
    """As where the disk is full, for those who may mount nothing: writing it fails."""
    server = serve(daemon=True)
    server.expects_traceback = True
    books = Books(server)
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    limit = server.log_file.stat().st_size
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, hard))
    async with books.crowd() as crowd:
        for _ in range(10):
            await crowd.next_round()
    assert server.log_file.stat().st_size == limit
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))
    with books.connect() as connection:
        talk(connection)
        server.child_of(connection)
