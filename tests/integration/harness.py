"""
A server under test: started, watched through its log and /proc, stopped.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest_twisted

from .commands import Unprivileged, twistd
from .processes import children, descriptors, state, until, wait_until, zombies

LOOPBACK = "tcp:0:interface=127.0.0.1"


def with_twisted(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that awaits what the reactor does."""
    decorated: Callable[..., None] = pytest_twisted.ensureDeferred(test)
    return decorated


class Server:
    """
    A ``twistd forkecho``.

    :param options: of forkecho.
    :param listen: its endpoints.
    :param before: a command that becomes the server, such as ``limited``.
    :param daemon: in the background, with a pid file and a log file.
    :param user: run it as somebody else.
    :param root_starts_it: and it becomes that user by itself.
    :param noisy: *before* writes to standard error.
    :param wrap: makes another command of that of twistd, without its arguments.
    :ivar pid: of the reactor process.
    :ivar expects_traceback: set it where the log is to have one.
    :ivar expects_retries: set it where children are to end before they serve.
    :ivar idle_children: those that an idle server has: its template and its spares.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        listen: Sequence[str] = (LOOPBACK,),
        reactor: str = "",
        before: Sequence[str] = (),
        daemon: bool = False,
        user: Unprivileged | None = None,
        root_starts_it: bool = False,
        noisy: bool = False,
        spares: int = 2,
        launcher: str = "fork",
        wrap: Callable[[list[str]], list[str]] = list,
    ) -> None:
        self.folder = folder
        self.launcher = launcher
        self.idle_children = spares + (1 if launcher == "fork" else 0)
        self.log_file = folder / "log"
        self.pid_file = folder / "pid"
        self.stderr_file = folder / "stderr"
        self._noisy = noisy
        self.expects_traceback = False
        self.expects_retries = False
        self.exit_status: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        python = sys.executable if user is None else user.python
        assert python is not None
        command = [*before, *wrap(twistd(python))]
        if daemon:
            command += [f"--pidfile={self.pid_file}", f"--logfile={self.log_file}"]
        else:
            command += ["-n", "--pidfile="]
        command += [f"--reactor={reactor}"] if reactor else []
        command += [f"--uid={user.uid}", f"--gid={user.uid}"] if user and root_starts_it else []
        command += ["forkecho", f"--launcher={launcher}", f"-s{spares}"]
        command += [word for endpoint in listen for word in ("-l", endpoint)]
        self._command = [*command, *options]
        self._popen: dict[str, Any] = {"cwd": folder}
        if user is not None:
            self._popen.update({"env": user.environment} if root_starts_it else user.popen)
        self.pid = self._start_daemon() if daemon else self._start()

    def _start(self) -> int:
        with self.log_file.open("ab") as log, self.stderr_file.open("ab") as stderr:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=stderr, **self._popen
            )
        return self._process.pid

    def _start_daemon(self) -> int:
        ended = subprocess.run(self._command, capture_output=True, **self._popen)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
        return int(self.pid_file.read_text())

    # What it says

    def log(self) -> str:
        """All of its log, until now."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def find(self, pattern: str) -> list[tuple[str, ...]]:
        """The groups of a pattern, wherever the log matches it."""
        found = re.finditer(pattern, self.log())
        return [match.groups() for match in found]

    def wait_for(self, pattern: str, times: int = 1) -> tuple[str, ...]:
        """The groups of a pattern where the log matches it for the nth time."""

        def enough() -> list[tuple[str, ...]]:
            return self._found(pattern, times)

        return wait_until(enough, f"{pattern} {times} times in the log:\n")[times - 1]

    def _found(self, pattern: str, times: int) -> list[tuple[str, ...]]:
        """What wait_for waits for, if it is there; it fails if that will never be."""
        was_over = self.is_over()  # if so, the log is complete
        found = self.find(pattern)
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
        return re.search("Traceback|Unhandled", self.log()) is not None

    def tell(self) -> str:
        """What there is to say about it where a test fails."""
        stderr = self.stderr_file.read_text() if self.stderr_file.exists() else ""
        return f"exit status {self.exit_status}, log:\n{self.log()[-5000:]}\nstderr:\n{stderr}"

    async def logs(self, pattern: str, times: int = 1) -> None:
        """As wait_for does, while the reactor of the test runs."""
        from twisted.internet import reactor

        def enough() -> bool:
            return bool(self._found(pattern, times))

        await until(reactor, enough, f"{pattern} {times} times in the log")

    # Where it is, and who its children are

    def wait_until_ready(self) -> None:
        """It accepts connections and all its spares wait; remember what it has open."""
        self.wait_for("accepting connections on")
        self._descriptors_before = len(self.wait_until_idle())

    @property
    def addresses(self) -> list[str]:
        """What the log says it listens on."""
        return self.wait_for("accepting connections on (.*)")[0].split(", ")

    @property
    def address(self) -> tuple[str, int]:
        """The first TCP port."""
        host, port = re.findall(r"tcp6? \[?([^\]]+?)\]?:(\d+)$", self.addresses[0])[0]
        return host, int(port)

    def template(self) -> int:
        """The newest one's pid."""
        return int(self.find(r"template ready pid=(\d+)\n")[-1][0])

    def child_of(self, connection: Any) -> int:
        """The pid of the child that has taken a connection, by its client's end."""
        host, port = connection.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        return int(self.wait_for(rf"handed over peer={re.escape(host)}:{port} pid=(\d+)")[0])

    def spares(self) -> set[int]:
        """Children that wait for a connection, once the server is idle."""
        return children(self.pid) - ({self.template()} if self.launcher == "fork" else set())

    def wait_until_idle(self, serving: int = 0) -> dict[int, str]:
        """
        So many children serve, every spare waits, and all of them sleep.

        :returns: the descriptors that are open then.
        """

        def observe() -> tuple[set[int], dict[int, str]] | None:
            own = children(self.pid)
            everybody_sleeps = all(state(pid) == "S" for pid in [self.pid, *own])
            if len(own) == self.idle_children + serving and everybody_sleeps:
                return own, descriptors(self.pid)
            return None

        last = None

        def twice_the_same() -> dict[int, str] | None:
            self.check_hope(self.is_over())
            nonlocal last
            last, before = observe(), last
            return last[1] if last and last == before else None

        return wait_until(twice_the_same, f"an idle server: {children(self.pid)}")

    def check_nothing_is_left(self) -> None:
        """The load is over: processes and descriptors are those that there were before."""
        wait_until(
            lambda: len(self.wait_until_idle()) == self._descriptors_before,
            f"{self._descriptors_before} descriptors, not {descriptors(self.pid)}",
        )
        assert zombies(self.pid) == set()

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
        wait_until(self.is_over, "the server's end")
        assert self.exit_status == 0, self.tell()
        assert self.expects_traceback or not self.has_traceback(), self.tell()
        assert self.expects_retries or "without serving" not in self.log(), self.tell()
        if self.stderr_file.exists() and not self._noisy:
            assert self.stderr_file.read_text() == ""

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.kill()
        self.wait_until_over()


def new_public_folder() -> Path:
    """A folder that anybody may look into, with a path short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="forkecho-"))
    folder.chmod(0o755)
    return folder
