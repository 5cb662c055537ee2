"""
A server under test: twistd with one of our plugins, in the foreground or as a daemon.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest_twisted

from .commands import HERE, Unprivileged, environment, through, twistd, variables
from .forked_twistd import FORKED
from .processes import children, descriptors, state, wait_until, zombies
from .server_process import ServerProcess
from .steering import Steering

LOOPBACK = "tcp:0:interface=127.0.0.1"

_QUIET = 10.0
"""Seconds without a new connection after which children go that are more than the spares that
were asked for."""


def with_twisted(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that awaits what the reactor does."""
    decorated: Callable[..., None] = pytest_twisted.ensureDeferred(test)
    return decorated


class Server(ServerProcess):
    """
    A ``twistd forkecho``, or ``twistd forkserve`` with a handler or a program.

    :param options: of the plugin.
    :param more_options: as well.
    :param handler: of ours, ``module:name`` in the folder ``served``; or any other whose
        module's name begins with a dot.
    :param program: with its arguments.  The reactor process itself executes it, without
        template and spares, unless *launcher* says otherwise.
    :param application: the file of one, which twistd runs in the place of our plugin; it is given
        no options.
    :param env: what the server has besides in its environment.
    :param listen: its endpoints.
    :param before: a command that becomes the server, such as ``limited``.
    :param daemon: in the background, with a pid file and a log file.
    :param user: run it as somebody else.
    :param root_starts_it: and it becomes that user by itself.
    :param noisy: *before* writes to standard error.
    :param wrap: makes another command of that of twistd, without its arguments.
    :param steered: its clock can be moved: see *advance*.
    :param forked: it is a fork of a process that has imported Twisted, see forked_twistd.py, for
        tests that take very many servers; but for what must be a command: a daemon, one with
        another *before* it, one of another user.
    :ivar was_ready: it has been, so it is known what it has when it is idle.
    :ivar idle_children: those that an idle server has: its template and its spares.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        more_options: Sequence[str] = (),
        handler: str = "",
        program: Sequence[str] = (),
        application: Path | None = None,
        env: Mapping[str, str] | None = None,
        listen: Sequence[str] = (LOOPBACK,),
        reactor: str = "",
        before: Sequence[str] = (),
        daemon: bool = False,
        user: Unprivileged | None = None,
        root_starts_it: bool = False,
        noisy: bool = False,
        spares: int | None = None,
        launcher: str = "",
        wrap: Callable[[list[str]], list[str]] = list,
        steered: bool = False,
        forked: bool = False,
    ) -> None:
        self.launcher = launcher or ("spawn" if program else "fork")
        if spares is None:
            spares = 0 if program and not launcher else 2
        self.idle_children = spares + (1 if self.launcher == "fork" else 0)
        self.pid_file = folder / "pid"
        self.was_ready = False
        self._noisy = noisy
        self._daemon = daemon
        self._forked = forked and not (daemon or before or user)
        self._env = env or {}
        self._steering = Steering(folder) if steered else None
        command = list(before)
        if user is not None:
            command += ["env", *(f"{name}={value}" for name, value in (env or {}).items())]
        elif (handler or program or env) and not self._forked:
            command += environment(**(env or {}))
        command += self._twistd(user, reactor, root_starts_it, wrap)
        if application is not None:
            command += ["--python", str(application)]
        else:
            command += ["forkserve" if handler or program else "forkecho"]
            command += [f"--launcher={self.launcher}", f"-s{spares}"]
            command += [word for endpoint in listen for word in ("-l", endpoint)]
            if handler:
                command += ["--handler", handler[1:] if handler[0] == "." else f"served.{handler}"]
            command += [*options, *more_options, *(("--", *program) if program else ())]
        popen: dict[str, Any] = {}
        if user is not None:
            popen = {"env": user.environment} if root_starts_it else user.popen
        super().__init__(folder, command, **popen)

    def _twistd(
        self,
        user: Unprivileged | None,
        reactor: str,
        root_starts_it: bool,
        wrap: Callable[[list[str]], list[str]],
    ) -> list[str]:
        command = twistd() if user is None else user.twistd()
        if self._steering is not None:
            here = HERE if user is None else user.here
            command = through(command, here / "servers" / "steered.py", str(self._steering.path))
        command = wrap(command)
        if self._daemon:
            folder = self.pid_file.parent
            command += [f"--pidfile={self.pid_file}", f"--logfile={folder / 'log'}"]
        else:
            command += ["-n", "--pidfile="]
        command += [f"--reactor={reactor}"] if reactor else []
        return command + (
            [f"--uid={user.uid}", f"--gid={user.uid}"] if user and root_starts_it else []
        )

    def _start(self, command: list[str], popen: dict[str, Any]) -> int:
        if self._forked:
            with self.log_file.open("ab") as log, self.stderr_file.open("ab") as stderr:
                environ = {**os.environ, **variables(**self._env)}
                streams = (log.fileno(), stderr.fileno())
                return FORKED.start(command[1:], self.folder, environ, streams)
        if not self._daemon:
            return super()._start(command, popen)
        ended = subprocess.run(command, capture_output=True, **popen)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
        return int(self.pid_file.read_text())

    def advance(self, seconds: float) -> None:
        """Move its reactor's clock: what is due by then is done before this returns."""
        assert self._steering is not None, "it is not steered"
        self._steering.advance(seconds)

    def advance_until(self, pattern: str, seconds: float) -> tuple[str, ...]:
        """
        Move its reactor's clock by so many seconds, again and again, until the log has *pattern*;
        its groups.  It is for what the server looks for at intervals.
        """

        def enough() -> list[tuple[str, ...]]:
            found = self.find(pattern)
            if not found:
                self.advance(seconds)
            return found

        return wait_until(enough, f"{pattern} in the log:\n", tell=self.log)[0]

    def advance_idle(self, seconds: float, serving: int = 0, missing: int = 0) -> None:
        """Likewise, but wait before until nobody has anything to do: the spares wait, of whom so
        many may be missing, and so many children serve."""
        self._wait_until_asleep(lambda own: own >= self.idle_children + serving - missing)
        self.advance(seconds)

    # Its processes

    def wait_until_ready(self) -> None:
        """It accepts connections and all its spares wait; remember what it has open."""
        self.wait_for("accepting connections")
        self._descriptors_before = len(self.wait_until_idle())
        self.was_ready = True

    def template(self) -> int:
        """The newest one's pid."""
        return int(self.find(r"template ready pid=(\d+)\n", since=0)[-1][0])

    def spares(self) -> set[int]:
        """Children that wait for a connection, once the server is idle."""
        return children(self.pid) - ({self.template()} if self.launcher == "fork" else set())

    def wait_until_idle(self, serving: int = 0) -> dict[int, str]:
        """
        So many children serve, every spare waits, and all of them sleep, or are stopped.

        :returns: the descriptors that are open then.
        """

        return self._wait_until_asleep(lambda own: own == self.idle_children + serving)

    def _wait_until_asleep(self, enough: Callable[[int], bool]) -> dict[int, str]:
        """The same for any number of children that is *enough*."""

        def observe() -> tuple[set[int], dict[int, str]] | None:
            own = children(self.pid)
            if not enough(len(own)):
                return None
            if any(state(pid) not in ("S", "T") for pid in [self.pid, *own]):
                return None
            return own, descriptors(self.pid)

        last = None

        def twice_the_same() -> dict[int, str] | None:
            self.check_hope(self.is_over())
            nonlocal last
            last, before = observe(), last
            return last[1] if last and last == before else None

        return wait_until(twice_the_same, "an idle server: ", tell=lambda: children(self.pid))

    def check_nothing_is_left(self) -> None:
        """
        The load is over: processes and descriptors are those that there were before.  That takes
        ten seconds where a child lives on that is one too many, unless the clock can be moved.
        """
        if self._steering is not None:
            self.advance_idle(_QUIET)
        wait_until(
            lambda: len(self.wait_until_idle()) == self._descriptors_before,
            f"{self._descriptors_before} descriptors, not ",
            tell=lambda: descriptors(self.pid),
        )
        assert zombies(self.pid) == set()

    # The end

    def wait_until_over(self) -> None:
        """It has ended, as it should."""
        super().wait_until_over()
        if self.stderr_file.exists() and not self._noisy:
            assert self.stderr_file.read_text() == ""


def new_public_folder() -> Path:
    """A folder that anybody may look into, with a path short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="forkecho-"))
    folder.chmod(0o755)
    return folder
