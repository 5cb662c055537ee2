"""
Processes, as /proc shows them, and waiting for what happens to them.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.task import deferLater

DEADLINE = 60.0
"""Seconds that anything may take on a busy machine.  Nothing takes so long but in a
test that fails."""

_LOOK = 0.01

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    seconds: float | None = None,
    tell: Callable[[], object] = str,
) -> T:
    """
    What *condition* returns, as soon as that is true.

    :param seconds: how long it may take; DEADLINE if nothing else is said.
    :param tell: what there is to say, besides *what*, when it has not become true.
    """
    deadline = time.monotonic() + (DEADLINE if seconds is None else seconds)
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}{tell()}"
        time.sleep(_LOOK)
    return found


async def until(reactor: Any, condition: Callable[[], T | None], what: str) -> T:
    """As wait_until does, while the reactor of the test runs."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await deferLater(reactor, _LOOK)
    return found


def _read(pid: int, name: str) -> str:
    """Empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> set[int]:
    """Those who have not been waited for."""
    found: set[int] = set()
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found.update(map(int, _read(pid, f"task/{task}/children").split()))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants(pid: int) -> set[int]:
    """Children, their children, and so on."""
    own = children(pid)
    return own.union(*map(descendants, own))


def _stat(pid: int) -> list[str]:
    """What follows the program's name in /proc/PID/stat, see proc_pid_stat(5)."""
    return _read(pid, "stat").rpartition(")")[2].split()


def state(pid: int) -> str:
    """R, S, Z ... or an empty string for a process that is gone."""
    return "".join(_stat(pid)[:1])


def told(pid: int) -> str:
    """Pid, name, state, parent, group and session, of a zombie too."""
    return " ".join(_read(pid, "stat").split()[:6])


def stop(*pids: int) -> None:
    """
    They do nothing until they are continued.  Once this returns they are stopped indeed: a
    signal that reaches a process together with SIGSTOP may be taken before it.
    """
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        wait_until(lambda pid=pid: state(pid) == "T", f"{pid}, stopped")  # type: ignore[misc]


def group(pid: int) -> int:
    """The process group."""
    return int(_stat(pid)[2])


def session(pid: int) -> int:
    """The session."""
    return int(_stat(pid)[3])


def has_terminal(pid: int) -> bool:
    """Whether it has a controlling terminal."""
    return int(_stat(pid)[4]) != 0


def ticks(pid: int) -> int:
    """Of CPU time, in user and in kernel mode."""
    return sum(map(int, _stat(pid)[11:13]))


def zombies(pid: int) -> set[int]:
    """Children that have ended and have not been waited for."""
    return {child for child in children(pid) if state(child) == "Z"}


def descriptors(pid: int) -> dict[int, str]:
    """Open descriptors, and what each leads to."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def status(pid: int, field: str) -> str:
    """A field of /proc/PID/status; empty for a process that is gone."""
    for line in _read(pid, "status").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def open_files(pid: int) -> tuple[int, int]:
    """The soft and the hard limit on open files."""
    for line in _read(pid, "limits").splitlines():
        if line.startswith("Max open files"):
            soft, hard = line.split()[3:5]
            return int(soft), int(hard)
    raise LookupError(pid)


def mapped(pid: int) -> str:
    """The files that a process has mapped, as text to search in."""
    return _read(pid, "maps")
