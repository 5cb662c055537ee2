"""
Floods: whatever children and peers pour out, the reactor process is never away for long from
accepting connections.  How long it was is asserted for every server here: see conftest.py.
"""

from __future__ import annotations

import os

from tests.integration.harness import with_twisted
from tests.integration.processes import children
from tests.integration.serving import Serve, forkserve

from .load import Books, closing, order, read_quietly, reap_orphans, threaded

HANDLER = ".faults.handlers:obeys"


@with_twisted
async def test_descendants_that_flood_standard_error_while_children_crash(serve: Serve) -> None:
    server = forkserve(serve, HANDLER)
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
