"""
Real children, for test cases.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.python.failure import Failure

from tests.unit.cases import Case
from tests.unit.fakes import FakeReactor
from tests.unit.processes import forked
from twisted_fork.kernel.processes import ForkedProcess


class ProcessCase(Case):
    """Real children, and a reactor that turns when it is told to."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.ends: list[Failure] = []
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.pids: list[int] = []
        self.addCleanup(self.end_all)

    def end_all(self) -> None:
        os.close(self.writing)
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ChildProcessError, ProcessLookupError):
                pass

    def fork(self, status: int = 0, group: int | None = None) -> int:
        """A child that exits with *status* as soon as it may; see let_go."""

        def run() -> None:
            if group is not None:
                os.setpgid(0, group)
            os.read(self.reading, 1)
            os._exit(status)

        pid = forked(run)
        self.pids.append(pid)
        if group is not None:
            os.setpgid(pid, group)
        return pid

    def let_go(self, children: int = 1) -> None:
        """Let children exit, and wait until the kernel knows that they have."""
        os.write(self.writing, b"x" * children)

    def has_ended(self, pid: int) -> None:
        """Wait until *pid* is a zombie, and leave it one."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    def watch(self, pid: int) -> ForkedProcess:
        return ForkedProcess(self.reactor, self.reactor, pid, self.ends.append)

    def how_it_ended(self) -> tuple[object, object]:
        (reason,) = self.ends
        value: Any = reason.value
        return value.exitCode, value.signal

    def is_gone(self, pid: int) -> bool:
        """Whether it has been waited for."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return True
        return False
