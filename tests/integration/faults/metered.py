"""
twistd, with a meter: the longest time that its reactor was away from waiting for what happens.

Run as ``python metered.py REPORT SCRIPT ARGUMENT ...``, where SCRIPT is twistd, or what runs
that; read_meter reads the report, at any time.
"""

from __future__ import annotations

import os
import runpy
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, thread_time  # not those that steered.py moves
from typing import Any, NamedTuple

__all__ = ["Away", "metered", "read_meter"]

_REPORT = struct.Struct("=dd")


class Away(NamedTuple):
    """
    The longest times between two waits of a reactor.

    :ivar wall: seconds, in which others may have had the processor.
    :ivar cpu: seconds of the reactor's thread, of another turn perhaps.
    """

    wall: float
    cpu: float


def read_meter(report: Path) -> Away:
    """What has been measured until now; nothing if the reactor has not waited twice."""
    data = report.read_bytes() if report.exists() else b""
    return Away(*_REPORT.unpack(data)) if data else Away(0.0, 0.0)


def metered(twistd: Sequence[str], report: Path) -> list[str]:
    """The command *twistd*, an interpreter and its arguments, with a meter."""
    from tests.integration.servers.commands import through

    return through(twistd, Path(__file__), str(report))


class _Meter:
    """
    An epoll set that measures how long nobody waits for it.

    Only the longest times are written, each as it becomes known: the reactor may be killed.
    """

    report = -1

    def __init__(self, epoll: Any) -> None:
        self._poll = epoll.poll
        self._cpu = self._wall = 0.0
        self._longest = Away(0.0, 0.0)
        for name in ("register", "modify", "unregister", "fileno", "close"):
            setattr(self, name, getattr(epoll, name))

    def poll(self, *arguments: Any) -> Any:
        if self._wall:
            self._measure(Away(monotonic() - self._wall, thread_time() - self._cpu))
        happened = self._poll(*arguments)
        self._cpu, self._wall = thread_time(), monotonic()
        return happened

    def _measure(self, away: Away) -> None:
        longest = Away(*map(max, away, self._longest))
        if longest != self._longest:
            self._longest = longest
            os.pwrite(self.report, _REPORT.pack(*longest), 0)


def main() -> None:
    """Become twistd."""
    from select import epoll

    from twisted.internet import epollreactor

    _, report, *sys.argv = sys.argv
    _Meter.report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
    epollreactor.epoll = lambda *arguments: _Meter(epoll(*arguments))
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
