"""
Under systemd, or whoever does what it does: told what happens, given sockets, restarted under
load.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from .clients import Crowd, ask, connect, read_to_end, talk
from .commands import environment
from .harness import Server, with_twisted
from .processes import DEADLINE, children, until, wait_until
from .serving import Serve, need

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"

RECEIVE = """
import fcntl, os, socket, sys
# What systemd does: descriptors from 3 on, and their number; see sd_listen_fds(3).
with socket.socket(socket.AF_UNIX) as holder:
    holder.connect(sys.argv[1])
    _, received, _, _ = socket.recv_fds(holder, 1, 10)
high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 100) for each in received]
for number, each in enumerate(high):
    os.dup2(each, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(high))
os.environ["LISTEN_FDNAMES"] = ":".join(f"name{number}" for number in range(len(high)))
os.execv(sys.argv[2], sys.argv[2:])
"""

AS_FORKSERVE = """
import os, sys
words = sys.argv[1:]
words[words.index("forkecho")] = "forkserve"
os.execv(words[0], words)
"""


ENDPOINTS = ["systemd:domain=INET:index=0", "systemd:domain=UNIX:index=1"]


class Manager:
    """
    Holds sockets, and gives them to one server after the other.

    :ivar port: of the first, a TCP socket.
    :ivar path: of the second, a Unix socket.
    """

    def __init__(self, folder: Path, serve: Serve) -> None:
        self._serve = serve
        self._folder = folder
        self.path = str(folder / "held")
        self._door = socket.create_server(str(folder / "door"), family=socket.AF_UNIX)
        self._door.settimeout(DEADLINE)
        self._held = [
            socket.create_server(("127.0.0.1", 0), backlog=4096),
            socket.create_server(self.path, family=socket.AF_UNIX, backlog=4096),
        ]
        self.port: int = self._held[0].getsockname()[1]
        self._before = [sys.executable, "-c", RECEIVE, str(folder / "door")]

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self, *options: str, **more: Any) -> Server:
        """Start a server on the sockets."""
        return self._serve(
            *options,
            listen=more.pop("listen", ENDPOINTS),
            before=[*self._before, *more.pop("before", ())],
            meanwhile=self._give,
            **more,
        )

    def start_under_load(self, *options: str, **more: Any) -> Server:
        """
        Start one that will not be idle before the test is over, on the TCP socket alone unless
        told otherwise; the test has to end it.
        """
        listen = more.pop("listen", ENDPOINTS[:1])
        server = self._serve.begin(*options, listen=listen, before=self._before, **more)
        self._give()
        server.wait_for("accepting connections on")
        return server

    def _give(self) -> None:
        server, _ = self._door.accept()
        with server:
            socket.send_fds(server, [b"!"], [each.fileno() for each in self._held])

    def close(self) -> None:
        """Let the sockets go."""
        for each in (self._door, *self._held):
            each.close()


@pytest.fixture
def manager(folder: Path, serve: Serve) -> Iterator[Manager]:
    """Whoever holds the sockets, as systemd does."""
    made = Manager(folder, serve)
    yield made
    made.close()


class Listener:
    """What a server says to systemd."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(DEADLINE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self.path))

    def wait_for(self, state: str, times: int = 1) -> int:
        """
        It has been said for the nth time.

        :returns: the pid of who said it.
        """
        pid = 0
        while self.said.count(state) < times:
            pid = self._hear()
        return pid

    def all_said(self) -> list[str]:
        """All that has been said."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._hear()
        return self.said

    def _hear(self) -> int:
        message, ((_, _, credentials),), _, _ = self._socket.recvmsg(1000, socket.CMSG_SPACE(12))
        self.said += message.decode().splitlines()[:1]
        pid: int = struct.unpack("=iII", credentials)[0]
        return pid

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener(folder: Path) -> Iterator[Listener]:
    """A notification socket."""
    made = Listener(folder)
    yield made
    made.close()


def told(listener: Listener, **variables: str) -> list[str]:
    """A command to put before a server, which then tells *listener*."""
    return environment(NOTIFY_SOCKET=str(listener.path), **variables)


# What it says


def test_systemd_is_told_of_every_state_in_its_order(
    serve: Serve, listener: Listener, launcher: str
) -> None:
    server = serve(before=told(listener), launcher=launcher)
    listener.wait_for("READY=1")
    assert ask(server.address, b"hello") == b"HELLO"
    server.kill(signal.SIGHUP)
    listener.wait_for("READY=1", 2)
    server.stop()
    listener.wait_for("STOPPING=1")
    assert listener.said == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_ready_means_that_connections_are_accepted(serve: Serve, listener: Listener) -> None:
    seen: list[str] = []

    def wait_until_told() -> None:
        listener.wait_for("READY=1")
        seen.extend(listener.said)

    server = serve(before=told(listener), meanwhile=wait_until_told)
    assert seen == ["READY=1"]
    assert "accepting connections on" in server.log()


def test_a_reload_that_fails_is_over_too(serve: Serve, listener: Listener, folder: Path) -> None:
    module = folder / "mine.py"
    module.write_text("def serve(connection, peer):\n    pass\n")
    variables = {
        "PYTHONPATH": str(folder),
        "NOTIFY_SOCKET": str(listener.path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    server = serve(handler=".mine:serve", env=variables)
    listener.wait_for("READY=1")
    module.write_text("import no_such_module\n")
    server.kill(signal.SIGHUP)
    listener.wait_for("READY=1", 2)
    assert listener.said == ["READY=1", "RELOADING=1", "READY=1"]
    server.wait_for("reload failed")


@pytest.mark.parametrize("kind", ["fork", "spawn", "program"])
def test_a_hangup_as_soon_as_the_server_is_said_to_be_ready_is_a_reload(
    serve: Serve, listener: Listener, kind: str
) -> None:
    def hang_up() -> None:
        os.kill(listener.wait_for("READY=1"), signal.SIGHUP)

    before = told(listener)
    if kind == "program":
        serve(program=["cat"], before=before, meanwhile=hang_up)
    else:
        serve(before=before, launcher=kind, meanwhile=hang_up)
    listener.wait_for("READY=1", 2)
    assert listener.said == ["READY=1", "RELOADING=1", "READY=1"]


def test_nothing_is_said_after_stopping_when_it_stops_in_the_middle_of_a_reload(
    serve: Serve, listener: Listener, folder: Path, launcher: str
) -> None:
    module = folder / "mine.py"
    module.write_text("def serve(connection, peer):\n    pass\n")
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    server = serve(
        "--grace=1000",
        handler=".mine:serve",
        before=told(listener),
        env=variables,
        launcher=launcher,
        spares=0,
    )
    tried = folder / "tried"
    module.write_text(f"import time\nopen({str(tried)!r}, 'w').close()\ntime.sleep(1000)\n")
    server.kill(signal.SIGHUP)
    wait_until(tried.exists, "an import that hangs")
    server.stop()
    assert listener.all_said() == ["READY=1", "RELOADING=1", "STOPPING=1"]


def test_stopping_is_said_before_the_last_child_has_finished(
    serve: Serve, listener: Listener
) -> None:
    server = serve("--grace=1000", before=told(listener))
    with server.connect() as connection:
        talk(connection)
        server.kill()
        listener.wait_for("STOPPING=1")
        talk(connection, b"still here")
    server.wait_until_over()


def test_a_watchdog_hears_that_the_server_is_alive(serve: Serve, listener: Listener) -> None:
    server = serve(before=told(listener, WATCHDOG_USEC="200000"))
    listener.wait_for("WATCHDOG=1", 5)
    assert ask(server.address, b"hello") == b"HELLO"
    assert listener.said[0] == "READY=1"


def test_children_are_not_told_where_systemd_listens(
    serve: Serve, listener: Listener, launcher: str
) -> None:
    server = serve(before=told(listener, WATCHDOG_USEC="10000000"), launcher=launcher)
    for pid in children(server.pid):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environ
        assert b"WATCHDOG" not in environ


# Its sockets


def test_sockets_of_systemd_are_served(manager: Manager) -> None:
    server = manager.start()
    assert server.addresses == [f"tcp 127.0.0.1:{manager.port}", f"unix {manager.path}"]
    assert ask(manager.address, b"hello") == b"HELLO"
    assert ask(manager.path, b"hello") == b"HELLO"


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


def test_systemd_socket_activate_gives_two_sockets(serve: Serve, folder: Path) -> None:
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


# The units


def command_of(unit: Path) -> list[str]:
    """The options in a unit's ExecStart, from the plugin's name on."""
    (line,) = re.findall(r"(?m)^ExecStart=(.*)$", unit.read_text())
    words = str(line).split()
    assert words[:3] == ["/opt/twisted-fork/bin/twistd", "--nodaemon", "--pidfile="]
    return words[3:]


def services() -> list[Path]:
    """All of them."""
    return sorted(UNITS.glob("*.service"))


def test_systemd_understands_the_units(folder: Path) -> None:
    verify = need("systemd-analyze")
    units = sorted(UNITS.iterdir())
    assert len(units) == 4
    for unit in units:
        # there need not be an installation where the units expect it
        text = unit.read_text().replace("/opt/twisted-fork/bin/twistd", "/bin/true")
        (folder / unit.name).write_text(text)
    ended = subprocess.run(
        [verify, "verify", "--man=no", *(str(folder / unit.name) for unit in units)],
        capture_output=True, text=True, timeout=DEADLINE,
    )  # fmt: skip
    ours = [line for line in ended.stderr.splitlines() if "fork" in line]
    assert (ended.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", services(), ids=lambda unit: str(unit.name))
def test_a_units_command_serves(manager: Manager, unit: Path, folder: Path) -> None:
    if os.getuid() != 0 and "--user=" in unit.read_text():
        pytest.skip("only root can make others serve")
    words = [word.replace("INET6", "INET") for word in command_of(unit)]
    listen = [word.removeprefix("--listen=") for word in words if word.startswith("--listen=")]
    options = [word for word in words[1:] if not word.startswith("--listen=")]
    if words[0] == "forkecho":
        server = manager.start(*options, listen=listen)
    else:
        (folder / "mypackage").mkdir()
        (folder / "mypackage" / "server.py").write_text(
            "def handle(connection, peer):\n"
            "    while data := connection.recv(100):\n"
            "        connection.sendall(data.upper())\n"
        )
        before = [*environment(PYTHONPATH=str(folder)), sys.executable, "-c", AS_FORKSERVE]
        server = manager.start(*options, listen=listen, before=["/usr/bin/env", *before[1:]])
    with connect(manager.address) as connection:
        talk(connection)
    server.stop()


@pytest.mark.parametrize("unit", services(), ids=lambda unit: str(unit.name))
def test_a_unit_gives_the_server_the_time_that_it_takes_to_stop(unit: Path) -> None:
    text = unit.read_text()
    (grace,) = (
        float(word.removeprefix("--grace="))
        for word in command_of(unit)
        if word.startswith("--grace=")
    )
    (timeout,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", text)
    assert float(timeout) > 2 * grace
    assert "KillMode=mixed" in text, "systemd's SIGTERM is for the reactor process alone"
