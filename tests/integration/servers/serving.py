"""
Starting servers and applications, and what is asked of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.integration.peers.clients import Address, Connection, ask

from .commands import variables
from .forked_twistd import FORKED
from .harness import Server, new_public_folder
from .processes import DEADLINE, children, descendants, state, wait_until
from .server_process import ServerProcess

Started = TypeVar("Started", bound=ServerProcess)


class Shared:
    """
    Servers that several tests share, one after the other: those with the same options.

    A test leaves them as they were, so it does not end them, nor their template.
    """

    _MOST = 12

    def __init__(self) -> None:
        self._servers: OrderedDict[str, Server] = OrderedDict()

    def get(self, options: Sequence[str], more: dict[str, Any]) -> Server:
        """The server with these options, idle."""
        if "program" not in more:
            more = {"launcher": "fork", **more}
        key = repr((options, sorted(more.items())))
        server = self._servers.pop(key, None)
        if server is None:
            if len(self._servers) == self._MOST:
                self._end(self._servers.popitem(last=False)[1])
            server = Server(new_public_folder(), *options, **more)
            try:
                server.wait_until_ready()
            except BaseException:
                self.forget(server)
                raise
        self._servers[key] = server
        server.begin_test()
        return server

    def pids(self) -> set[int]:
        """Of their reactor processes."""
        return {server.pid for server in self._servers.values()}

    def forget(self, server: Server) -> None:
        """It is not fit for another test: end it, in whatever state it is."""
        self._servers = OrderedDict(
            (key, each) for key, each in self._servers.items() if each is not server
        )
        end(server)
        shutil.rmtree(server.folder)

    def stop(self) -> None:
        """All of them, as any server stops."""
        while self._servers:
            self._end(self._servers.popitem()[1])

    def _end(self, server: Server) -> None:
        server.begin_test()
        before = children(os.getpid())
        server.stop()
        left = children(os.getpid()) - before
        assert not left, f"{left} are left of a shared server: {server.tell()}"
        server.close_log()
        shutil.rmtree(server.folder)


class Serve:
    """
    Starts servers; see harness.Server for the arguments.

    :param folder: where they are, each in one of its own.
    :param shared: those that other tests have as well.
    :ivar defaults: arguments of each server of the test's own, where it is given no others.
    """

    def __init__(self, folder: Path, shared: Shared) -> None:
        self.defaults: dict[str, Any] = {}
        self._folder = folder
        self._shared = shared
        self._own: list[Server] = []
        self._borrowed: list[Server] = []
        self._applications: list[ServerProcess] = []

    def __call__(
        self, *options: str, meanwhile: Callable[[], object] = lambda: None, **more: Any
    ) -> Server:
        """
        Start a server of the test's own.  It is ready when this returns, but for what has to be
        done *meanwhile*.
        """
        server = self.begin(*options, **more)
        meanwhile()
        server.wait_until_ready()
        return server

    def begin(self, *options: str, **more: Any) -> Server:
        """Likewise, and do not wait until it is ready; it need not become idle again."""
        place = self._folder / str(len(self._own))
        place.mkdir()
        if user := more.get("user"):
            shutil.chown(place, user.uid, user.uid)
        server = Server(place, *options, **{**self.defaults, **more})
        self._own.append(server)
        _reap_the_daemons_parent(server)
        return server

    def shared(self, *options: str, **more: Any) -> Server:
        """
        A server that other tests have had and will have, with the same arguments, its log as if
        it had just begun.
        """
        server = self._shared.get(options, {**self.defaults, **more})
        if server not in self._borrowed:
            self._borrowed.append(server)
        return server

    def application(self, how: Callable[..., Started], *words: Any, **settings: Any) -> Started:
        """Start an application, or whatever *how* starts in the test's folder."""
        application = how(self._folder, *words, **settings)
        self._applications.append(application)
        application.wait_for("accepting connections")
        return application

    def finish(self) -> None:
        """The test is over: what it had is as it was before it, or ends, as it should."""
        for server in self._borrowed:
            assert not server.is_over(), f"a shared server was ended: {server.tell()}"
            server.check_nothing_is_left()
            server.check_log()
        for server in self._own:
            if not server.is_over():
                if server.was_ready:
                    server.check_nothing_is_left()
                server.stop()
            server.wait_until_over()
        for application in self._applications:
            if not application.is_over():
                application.kill(signal.SIGTERM)
            wait_until(application.is_over, "the application's end", tell=application.tell)
            application.check_log()

    def clean_up(self, failed: bool) -> None:
        """Nothing that the test has started goes on; nor what it has shared, if it *failed*."""
        for process in (*self._own, *self._applications):
            end(process)
        if failed:
            for server in self._borrowed:
                self._shared.forget(server)


def end(process: ServerProcess) -> None:
    """At once, with all that it has started, which has become ours: see conftest.py."""
    if not process.is_over():
        family = descendants(process.pid)
        process.kill(signal.SIGKILL)
        wait_until(process.is_over, "the end of a process that was killed")

        def gone() -> bool:
            for pid in family & children(os.getpid()):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return not family & descendants(os.getpid())

        wait_until(gone, "the ends of what a process that was killed has left")
    process.close_log()


def _reap_the_daemons_parent(server: Server) -> None:
    """A process that becomes a daemon leaves one behind that nobody waits for but init."""
    for pid in children(os.getpid()) - {server.pid}:
        if state(pid) == "Z":
            os.waitpid(pid, 0)


def order(server: Server, what: str) -> Connection:
    """A connection whose handler has been told what to do."""
    connection = server.connect()
    connection.sendall(what.encode() + b"\n")
    return connection


def python_program(code: str) -> list[str]:
    """A program, and its arguments, that runs *code* with what it needs imported."""
    return [sys.executable, "-u", "-c", f"import json, os, sys, time; {code}"]


def ask_json(address: Address, question: bytes = b"") -> dict[str, Any]:
    """What a handler says of itself."""
    answer = ask(address, question)
    found: dict[str, Any] = json.loads(answer)
    return found


def refused(folder: Path, *words: str, program: Sequence[str] = ()) -> str:
    """
    The one line that twistd says about these options of forkserve; the port that it was
    to listen on has not been opened.
    """
    listen = ["-l", f"unix:{folder / 'socket'}"]
    return forked_refusal(folder, "forkserve", ["-n", "forkserve", *listen, *words, *program])


def forked_refusal(
    folder: Path, plugin: str, words: Sequence[str], limits: tuple[int, int] | None = None
) -> str:
    """
    The one line that twistd ends with; it leaves nothing behind.  See forked_twistd.

    :param folder: where it is run.
    :param words: all of the command line.
    :param limits: on open files, soft and hard.
    """
    with _nothing_left(folder):
        ended = FORKED.run(words, folder, {**os.environ, **variables()}, limits)
    return _only_line(plugin, ended)


def refusal(folder: Path, plugin: str, command: Sequence[str], **more: Any) -> str:
    """
    Likewise for a whole command, for tests to which it matters who runs it and how.

    :param more: for the Popen object.
    """
    with _nothing_left(folder):
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=DEADLINE, check=False, **more
        )
    return _only_line(plugin, ended)


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    before = sorted(folder.rglob("*"))
    yield
    assert sorted(folder.rglob("*")) == before


def _only_line(plugin: str, ended: subprocess.CompletedProcess[bytes]) -> str:
    line = ended.stderr.decode()
    assert ended.stdout == b""
    assert line.startswith(f"twistd {plugin}: "), line
    assert line.endswith("\n")
    assert line.count("\n") == 1, line
    assert "Traceback" not in line
    assert ended.returncode == 1
    return line.removesuffix("\n")


def need(program: str) -> str:
    """
    The path of a program that a test cannot do without: it is skipped where there is none,
    but for the project's own checks, which have to install it.
    """
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found
