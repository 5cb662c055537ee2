"""
The server in the background, behind other kinds of ports, and as somebody else.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from .clients import Address, ask, connect, read_to_end, talk
from .commands import Unprivileged
from .harness import LOOPBACK
from .processes import children, status, wait_until
from .serving import Serve

INHERIT = """
import os, socket, sys
# What systemd does: descriptors from 3 on, their number and names; see sd_listen_fds(3).
addresses = sys.argv[1].split(",")
for number, address in enumerate(addresses):
    listener = socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET)
    listener.bind(address if "/" in address else ("127.0.0.1", int(address)))
    listener.listen(100)
    assert listener.fileno() == 3 + number
    os.set_inheritable(listener.detach(), True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(addresses))
os.environ["LISTEN_FDNAMES"] = ":".join(f"name{number}" for number in range(len(addresses)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def free_port(below: int) -> int:
    """A TCP port that nobody has just now."""
    for port in random.sample(range(below // 2, below), below // 2):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
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
    serve: Serve, launcher: str
) -> None:
    user = Unprivileged()
    port = free_port(below=1024)
    server = serve(
        launcher=launcher,
        listen=[f"tcp:{port}:interface=127.0.0.1"],
        user=user,
        root_starts_it=True,
        daemon=True,
    )
    with connect(("127.0.0.1", port)) as client:
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


def test_a_unix_socket_that_a_killed_server_left_behind_is_taken_over(
    serve: Serve, folder: Path
) -> None:
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    # Nobody is running under that pid: it has been waited for.
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    os.symlink(str(gone.pid), f"{path}.lock")
    serve(listen=[f"unix:{path}"])
    assert ask(str(path), b"hello") == b"HELLO"


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


def test_sockets_that_systemd_has_opened_are_served(serve: Serve, folder: Path) -> None:
    path = folder / "socket"
    before = [sys.executable, "-c", INHERIT, f"0,{path}"]
    server = serve(
        listen=["systemd:domain=INET:index=0", "systemd:domain=UNIX:index=1"], before=before
    )
    host, port = server.address
    assert server.addresses == [f"tcp 127.0.0.1:{port}", f"unix {path}"]
    assert host == "127.0.0.1"
    assert ask(server.address, b"hello") == b"HELLO"
    assert ask(str(path), b"hello") == b"HELLO"
    server.wait_until_idle()
    for pid in children(server.pid):
        # Nobody is told of sockets that it does not have.
        assert b"LISTEN_PID" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is missing"
)
def test_systemd_socket_activate_starts_the_server_with_its_first_connection(
    folder: Path, serve: Serve
) -> None:
    path = folder / "socket"
    environment = [f"--setenv={name}" for name in ("PYTHONPATH", "HOME") if name in os.environ]
    activate = ["systemd-socket-activate", f"--listen={path}", "--fdname=it", *environment]
    first: list[socket.socket] = []

    def come() -> bool:
        try:
            client = connect(str(path))
        except OSError:
            return False
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        first.append(client)
        return True

    server = serve(
        listen=["systemd:domain=UNIX:index=0"],
        before=activate,
        noisy=True,
        meanwhile=lambda: wait_until(come, "a socket to connect to"),
    )
    with first[0] as client:
        assert read_to_end(client) == b"HELLO"
    assert ask(str(path), b"and hello") == b"AND HELLO"
    server.wait_for("child ended", times=2)
