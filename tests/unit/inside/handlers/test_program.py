"""Tests for programs: how they are executed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from typing import Any, cast

from tests.unit.cases import Case
from tests.unit.processes import descriptors_before, forked, status_of
from twisted_fork.inside.handlers import program
from twisted_fork.inside.handlers.api import ConnectionInfo
from twisted_fork.wire.orders import ProgramOrder

TELL = (
    "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(),"
    " [each for each in range(3, 1000) if os.path.exists(f'/proc/self/fd/{each}')]]))"
)


def info(peer: Any, local: Any, number: int = 1) -> ConnectionInfo:
    """A connection."""
    return ConnectionInfo(None, (socket.AF_INET, peer, local, number, None))


def order(**given: Any) -> ProgramOrder:
    """A program's order."""
    made = {"kind": "program", "env": {}, "clear": False, "chdir": None, **given}
    return cast(ProgramOrder, made)


TCP = info(("192.0.2.1", 5000), ("192.0.2.9", 80), 3)


class ExecuteTests(Case):
    """Becoming the program."""

    def executed(self, **given: Any) -> tuple[int, bytes]:
        """How a program ended, and what it wrote into its connection."""
        argv = [sys.executable, "-c", TELL, "an argument"]
        ordered = order(**{"path": sys.executable, "argv": argv, **given})
        ours, theirs = socket.socketpair()

        def run() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            program.execute(ordered, theirs.fileno(), TCP)

        pid = forked(run)
        theirs.close()
        with ours, ours.makefile("rb") as stream:
            said = stream.read()
        return status_of(pid), said

    def test_it_has_its_arguments_its_environment_and_its_connection(self) -> None:
        status, said = self.executed(env={"COLOUR": "red"}, chdir="/")
        arguments, env, folder, _ = json.loads(said)
        self.assertEqual((status, arguments, folder), (0, ["an argument"], "/"))
        self.assertEqual((env["COLOUR"], env["TCPREMOTEIP"]), ("red", "192.0.2.1"))

    def test_it_has_no_other_descriptors(self) -> None:
        # but for those that whoever runs the tests has left open
        before = [each for each in map(int, descriptors_before()) if each > 2]
        left = [each for each in before if os.path.exists(f"/proc/self/fd/{each}")]
        _, said = self.executed()
        found = json.loads(said)[3]
        self.assertEqual(found, sorted(each for each in left if os.get_inheritable(each)))

    def test_no_signal_is_blocked_and_a_broken_pipe_ends_it(self) -> None:
        # not told by Python, which would ignore SIGPIPE by itself
        tell = ["grep", "^Sig[BI]", "/proc/self/status"]
        _, said = self.executed(path=shutil.which("grep"), argv=tell)
        words = said.decode().split()
        masks = {name: int(mask, 16) for name, mask in zip(words[::2], words[1::2], strict=True)}
        self.assertEqual(masks["SigBlk:"], 0)
        self.assertEqual(masks["SigIgn:"] & 1 << (signal.SIGPIPE - 1), 0)

    def test_standard_input_is_the_connection_too(self) -> None:
        ours, theirs = socket.socketpair()
        ordered = order(path="/bin/cat", argv=["cat"])
        pid = forked(lambda: program.execute(ordered, theirs.fileno(), TCP))
        theirs.close()
        with ours:
            ours.sendall(b"hello")
            ours.shutdown(socket.SHUT_WR)
            self.assertEqual(ours.recv(100), b"hello")
        self.assertEqual(status_of(pid), 0)
