"""
A process under test that has a ForkingService in it: started, watched through its log, ended.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.integration.peers.clients import Connection, connect, name_of

from .logs import Log
from .processes import until, wait_until


class ServerProcess:
    """
    A process in the foreground.

    :param folder: where it runs, and has its files.
    :param command: what to run.
    :param logs_to: its standard output or its standard error, ``log`` or ``stderr``.
    :ivar pid: of the reactor process.
    :ivar log_file: where its log is.
    :ivar expects_traceback: set it where the log is to have one.
    :ivar expects_retries: set it where children are to end before they serve.
    """

    def __init__(
        self, folder: Path, command: Sequence[str], *, logs_to: str = "log", **popen: Any
    ) -> None:
        self.folder = folder
        self.log_file = folder / logs_to
        self.stderr_file = folder / "stderr"
        self.expects_traceback = False
        self.expects_retries = False
        self.exit_status: int | None = None
        self._log = Log(self.log_file)
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = self._start(list(command), {"cwd": folder, **popen})

    def _start(self, command: list[str], popen: dict[str, Any]) -> int:
        with (self.folder / "log").open("ab") as log, self.stderr_file.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=stderr, **popen
            )
        return self._process.pid

    # What it says

    def log(self) -> str:
        """Its log, from where the test began until now."""
        return self._log.text()

    def mark(self) -> int:
        """Where its log ends now; *since* elsewhere is what this has returned."""
        return self._log.mark()

    def begin_test(self) -> None:
        """What was logged until now is of no interest to the test that begins."""
        self._log.begin = self.mark()
        self.expects_traceback = self.expects_retries = False

    def close_log(self) -> None:
        """Nothing more is read of it."""
        self._log.close()

    def find(
        self, pattern: str, *, of: socket.socket | None = None, since: int | None = None
    ) -> list[tuple[str, ...]]:
        """
        The groups of a pattern, wherever the log matches it since the test began.

        :param of: PEER in the pattern stands for the peer of this connection as the log has
            it, and what was logged before it was made does not count: ports come again.
        :param since: look from there on.
        """
        return self._log.find(*_looked_for(pattern, of, since))

    def wait_for(
        self,
        pattern: str,
        times: int = 1,
        *,
        of: socket.socket | None = None,
        since: int | None = None,
    ) -> tuple[str, ...]:
        """The groups of a pattern where the log matches it for the nth time; see find."""
        pattern, since = _looked_for(pattern, of, since)

        def enough() -> list[tuple[str, ...]]:
            return self._found(pattern, times, since)

        return wait_until(enough, f"{pattern} {times} times in the log:\n", tell=self.log)[
            times - 1
        ]

    async def logs(
        self,
        pattern: str,
        times: int = 1,
        *,
        of: socket.socket | None = None,
        since: int | None = None,
    ) -> None:
        """As wait_for does, while the reactor of the test runs."""
        from twisted.internet import reactor

        pattern, since = _looked_for(pattern, of, since)

        def enough() -> bool:
            return bool(self._found(pattern, times, since))

        await until(reactor, enough, f"{pattern} {times} times in the log")

    def _found(self, pattern: str, times: int, since: int | None) -> list[tuple[str, ...]]:
        """What is waited for, if it is there; it fails if that will never be."""
        was_over = self.is_over()  # if so, the log is complete
        found = self._log.find(pattern, since)
        if len(found) >= times:
            return found
        self.check_hope(was_over)
        return []

    def check_hope(self, is_over: bool) -> None:
        """It runs, and nothing went so wrong that waiting is of no use."""
        assert not is_over, self.tell()
        assert self.expects_traceback or not self.has_traceback(), self.tell()

    def has_traceback(self) -> bool:
        """Whether the log has an exception that nobody expected."""
        log = self.log()
        return "Traceback" in log or "Unhandled" in log

    def check_log(self) -> None:
        """It says nothing that the test did not expect."""
        assert self.expects_traceback or not self.has_traceback(), self.tell()
        retries = [line for line in self.log().splitlines() if "without serving" in line]
        assert self.expects_retries or not retries, "\n".join([*retries, self.tell()])

    def tell(self) -> str:
        """What there is to say about it where a test fails."""
        stderr = self.stderr_file.read_text() if self.stderr_file.exists() else ""
        return f"exit status {self.exit_status}, log:\n{self.log()[-5000:]}\nstderr:\n{stderr}"

    # Where it is, and who its children are

    @property
    def addresses(self) -> list[str]:
        """What the log says it listens on."""
        told = r"accepting connections address='(.*)'\n"
        self.wait_for(told, since=0)
        return [address for (address,) in self.find(told, since=0)]

    @property
    def address(self) -> tuple[str, int]:
        """The first TCP port."""
        host, port = re.findall(r"tcp6? \[?([^\]]+?)\]?:(\d+)$", self.addresses[0])[0]
        return host, int(port)

    def connect(self, source: str | None = None) -> Connection:
        """
        A connection to the first TCP port.

        :param source: the loopback address that it comes from.
        """
        mark = self.mark()
        connection = connect(self.address, source)
        connection.mark = mark
        return connection

    def child_of(self, connection: socket.socket) -> int:
        """The pid of the child that has taken a connection, by its client's end."""
        return int(self.wait_for(r"handed over PEER pid=(\d+)\b", of=connection)[0])

    def ending_of(self, connection: socket.socket) -> str:
        """How the child of a connection has ended, as the log says."""
        (line,) = self.wait_for(r"child ended PEER pid=\d+ (.*)\n", of=connection)
        return line

    # The end

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def is_over(self) -> bool:
        """Whether it has ended; then exit_status is known."""
        if self.exit_status is None and self._process is not None:
            self.exit_status = self._process.poll()
        elif self.exit_status is None:
            # A daemon is our child too: see the subreaper in conftest.py.
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.exit_status = os.waitstatus_to_exitcode(status) if pid else None
        return self.exit_status is not None

    def wait_until_over(self) -> None:
        """It has ended, as it should."""
        wait_until(self.is_over, "its end", tell=self.tell)
        assert self.exit_status == 0, self.tell()
        self.check_log()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.kill()
        self.wait_until_over()


def _looked_for(
    pattern: str, of: socket.socket | None, since: int | None
) -> tuple[str, int | None]:
    if of is None:
        return pattern, since
    peer = re.escape(f"peer={name_of(of)}") + r"(?!\d)"
    pattern = re.sub(r"\bPEER\b", lambda _: peer, pattern)
    return pattern, getattr(of, "mark", None) if since is None else since
