"""
Handlers of all kinds, unmodified: a callable, a request handler of socketserver, a coroutine
function of asyncio, a protocol or factory of Twisted.  Each knows its real peer.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.peers.clients import ask, read, read_to_end, reset, talk
from tests.integration.servers.harness import LOOPBACK, Server
from tests.integration.servers.processes import children, wait_until
from tests.integration.servers.serving import Serve, ask_json

KNOWING = ["plain:who", "requests_of:Who", "coroutines:who", "protocols:who"]
"""One of each kind, that says who its peer is."""

ENDED = r"child ended PEER pid=\d+ exit=0"


def knowing(serve: Serve, handler: str, launcher: str = "fork") -> Server:
    """A server with one of these."""
    listen = [LOOPBACK, "unix:socket"]
    return serve.shared(handler=handler, launcher=launcher, listen=listen)


@pytest.mark.parametrize("handler", KNOWING)
def test_a_handler_knows_the_real_address_of_its_peer(
    serve: Serve, launcher: str, handler: str
) -> None:
    server = knowing(serve, handler, launcher)
    with server.connect() as connection:
        host, port = connection.getsockname()
        pid = server.child_of(connection)
        told = json.loads(read_to_end(connection))
    assert told["peer"] == [host, port]
    assert told["pid"] == pid
    server.wait_for(rf"child ended PEER pid={pid} exit=0", of=connection)


def test_a_callable_learns_both_addresses_and_how_many_come_from_there(serve: Serve) -> None:
    server = knowing(serve, "plain:who")
    told = ask_json(server.address)
    assert told["peer"] == told["getpeername"] == told["info_peer"]
    assert tuple(told["info_local"]) == server.address
    assert told["number"] == 1
    assert told["extras"] == {}


def test_a_request_handler_finds_what_it_may_ask_of_its_server(serve: Serve) -> None:
    server = knowing(serve, "requests_of:Who")
    told = ask_json(server.address)
    assert tuple(told["local"]) == server.address
    assert told["handler"] == "Who"


def test_forked_children_share_what_was_imported_once(serve: Serve) -> None:
    server = knowing(serve, "plain:who")
    told = [ask_json(server.address) for _ in range(6)]
    assert len({each["imported"] for each in told}) == 1
    assert len({each["pid"] for each in told}) == 6


def test_spawned_children_import_for_themselves(serve: Serve) -> None:
    server = knowing(serve, "plain:who", "spawn")
    told = [ask_json(server.address) for _ in range(3)]
    assert len({each["imported"] for each in told}) == 3


def test_a_handler_may_be_served_on_a_unix_socket(serve: Serve) -> None:
    told = ask_json(str(knowing(serve, "plain:who").folder / "socket"))
    assert told["peer"] == ""
    assert told["info_local"] == "socket"


def test_a_factory_builds_for_the_real_address(serve: Serve) -> None:
    assert_built_for_its_peer(ask_json(knowing(serve, "protocols:who").address))


def assert_built_for_its_peer(told: dict[str, Any]) -> None:
    assert told["kind"] == "IPv4Address"
    assert told["peer"] == told["built_for"]


@pytest.mark.parametrize("handler", ["plain:made.method", "coroutines:upper", "protocols:Upper"])
def test_a_handler_talks_with_its_client(serve: Serve, handler: str) -> None:
    server = serve.shared(handler=handler)
    with server.connect() as connection:
        for word in (b"one", b"two words\n", b"a" * 100_000):
            connection.sendall(word)
            assert read(connection, len(word)) == word.upper()
        pid = server.child_of(connection)
    server.wait_for(rf"child ended PEER pid={pid} exit=0", of=connection)


@pytest.mark.parametrize("handler", ["plain:made", "requests_of:UpperBytes", "coroutines:upper"])
def test_a_client_that_ends_its_side_gets_all_that_it_was_sent(serve: Serve, handler: str) -> None:
    question = b"much of it" * 100_000
    assert ask(serve.shared(handler=handler).address, question) == question.upper()


# Each kind's own


def test_a_callable_may_close_its_connection_itself(serve: Serve) -> None:
    server = serve(handler="plain:closes")
    with server.connect() as connection:
        assert read_to_end(connection) == b"bye"
    server.wait_for(ENDED, of=connection)


def test_a_stream_request_handler_is_set_up_and_finished(serve: Serve, launcher: str) -> None:
    server = serve(handler="requests_of:Upper", launcher=launcher, spares=0)
    assert ask(server.address, b"one\ntwo\n") == b"welcome\nONE\nTWO\ngoodbye\n"


def test_what_a_coroutine_has_written_is_sent_when_it_returns(serve: Serve, launcher: str) -> None:
    server = serve(handler="coroutines:leaves", launcher=launcher, spares=0)
    with server.connect() as connection:
        assert read_to_end(connection) == b"x" * 1_000_000


def test_protocols_of_twisted_itself_are_served(serve: Serve, launcher: str) -> None:
    server = serve(handler=".twisted.protocols.wire:Echo", launcher=launcher, spares=0)
    with server.connect() as connection:
        connection.sendall(b"as it is")
        assert read(connection, 8) == b"as it is"
    server.wait_for(ENDED, of=connection)


def test_a_child_ends_when_its_protocols_connection_is_lost(serve: Serve) -> None:
    server = serve(handler=".twisted.protocols.wire:Chargen")
    with server.connect() as connection:
        assert len(read(connection, 1_000_000)) == 1_000_000
        pid = server.child_of(connection)
        assert pid in children(server.pid)
    wait_until(lambda: pid not in children(server.pid), "the child's end")
    server.wait_for(rf"child ended PEER pid={pid} exit=0", of=connection)


def test_a_line_receiver_serves_and_hangs_up(serve: Serve, launcher: str) -> None:
    server = serve(handler="protocols:Lines", launcher=launcher, spares=0)
    with server.connect() as connection:
        connection.sendall(b"alice\r\nbob\r\nbye\r\n")
        assert read_to_end(connection) == b"hello, alice\r\nhello, bob\r\n"
    server.wait_for(ENDED, of=connection)


def test_a_class_of_factories_will_do_and_nobody_hears_of_each_that_is_made(serve: Serve) -> None:
    server = serve("--quiet", handler="protocols:WhoFactory")
    assert_built_for_its_peer(ask_json(server.address))
    server.stop()
    assert "factory" not in server.log()


def test_a_factory_that_refuses_closes_the_connection(serve: Serve) -> None:
    server = serve(handler="protocols:Nobody")
    with server.connect() as connection:
        assert read_to_end(connection) == b""
    server.wait_for(ENDED, of=connection)


def test_a_factory_is_started_and_stopped(serve: Serve) -> None:
    server = serve(handler="protocols:Counting")
    with server.connect() as connection:
        talk(connection)
    server.wait_for("factory started")
    server.wait_for("lost: ConnectionDone")
    server.wait_for("factory stopped")


def test_a_peer_that_has_gone_before_a_reactor_runs_is_no_fault(serve: Serve) -> None:
    server = serve(handler="protocols:Upper", launcher="spawn", spares=0)
    connection = server.connect()
    reset(connection)
    server.wait_for(ENDED, of=connection)


# Children and what they share


@pytest.mark.parametrize("handler", ["plain:who", "requests_of:Who", "coroutines:who"])
def test_a_child_serves_several_connections(serve: Serve, launcher: str, handler: str) -> None:
    server = serve("-k3", handler=handler, launcher=launcher, spares=0)
    peers, pids = [], []
    for number in range(6):
        told = ask_json(server.address)
        peers.append(tuple(told["peer"]))
        pids.append(told["pid"])
        # it is over, one way or the other, before the next one comes
        server.wait_for(r"(?:served|child ended) peer=", number + 1)
    assert len(set(peers)) == 6
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5]
    server.wait_for(r"served peer=\S+ pid=\d+ seconds=", 4)
    server.wait_for(rf"child ended peer=\S+ pid={pids[0]} exit=0")
