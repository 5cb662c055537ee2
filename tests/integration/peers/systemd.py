"""
What systemd does for a server, done by the tests: it holds sockets, and hears what the server
says.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.integration.servers.commands import environment
from tests.integration.servers.harness import Server
from tests.integration.servers.processes import DEADLINE
from tests.integration.servers.serving import Serve

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
os.execvp(sys.argv[2], sys.argv[2:])
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
        server.wait_for("accepting connections")
        return server

    def _give(self) -> None:
        server, _ = self._door.accept()
        with server:
            socket.send_fds(server, [b"!"], [each.fileno() for each in self._held])

    def close(self) -> None:
        """Let the sockets go."""
        for each in (self._door, *self._held):
            each.close()


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
        self._socket.settimeout(DEADLINE)
        return self.said

    def _hear(self) -> int:
        message, ((_, _, credentials),), _, _ = self._socket.recvmsg(1000, socket.CMSG_SPACE(12))
        self.said += message.decode().splitlines()[:1]
        pid: int = struct.unpack("=iII", credentials)[0]
        return pid

    def close(self) -> None:
        self._socket.close()

    def told(self, **variables: str) -> list[str]:
        """A command to put before a server, which then says it here."""
        return environment(NOTIFY_SOCKET=str(self.path), **variables)
