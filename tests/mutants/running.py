"""
How mutants are tried: each in a copy of the tree, by a forked process that has everything but
the program imported already, so that most take a few tenths of a second.
"""

from __future__ import annotations

import importlib
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Bench", "Trial"]

ROOT = Path(__file__).parents[2]

_BEFOREHAND = (
    "hypothesis.strategies",
    "proxyprotocol.v2",
    "twisted.application.service",
    "twisted.internet.abstract",
    "twisted.internet.task",
    "twisted.python.usage",
    "twisted.scripts.trial",
    "twisted.trial.reporter",
    "twisted.trial.runner",
    "twisted.trial.unittest",
)
"""Imported once.  Nothing that makes a reactor, and nothing of the program."""

_FOREIGN = 3
"""Exit status if it is not the copy that is being tested."""

_MEMORY = 4 << 30
"""Bytes of address space: a mutant may ask for more and more."""

_TIMES_AS_LONG = 5
_LEAST_SECONDS = 10
"""A mutant hangs if its tests take so many times as long as without a fault, and at least so
long: it has been noticed then."""


class Trial(NamedTuple):
    """What became of the tests."""

    passed: bool
    how: str
    seconds: float
    output: Path


class _Copy:
    """A copy of the tree, in which one mutant at a time is tried."""

    def __init__(self, place: Path) -> None:
        self.place = place
        ignored = shutil.ignore_patterns("__pycache__", "integration", "mutants")
        for name in ("twisted_fork", "twisted", "tests"):
            shutil.copytree(ROOT / name, place / name, ignore=ignored)
        for name in ("README.md", "pyproject.toml", "docs", "examples"):
            (place / name).symlink_to(ROOT / name)

    def put(self, module: str, source: str) -> None:
        """Put *source* into the place of a module."""
        path = self.place / "twisted_fork" / f"{module}.py"
        path.write_text(source)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()  # times and sizes may be equal

    def start(self, tests: Sequence[str], seconds: float | None) -> int:
        """Run *tests* until one fails; returns a pidfd and notes the pid."""
        self.output = self.place / "output"
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            try:
                self._test(tests, seconds)
            finally:
                os._exit(70)
        return os.pidfd_open(self.pid)

    def end(self, ended: bool) -> Trial:
        """Kill whoever is left."""
        seconds = time.monotonic() - self.began
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._kill()
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == _FOREIGN:
            raise SystemExit(self.output.read_text())
        how = "hangs" if not ended or code == -signal.SIGXCPU else f"exit {code}"
        return Trial(code == 0 and ended, how, seconds, self.output)

    def _kill(self) -> None:
        """SIGKILL to whoever is of its session, in whatever group."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
            except OSError:
                pass  # it has ended meanwhile

    def _test(self, tests: Sequence[str], seconds: float | None) -> None:
        os.setsid()
        os.dup2(os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.closerange(3, 1 << 10)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        if seconds is not None:
            most = int(seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for name in [
            name for name in sys.modules if name.split(".")[0] in ("tests", "twisted_fork")
        ]:
            del sys.modules[name]
        os.chdir(self.place)
        sys.path[:] = [str(self.place), *(p for p in sys.path if p not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"] = str(self.place)
        importlib.invalidate_caches()
        _without_shrinking()
        sys.argv = ["trial", "--exitfirst", *(f"tests.unit.{name}" for name in tests)]
        try:
            from twisted.scripts import trial

            trial.run()
        except SystemExit as leaving:
            sys.stdout.flush()
            os._exit(leaving.code if isinstance(leaving.code, int) else 1)


def _without_shrinking() -> None:
    """One example that fails is as good as the smallest."""
    import tests.unit
    import twisted_fork

    for module in (tests.unit, twisted_fork):
        if Path(str(module.__file__)).is_relative_to(ROOT):
            print(f"{module.__file__} is not of the copy")
            sys.stdout.flush()
            os._exit(_FOREIGN)
    from hypothesis import Phase, settings

    unshrunk = settings(phases=[Phase.explicit, Phase.generate])
    settings.register_profile("mutants", unshrunk)
    settings.load_profile("mutants")


class Bench:
    """
    Copies of the tree, in which as many mutants are tried at a time.

    :param place: an empty folder for them.
    """

    def __init__(self, place: Path, copies: int) -> None:
        for name in _BEFOREHAND:
            importlib.import_module(name)
        assert "twisted.internet.reactor" not in sys.modules
        self._copies = [_Copy(place / str(number)) for number in range(copies)]
        self._unused = list(self._copies)

    def baseline(self, tests: Sequence[str]) -> float:
        """
        Run *tests* without a fault, in each copy, which leaves everything compiled.

        :returns: seconds after which they are held to hang.
        """
        for copy in self._copies:
            os.close(copy.start(tests, None))
            os.waitid(os.P_PID, copy.pid, os.WEXITED | os.WNOWAIT)
            trial = copy.end(True)
            if not trial.passed:
                raise SystemExit(f"without a fault: {trial.how}\n{trial.output.read_text()}")
        return max(_LEAST_SECONDS, _TIMES_AS_LONG * trial.seconds)

    def try_all(
        self, module: str, sources: Sequence[str], tests: Sequence[str], seconds: float
    ) -> Iterator[tuple[int, Trial]]:
        """
        Try every source in the place of *module*, in any order.

        :returns: the index of a source, and what became of it.
        """
        original = (ROOT / "twisted_fork" / f"{module}.py").read_text()
        running: dict[int, tuple[_Copy, int]] = {}
        left = list(enumerate(sources))[::-1]
        free = list(self._copies)
        try:
            while left or running:
                while left and free:
                    copy, (index, source) = free.pop(), left.pop()
                    copy.put(module, source)
                    running[copy.start(tests, seconds)] = copy, index
                for descriptor, ended in _wait(running, seconds):
                    copy, index = running.pop(descriptor)
                    os.close(descriptor)
                    yield index, copy.end(ended)
                    free.append(copy)
        finally:
            for descriptor, (copy, _) in running.items():
                os.close(descriptor)
                copy.end(False)
            for copy in self._copies:
                copy.put(module, original)


def _wait(running: dict[int, tuple[_Copy, int]], seconds: float) -> list[tuple[int, bool]]:
    """Those that have ended, or have had their time, and which of both."""
    poll = select.poll()
    for descriptor in running:
        poll.register(descriptor, select.POLLIN)
    ends = {d: copy.began + seconds for d, (copy, _) in running.items()}
    until = max(0.0, min(ends.values()) - time.monotonic())
    ended = [descriptor for descriptor, _ in poll.poll(until * 1000 + 1)]
    late = [d for d, end in ends.items() if end <= time.monotonic() and d not in ended]
    return [*((d, True) for d in ended), *((d, False) for d in late)]
