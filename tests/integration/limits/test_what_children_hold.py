"""
What the processes are given and what they are kept from: descriptors, limits, process
groups, and Twisted, which neither the template nor a forked child ever loads.
"""

from __future__ import annotations

import os
import re
import resource

import pytest

from tests.integration.peers.clients import ask, inode_of_servers_end, talk
from tests.integration.servers.commands import limited
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, descriptors, group, mapped, open_files
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command

STREAMS = {0, 1, 2}


def assert_holds_streams_and(pid: int, server: Server, more: int) -> set[str]:
    """The standard streams are what they should be; what else there is leads to *more* things."""
    held = descriptors(pid)
    streams = {number: held.pop(number) for number in STREAMS}
    assert streams[0] == os.devnull
    assert streams[1] == streams[2]
    assert streams[2].startswith("socket:")
    assert len(held) == len(set(held.values())) == more
    assert all(target.startswith("socket:") for target in held.values())
    return set(held.values())


def test_a_forked_child_holds_its_connection_and_nothing_else(
    serve: Serve,
) -> None:
    for server in (serve.shared(spares=0), serve.shared()):
        # Clients before it, whose connections it must not have inherited.
        clients = [server.connect() for _ in range(4)]
        for client in clients:
            talk(client)
        # A spare closes its channel when it has had its last connection.
        held = [assert_holds_streams_and(server.child_of(c), server, 1) for c in clients]
        assert held == [{inode_of_servers_end(client)} for client in clients]
        for client in clients:
            client.close()


def test_a_spawned_child_holds_its_connection_and_nothing_else(
    serve: Serve,
) -> None:
    server = serve.shared(launcher="spawn")
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        talk(client)
        held = assert_holds_streams_and(server.child_of(client), server, 1)
        assert held == {inode_of_servers_end(client)}
    for client in clients:
        client.close()


def test_a_child_that_lives_on_holds_its_channel_too(serve: Serve, launcher: str) -> None:
    for spares in (0, 2):
        server = serve("-k3", launcher=launcher, spares=spares)
        with server.connect() as client:
            talk(client)
            held = assert_holds_streams_and(server.child_of(client), server, 2)
            assert inode_of_servers_end(client) in held
        # Not waiting until one spare too many has been idle for long enough to go.
        server.stop()


def test_a_spare_holds_its_channel_and_nothing_else(serve: Serve, launcher: str) -> None:
    server = serve.shared(launcher=launcher)
    channels = [assert_holds_streams_and(pid, server, 1) for pid in server.spares()]
    assert len(channels) == len(set.union(*channels)) == 2


def test_the_template_holds_its_channel_and_nothing_else(serve: Serve) -> None:
    server = serve.shared()
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        talk(client)
    server.wait_until_idle(serving=len(clients))
    assert_holds_streams_and(server.template(), server, 1)
    for client in clients:
        client.close()


def test_every_child_leads_a_process_group_of_its_own(serve: Serve, launcher: str) -> None:
    server = serve.shared(launcher=launcher)
    with server.connect() as client:
        talk(client)
        server.child_of(client)
        # a spawned spare that has just been started does not lead one yet
        server.wait_until_idle(serving=1)
        everybody = children(server.pid)
        assert len(everybody) >= server.idle_children
        assert {group(pid) for pid in everybody} == everybody
        assert group(server.pid) not in everybody


def test_the_soft_limit_on_open_files_is_raised_but_not_for_children(
    serve: Serve, launcher: str
) -> None:
    hard = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    server = serve(launcher=launcher, before=limited(700, hard))
    with server.connect() as client:
        talk(client)
        server.child_of(client)
        # one that is just being spawned has the server's limit for a moment
        server.wait_until_idle(serving=1)
        assert open_files(server.pid) == (hard, hard)
        assert {open_files(pid) for pid in children(server.pid)} == {(700, hard)}


def test_the_reactor_process_alone_has_twisted_in_its_memory(serve: Serve, launcher: str) -> None:
    # Twisted itself is plain Python, which is not mapped; what it needs is.
    compiled = re.compile(r"/zope/interface/\S*\.so")
    server = serve.shared(launcher=launcher)
    if not compiled.search(mapped(server.pid)):
        pytest.skip("zope.interface is not compiled here")
    with server.connect() as client:
        talk(client)
        server.child_of(client)
        # until it executes, a process that is being spawned has its parent's memory
        server.wait_until_idle(serving=1)
        for pid in children(server.pid):
            assert "python" in mapped(pid)
            assert not compiled.search(mapped(pid))


@pytest.mark.parametrize("options", [["-k1"], ["-k2"]], ids=" ".join)
def test_what_is_opened_is_closed_again_as_development_mode_sees(
    serve: Serve, launcher: str, options: list[str]
) -> None:
    before = ["env", "PYTHONDEVMODE=1"]
    for spares in (0, 2):
        # twistd itself leaves standard input unclosed, which it is told of
        server = serve(*options, before=before, launcher=launcher, spares=spares, noisy=True)
        for _ in range(3):
            assert ask(server.address, b"hello") == b"HELLO"
        server.wait_for("(?:child ended|served) peer=", times=3)
        server.stop()
        assert "Warning" not in server.log()
