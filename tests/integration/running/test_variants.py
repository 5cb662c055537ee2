"""
Every reactor that twistd offers here, and children that live on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.integration.peers.clients import ask, read_to_end, talk
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import children, descriptors, wait_until, zombies
from tests.integration.servers.serving import Serve


@pytest.mark.parametrize("reactor", ["epoll", "poll", "select", "asyncio"])
def test_every_reactor_serves_and_survives(serve: Serve, reactor: str, launcher: str) -> None:
    server = serve(reactor=reactor, launcher=launcher)
    assert f"{reactor}reactor" in server.log()
    for number in range(20):
        assert ask(server.address, b"hello %d" % number) == b"HELLO %d" % number
    assert_waited_for(server, 20)
    with server.connect() as victim, server.connect() as bystander:
        talk(victim)
        talk(bystander)
        pid = server.child_of(victim)
        os.kill(pid, signal.SIGKILL)
        assert read_to_end(victim) == b""
        server.wait_for(f"child ended PEER pid={pid} signal=SIGKILL", of=victim)
        talk(bystander)
        bystander.sendall(b"\nquit\n")
        assert read_to_end(bystander) == b"\n"
    if launcher == "fork":
        os.kill(server.template(), signal.SIGKILL)
        server.wait_for("template ready", times=2)
    assert ask(server.address, b"hello") == b"HELLO"


def assert_waited_for(server: Server, times: int) -> None:
    """So many children were waited for, and it is known what they used."""
    server.wait_for(r"child ended peer=\S+ pid=\d+ exit=0 ", times)
    used = server.find(r"child ended .* cpu=(\d+\.\d{3})")
    assert len(used) == times, server.tell()
    # a forked child may have used too little to be told
    least = 0.001 if server.launcher == "spawn" else 0.0
    assert all(least <= float(cpu) < 60 for (cpu,) in used)
    wait_until(lambda: not zombies(server.pid), "every child to be waited for")


@pytest.mark.parametrize("reactor", ["poll", "select"])
def test_more_children_than_a_reactor_could_watch_are_served(serve: Serve, reactor: str) -> None:
    # each costs two descriptors, and select(2) knows 1024
    server = serve("-k2", "--max-children=600", reactor=reactor)
    with contextlib.ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(server.connect()) for _ in range(600)]
        for client in clients:
            talk(client)
        assert len(descriptors(server.pid)) > 1024
        os.kill(server.child_of(clients[-1]), signal.SIGKILL)
        assert read_to_end(clients[-1]) == b""
    server.wait_for("served peer=", times=599)
    assert ask(server.address, b"hello") == b"HELLO"
    server.stop()


def test_a_python_that_was_built_on_an_old_system_will_do(
    serve: Serve, tmp_path: Path, launcher: str
) -> None:
    """The os module lacks what that system did not know: see twisted_fork.wire.calls."""
    (tmp_path / "sitecustomize.py").write_text("import os; del os.pidfd_open, os.memfd_create\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    server = serve("-k2", launcher=launcher, before=["env", f"PYTHONPATH={path}"])
    with server.connect() as victim:
        talk(victim)
        pid = server.child_of(victim)
        os.kill(pid, signal.SIGKILL)
        assert read_to_end(victim) == b""
    server.wait_for(f"child ended PEER pid={pid} signal=SIGKILL", of=victim)
    assert ask(server.address, b"hello") == b"HELLO"
    # not waiting until one child too many has been idle for long enough to go
    server.stop()


def test_a_child_serves_as_many_connections_as_it_was_told(serve: Serve, launcher: str) -> None:
    # without spares: who has served one waits for the next, and nobody else does
    server = serve("--connections-per-child=3", launcher=launcher, spares=0)
    for events in (1, 2):
        assert ask(server.address, b"hello") == b"HELLO"
        server.wait_for(r"served peer=\S+ pid=\d+ seconds=\d+\.\d\d\d\b", times=events)
    assert ask(server.address, b"hello") == b"HELLO"
    (child,) = server.wait_for(r"child ended peer=\S+ pid=(\d+) exit=0 seconds=")
    assert server.find(r"handed over peer=\S+ pid=(\d+)\n") == [(child,)] * 3
    server.wait_until_idle()
    assert int(child) not in children(server.pid)


def test_children_that_live_on_serve_everybody(serve: Serve, launcher: str) -> None:
    server = serve("-k", "5", launcher=launcher)
    for number in range(100):
        assert ask(server.address, b"client %d" % number) == b"CLIENT %d" % number
    server.wait_for("handed over", times=100)
    handed_over = server.find(r"handed over peer=\S+ pid=(\d+)\n")
    assert max(handed_over.count(pid) for pid in handed_over) == 5
    assert 20 <= len(set(handed_over)) < 50
    # likewise
    server.stop()


def test_who_is_killed_between_two_connections_is_replaced(serve: Serve, launcher: str) -> None:
    server = serve("-k", "5", launcher=launcher, spares=1)
    assert ask(server.address, b"hello") == b"HELLO"
    (pid,) = server.wait_for(r"served peer=\S+ pid=(\d+) ")
    os.kill(int(pid), signal.SIGKILL)
    server.wait_for(f"idle child ended pid={pid} signal=SIGKILL")
    assert ask(server.address, b"hello") == b"HELLO"
    # likewise
    server.stop()


def test_spares_take_the_connections_that_come(serve: Serve, launcher: str) -> None:
    server = serve.shared(launcher=launcher)
    for _ in range(3):
        # one at a time: a spare that is made meanwhile would be preferred
        server.wait_until_idle()
        waiting = server.spares()
        with server.connect() as client:
            talk(client)
            assert server.child_of(client) in waiting


def test_without_spares_children_are_made_for_the_connections(serve: Serve, launcher: str) -> None:
    server = serve(launcher=launcher, spares=0)
    assert server.spares() == set()
    with server.connect() as client:
        talk(client)
        assert server.spares() == {server.child_of(client)}
    wait_until(lambda: server.spares() == set(), "the child's end")


def test_no_zombie_stays_of_spawned_children_that_are_killed(serve: Serve) -> None:
    server = serve(launcher="spawn", spares=3)
    for pid in server.spares():
        os.kill(pid, signal.SIGKILL)
        server.wait_for(f"idle child ended pid={pid} signal=SIGKILL")
        assert pid not in children(server.pid)
    wait_until(lambda: not zombies(server.pid), "every child to be waited for")
