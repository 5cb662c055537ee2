"""
Real processes for those tests that need them: forks of this one, and interpreters.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TIME_LIMIT = 20
"""Seconds after which a process that hangs is ended, and its test fails."""


def forked(run: Callable[[], object]) -> int:
    """Fork a child that runs *run*, then exits with status 99; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(TIME_LIMIT)
            run()
        finally:
            os._exit(99)
    return pid


def status_of(pid: int) -> int:
    """Wait for a child: its exit status, or the negative number of its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def environment() -> dict[str, str]:
    """This process's environment, with its module path, and not to be measured: what
    measures coverage imports modules of its own."""
    kept = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def descriptors_before() -> list[str]:
    """
    Those that are open, of which as many are to be open afterwards.

    What other tests have dropped without closing it is closed now, not while they are counted.
    """
    gc.collect()
    gc.freeze()  # the next time only what has come meanwhile is looked through
    return os.listdir("/proc/self/fd")


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )


def leaving_somebody(pid: Path) -> list[str]:
    """Lines of a module that leaves a process behind when it is imported: out of reach, with
    all descriptors, its pid in a file."""
    return [
        "import os, time",
        "if os.fork() == 0:",
        "    os.setsid()",
        f"    open({str(pid)!r}, 'w').write(str(os.getpid()))",
        "    time.sleep(1000)",
        f"while not os.path.exists({str(pid)!r}) or not open({str(pid)!r}).read():",
        "    time.sleep(0.01)",
    ]


def wait_until_ended(*pids: int) -> None:
    """Processes of others have ended, or do so within ten seconds."""
    for pid in pids:
        for _ in range(1000):
            if _state(pid) in ("", "Z"):
                break
            time.sleep(0.01)
        else:
            raise AssertionError(f"process {pid} does not end")


def wait_until_written(path: Path) -> str:
    """What is in a file that somebody writes within ten seconds."""
    for _ in range(1000):
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.01)
    raise AssertionError(f"nobody writes {path}")


def _state(pid: int) -> str:
    """As in /proc/PID/stat; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
