"""
Many connections: at once through a narrow door, and one after the other.
"""

from __future__ import annotations

import re

from twisted.internet.defer import Deferred, DeferredQueue, gatherResults

from tests.integration.peers.clients import Caller, ask, call
from tests.integration.servers.harness import with_twisted
from tests.integration.servers.processes import DEADLINE, children
from tests.integration.servers.serving import Serve

CLIENTS = 500
PLACES = 50


def most_at_once(log: str) -> int:
    """How many connections were with a child at the same time, as the log tells it."""
    now = most = 0
    for event in re.findall(r"(handed over|child ended|served) peer=", log):
        now += 1 if event == "handed over" else -1
        most = max(most, now)
    return most


@with_twisted
async def test_500_clients_are_answered_through_50_places(serve: Serve) -> None:
    from twisted.internet import reactor

    server = serve(f"--max-children={PLACES}")
    answered: DeferredQueue[Caller] = DeferredQueue()

    async def come(number: int) -> Caller:
        client = await call(reactor, server.address, b"client %d" % number)
        client.answered.addCallback(lambda _: answered.put(client))
        return client

    async def next_answered() -> Caller:
        return await answered.get().addTimeout(DEADLINE, reactor)

    clients = await gatherResults([Deferred.fromCoroutine(come(n)) for n in range(CLIENTS)])
    inside = [await next_answered() for _ in range(PLACES)]
    for _ in range(CLIENTS - PLACES):
        # The house is full whenever somebody leaves: one place too many would be taken.
        inside.pop(0).hang_up()
        inside.append(await next_answered())
    for client in inside:
        client.hang_up()
    answers = await gatherResults([client.ended for client in clients])
    assert answers == [b"CLIENT %d" % number for number in range(CLIENTS)]
    await server.logs("child ended peer=.* exit=0", CLIENTS)
    assert most_at_once(server.log()) == PLACES


@with_twisted
async def test_who_finds_no_place_waits_for_one(serve: Serve) -> None:
    from twisted.internet import reactor

    server = serve("--max-children=1", spares=1)
    first, second, third = [
        await call(reactor, server.address, text) for text in (b"first", b"second", b"third")
    ]
    await first.answered
    await server.logs("handed over")
    assert not second.answered.called
    assert len(server.find("handed over")) == 1
    first.hang_up()
    await second.answered
    assert not third.answered.called
    second.hang_up()
    third.hang_up()
    assert await gatherResults([first.ended, second.ended]) == [b"FIRST", b"SECOND"]
    await third.ended


def test_2000_connections_one_after_the_other_leave_nothing_behind(
    serve: Serve,
) -> None:
    server = serve()
    for number in range(2000):
        question = b"client %d" % number
        assert ask(server.address, question) == question.upper()
    server.wait_for("child ended peer=.* exit=0", times=2000)
    server.check_nothing_is_left()
    pids = re.findall(r"handed over peer=\S+ pid=(\d+)\n", server.log())
    assert len(pids) == 2000
    assert not set(map(int, pids)) & children(server.pid)
