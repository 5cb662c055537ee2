"""
A twistd that counts calls of the project's own functions: ``python counted.py FILE SCRIPT
ARGUMENT ...``, where SCRIPT is twistd.

SIGRTMIN has it write to FILE, which must not exist, what was called since the last time: a JSON
list that has an item for each call from Twisted's code into ours.  The item is a list of lists of
names, by module and function: what was called in it for no reader in particular, itself
included; then what was called for each reader that the watcher has found ready.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
from types import FrameType
from typing import Any

import twisted_fork

PRODUCT = os.path.dirname(twisted_fork.__file__) + os.sep


WATCHER = "kernel/watcher.py:doRead"


class Counter:
    """What sys.setprofile calls."""

    def __init__(self) -> None:
        self._roots: list[list[list[str]]] = []
        self._names: list[str] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(PRODUCT):
            return
        if event == "return":
            del self._names[-1:]  # who was called before the counting began returns too
            return
        if not self._names:
            self._roots.append([[]])
        root = self._roots[-1]
        if self._names[-1:] == [WATCHER]:
            root.append([])
        within = WATCHER in self._names
        self._names.append(f"{code.co_filename[len(PRODUCT) :]}:{code.co_name}")
        root[-1 if within else 0].append(self._names[-1])

    def write(self, path: str) -> None:
        """What was counted, and begin anew."""
        sys.setprofile(None)
        with open(f"{path}.new", "w") as file:
            json.dump(self._roots, file)
        os.rename(f"{path}.new", path)
        self._roots, self._names = [], []
        sys.setprofile(self)


_, path, *sys.argv = sys.argv
counter = Counter()

from twisted.internet import reactor as _reactor  # noqa: E402

reactor: Any = _reactor
reactor.callWhenRunning(reactor.callLater, 0, sys.setprofile, counter)
signal.signal(signal.SIGRTMIN, lambda number, frame: reactor.callFromThread(counter.write, path))
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
