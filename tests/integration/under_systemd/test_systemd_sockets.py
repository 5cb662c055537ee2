"""
Sockets that systemd holds, or whoever does what it does: served, left as they are, and given to
one server after the other under load.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.integration.peers.clients import Crowd, ask, connect, read_to_end, talk
from tests.integration.peers.systemd import ENDPOINTS, Manager
from tests.integration.servers.harness import Server, with_twisted
from tests.integration.servers.processes import children, until, wait_until
from tests.integration.servers.serving import Serve, need

pytestmark = pytest.mark.command


def test_sockets_of_systemd_are_served(manager: Manager) -> None:
    server = manager.start()
    assert server.addresses == [f"tcp 127.0.0.1:{manager.port}", f"unix {manager.path}"]
    assert ask(manager.address, b"hello") == b"HELLO"
    assert ask(manager.path, b"hello") == b"HELLO"
    server.wait_until_idle()
    for pid in children(server.pid):
        # nobody is told of sockets that it does not have
        assert b"LISTEN_" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_sockets_of_systemd_stay_as_they_are(manager: Manager) -> None:
    os.chmod(manager.path, 0o600)
    manager.start()
    assert stat.S_IMODE(os.stat(manager.path).st_mode) == 0o600


def test_sockets_of_systemd_outlive_a_server(manager: Manager) -> None:
    manager.start().stop()
    assert os.path.exists(manager.path), "the Unix socket's path is systemd's to remove"
    # both are connected to while nobody serves them
    with connect(manager.address) as tcp, connect(manager.path) as unix:
        server = manager.start_under_load(listen=ENDPOINTS)
        talk(tcp)
        talk(unix)
    server.stop()


@with_twisted
@pytest.mark.parametrize("options", [(), ("-k5",)])
async def test_restarts_under_load_lose_no_connection(
    manager: Manager, launcher: str, options: tuple[str, ...]
) -> None:
    def start() -> Server:
        return manager.start_under_load("--grace=1000", *options, launcher=launcher)

    server = await deferToThread(start)
    crowd = Crowd(reactor, manager.address, 8)
    for _ in range(3):
        await crowd.next_round()
        server.kill()
        await until(reactor, server.is_over, "the end of the server")
        assert server.exit_status == 0
        assert "connection refused" not in server.log()
        server = await deferToThread(start)
    await crowd.next_round()
    await crowd.leave()
    server.stop()
    assert crowd.broken == []


def test_systemd_socket_activate_gives_two_sockets_to_a_server_that_the_first_peer_starts(
    serve: Serve, folder: Path
) -> None:
    paths = [str(folder / "one"), str(folder / "two")]
    passed = [f"--setenv={name}" for name in ("PYTHONPATH", "HOME") if name in os.environ]
    activate = [need("systemd-socket-activate"), *(f"--listen={path}" for path in paths)]
    first: list[socket.socket] = []
    server = serve(
        listen=["systemd:domain=UNIX:index=0", "systemd:domain=UNIX:index=1"],
        before=[*activate, "--fdname=one:two", *passed],
        noisy=True,
        meanwhile=lambda: wait_until(_coming(paths[0], first), "a socket to connect to"),
    )
    with first[0] as connection:
        assert read_to_end(connection) == b"HELLO"
    assert ask(paths[1], b"and hello") == b"AND HELLO"
    server.wait_for("child ended", times=2)
    assert server.addresses == [f"unix {path}" for path in paths]


def _coming(path: str, arrived: list[socket.socket]) -> Callable[[], bool]:
    """Tries to connect, and says hello."""

    def come() -> bool:
        try:
            client = connect(path)
        except OSError:
            return False
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        arrived.append(client)
        return True

    return come
