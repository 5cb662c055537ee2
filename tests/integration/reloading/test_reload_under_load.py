"""
Reloading, by SIGHUP, while connections keep coming: none is lost, and none refused.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.integration.peers.clients import Crowd
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.processes import until
from tests.integration.servers.serving import Serve

from . import changing

CROWD = {"fork": 12, "spawn": 6}
"""More than the places that there are in any of the tests; fewer where each child takes a
hundred times as long to start."""


@with_twisted
@pytest.mark.parametrize("options", [(), ("-k5",), ("--max-children=4",)])
async def test_no_connection_is_lost_or_refused_during_reloads(
    serve: Serve, launcher: str, options: tuple[str, ...]
) -> None:
    server = await deferToThread(
        lambda: serve(*options, handler="plain:upper", launcher=launcher, steered=True)
    )
    crowd = Crowd(reactor, server.address, CROWD[launcher])
    await crowd.next_round()
    for times in range(1, 5):
        server.kill(signal.SIGHUP)
        await server.logs(r"reloaded( pid=\d+)?\n", times)
        await crowd.next_round()
    await crowd.leave()
    assert crowd.broken == []
    assert "connection refused" not in server.log()
    assert "without serving" not in server.log()
    await all_that_were_handed_over_ended(server)


@with_twisted
async def test_no_connection_is_lost_or_refused_while_reloads_fail(
    serve: Serve, folder: Path
) -> None:
    changed = await deferToThread(lambda: changing.start(serve, folder))
    changed.break_it()
    server = changed.server
    served = 0
    for times in range(1, 5):
        server.kill(signal.SIGHUP)
        while len(server.find("reload failed")) < times:
            assert await deferToThread(changed.version) == "a"
            served += 1
    assert served > 0
    assert "connection refused" not in server.log()


async def all_that_were_handed_over_ended(server: Server) -> None:
    """As many connections were served to their end as were handed over."""

    def counts() -> tuple[int, int]:
        ends = server.find(r"(?:child ended|served) peer=\S+ pid=\d+")
        return len(server.find("handed over peer=")), len(ends)

    await until(reactor, lambda: counts()[0] == counts()[1], f"the end of all: {counts()}")
    assert not re.search(r"child ended peer=\S+ pid=\d+ (?!exit=0)", server.log())
