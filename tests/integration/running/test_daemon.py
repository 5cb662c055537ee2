"""
The server in the background, behind several kinds of ports, and as somebody else.
"""

from __future__ import annotations

import os
import random
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.peers.clients import Address, ask, connect, talk
from tests.integration.servers.commands import Unprivileged
from tests.integration.servers.harness import LOOPBACK
from tests.integration.servers.processes import children, status
from tests.integration.servers.serving import Serve

pytestmark = pytest.mark.command


@pytest.fixture
def privileged_port() -> Iterator[int]:
    """
    A TCP port that only root may open.  Nobody else takes it meanwhile: it is bound, though nobody
    listens there.
    """
    for port in random.sample(range(512, 1024), 512):
        with socket.socket() as holder:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind(("127.0.0.1", port))
            except OSError:
                continue
            yield port
            return
    raise LookupError("no port is free")


def test_a_daemon_writes_its_pid_and_its_log_and_removes_the_pid_file(
    serve: Serve, launcher: str
) -> None:
    server = serve(daemon=True, launcher=launcher)
    assert os.getsid(server.pid) != os.getsid(0)
    assert ask(server.address, b"hello") == b"HELLO"
    server.wait_for("child ended peer=.* exit=0")
    server.check_nothing_is_left()
    assert server.pid_file.exists()
    server.stop()
    assert not server.pid_file.exists()
    assert "Server Shut Down" in server.log()


def test_a_daemon_survives_the_death_of_its_template(serve: Serve) -> None:
    server = serve(daemon=True)
    os.kill(server.template(), 9)
    server.wait_for("template ready", times=2)
    assert ask(server.address, b"hello") == b"HELLO"


@pytest.mark.skipif(os.getuid() != 0, reason="it takes root to become somebody else")
def test_ports_are_opened_by_root_and_children_run_as_somebody_else(
    serve: Serve, launcher: str, privileged_port: int
) -> None:
    user = Unprivileged()
    server = serve(
        launcher=launcher,
        listen=[f"tcp:{privileged_port}:interface=127.0.0.1"],
        user=user,
        root_starts_it=True,
        daemon=True,
    )
    with server.connect() as client:
        talk(client)
        child = server.child_of(client)
        for pid in {server.pid, child, *children(server.pid)}:
            for field in ("Uid", "Gid"):
                assert set(status(pid, field).split()) == {str(user.uid)}


def test_a_unix_socket_has_the_mode_asked_for_and_is_removed(
    serve: Serve, folder: Path, launcher: str
) -> None:
    path = folder / "socket"
    server = serve(listen=[f"unix:{path}:mode=600"], launcher=launcher)
    assert server.addresses == [f"unix {path}"]
    assert stat.filemode(path.stat().st_mode) == "srw-------"
    assert ask(str(path), b"hello") == b"HELLO"
    server.wait_for(rf"handed over peer=unix:uid={os.getuid()},pid={os.getpid()} pid=\d+")
    server.check_nothing_is_left()
    server.stop()
    assert [file for file in folder.iterdir() if not file.is_dir()] == []


def test_ipv6(serve: Serve, launcher: str) -> None:
    server = serve(listen=[r"tcp6:0:interface=\:\:1"], launcher=launcher)
    assert server.address[0] == "::1"
    with server.connect() as client:
        talk(client)
        # Looked for in brackets.
        assert server.child_of(client) in children(server.pid)


def test_several_endpoints_at_once(serve: Serve, folder: Path) -> None:
    path = folder / "socket"
    server = serve(listen=[LOOPBACK, LOOPBACK, r"tcp6:0:interface=\:\:1", f"unix:{path}"])
    ports = [int(address.rpartition(":")[2]) for address in server.addresses[:3]]
    assert len(set(ports)) == 3
    addresses: list[Address] = [
        ("127.0.0.1", ports[0]),
        ("127.0.0.1", ports[1]),
        ("::1", ports[2]),
        str(path),
    ]
    for _ in range(3):
        for address in addresses:
            assert ask(address, b"hello") == b"HELLO"
    server.wait_for("child ended", times=12)


def test_all_endpoints_share_the_places(serve: Serve, folder: Path) -> None:
    path = folder / "socket"
    server = serve("--max-children=1", listen=[LOOPBACK, f"unix:{path}"], spares=1)
    with server.connect() as first:
        talk(first)
        with connect(str(path)) as second:
            second.sendall(b"me too")
            first.close()
            server.wait_for("child ended")
            assert second.recv(6) == b"ME TOO"
            server.wait_for("handed over", times=2)
    events = [event for (event,) in server.find("(handed over|child ended) peer")]
    assert events[:3] == ["handed over", "child ended", "handed over"]
