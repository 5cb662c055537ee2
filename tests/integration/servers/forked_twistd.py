"""
twistd for many command lines, without importing Twisted for each.

Run as a program, this has imported Twisted and nothing of ours.  For each command line it
forks, and the fork runs the script ``twistd``: a process of its own with the command's words,
environment, working directory, limits, standard output and standard error, which ends with the
status that the script ends with.  It imports our package itself, so nothing of one command is
left to the next.

A server can be started likewise.  Its parent in there ends at once, so it becomes a child of
whoever started this: see the subreaper in conftest.py.

It is not in all the command that a user types.  Twisted's modules are there already, the
process has another command line in /proc, its interpreter is not taken down at the end, and of
the variables that the interpreter itself reads only PYTHONPATH counts.  test_forked_twistd.py
compares both; tests for which any of this matters run the command.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import resource
import runpy
import select
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.app import ServerOptions

__all__ = ["FORKED", "ForkedTwistd"]

_FORKS = b"!"
"""What comes with the descriptors of the standard streams, before a command."""

_BEGINS = b"&"
"""Likewise, before one whose end is not waited for."""

_MODULES = (
    "twisted.scripts.twistd",
    "twisted.internet.endpoints",
    "twisted.internet.epollreactor",
    "twisted.internet.stdio",
    "twisted.internet.threads",
)


class ForkedTwistd:
    """The test's side: runs commands, one at a time, in forks of a process that it starts."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def run(
        self,
        words: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        limits: tuple[int, int] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """
        As subprocess.run does for ``twistd WORDS``, its output captured.

        :param limits: on open files, soft and hard.
        """
        from tests.integration.servers.commands import twistd
        from tests.integration.servers.processes import DEADLINE

        command = [twistd()[-1], *words]
        request = {"argv": command, "cwd": str(cwd), "env": dict(env), "limits": limits}
        control = self._start()
        control.settimeout(DEADLINE)
        try:
            output = self._request(control, request, time.monotonic() + DEADLINE)
            status = control.recv(16)
            assert status, f"its process has ended: {output}"
        except BaseException:
            self.stop()  # whatever it runs would go on, and answer to the next command
            raise
        return subprocess.CompletedProcess(command, int(status), *output)

    def start(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], streams: Sequence[int]
    ) -> int:
        """
        Begin to run a script.

        :param words: the script and its arguments.
        :param streams: its standard output and error.
        :returns: its pid; it is a child of this process.
        """
        request = {"argv": [*words], "cwd": str(cwd), "env": dict(env), "limits": None}
        control = self._start()
        control.settimeout(60)
        try:
            _send(control, _BEGINS, request, streams)
            pid = control.recv(16)
            assert pid, "its process has ended"
        except BaseException:
            self.stop()
            raise
        return int(pid)

    def _start(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        return self._control

    def _request(
        self, control: socket.socket, request: Mapping[str, Any], deadline: float
    ) -> list[bytes]:
        """Have a command run; all that it has written to each of its streams."""
        pipes = [os.pipe() for _ in ("stdout", "stderr")]
        try:
            _send(control, _FORKS, request, [write for _, write in pipes])
        finally:
            for _, write in pipes:
                os.close(write)
        written = {read: b"" for read, _ in pipes}
        left = set(written)
        try:
            while left:
                readable, _, _ = select.select(left, [], [], max(0.0, deadline - time.monotonic()))
                assert readable, f"{request['argv']} does not end: {written}"
                for read in readable:
                    piece = os.read(read, 65536)
                    written[read] += piece
                    left -= set() if piece else {read}
        finally:
            for read in written:
                os.close(read)
        return list(written.values())

    def pids(self) -> set[int]:
        """The process that forks, if it has been started."""
        return {self._process.pid} if self._process else set()

    def stop(self) -> None:
        """It ends."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


def _send(
    control: socket.socket, kind: bytes, request: Mapping[str, Any], streams: Sequence[int]
) -> None:
    socket.send_fds(control, [kind], [*streams])
    control.sendall(json.dumps(request).encode() + b"\n")


FORKED = ForkedTwistd()
"""The one of this process; conftest.py stops it after all tests."""


def import_twisted() -> None:
    """What any twistd imports, but no reactor, which is the command's to choose."""
    for name in _MODULES:
        importlib.import_module(name)
    list(ServerOptions().subCommands)  # imports all plugins; ours name modules, no more
    assert "twisted_fork" not in sys.modules
    assert "twisted.internet.reactor" not in sys.modules


def main() -> None:
    """Fork for each command; in each fork, be that command."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import_twisted()
    gc.collect()
    gc.freeze()
    commands = control.makefile("rb")
    while True:
        kind, streams, _, _ = socket.recv_fds(control, 1, 2)
        if not streams:
            return
        command = json.loads(commands.readline())
        pid = os.fork() if kind == _FORKS else fork_orphan()
        if pid == 0:
            control.detach()
            become(command, streams)
            return
        for each in streams:
            os.close(each)
        if kind == _FORKS:
            _, status = os.waitpid(pid, 0)
            pid = os.waitstatus_to_exitcode(status)
        control.sendall(b"%d" % pid)


def fork_orphan() -> int:
    """As os.fork; but the new process is not a child of this one, since its parent has ended."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        pid = os.fork()
        if pid == 0:
            return 0
        os.write(write, b"%d" % pid)
        os._exit(0)
    os.close(write)
    pid = int(os.read(read, 16))
    os.close(read)
    os.waitpid(parent, 0)
    return pid


def become(command: dict[str, Any], streams: Sequence[int]) -> None:
    """Run a command, with nothing open but its standard streams."""
    for number, each in enumerate(streams, 1):
        os.dup2(each, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if command["limits"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, command["limits"])
    os.chdir(command["cwd"])
    mine = paths(os.environ)
    os.environ.clear()
    os.environ.update(command["env"])
    sys.argv = command["argv"]
    # as the interpreter does: the script's folder, PYTHONPATH, and all else
    rest = [each for each in sys.path[1:] if each not in mine]
    sys.path = [str(Path(sys.argv[0]).parent), *paths(os.environ), *rest]
    end_as(sys.argv[0])


def end_as(script: str) -> NoReturn:
    """
    Run *script*, and end with its status.

    The interpreter is not taken down: that costs as much as all else that most commands do,
    since it touches, hence copies, every page of Twisted's.
    """
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def paths(environ: Mapping[str, str]) -> list[str]:
    """What PYTHONPATH has."""
    return [each for each in environ.get("PYTHONPATH", "").split(os.pathsep) if each]


if __name__ == "__main__":
    main()
