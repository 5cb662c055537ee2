"""
The commands that the tests run, and as whom.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import twisted
import twisted_fork

HERE = Path(__file__).parent
"""Where the handlers are found that the tests serve: the folder ``served``."""

_NOBODY = 65534

_LIMITS = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({}, {})); "
_EXEC = "os.execvp(sys.argv[1], sys.argv[1:])"

_AT_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(os.open(sys.argv.pop(1), os.O_RDWR), termios.TIOCSCTTY, 0)
"""

_DENIED = """
import ctypes, os, struct, sys
number, error = int(sys.argv.pop(1)), int(sys.argv.pop(1))
load, equal, give, allow, fail = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000
steps = [(load, 0, 0, 0), (equal, 0, 1, number), (give, 0, 0, fail | error), (give, 0, 0, allow)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
filter = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.addressof(filter), 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
"""


def twistd(python: str = sys.executable) -> list[str]:
    """The command, without its arguments."""
    beside = Path(sys.executable).with_name("twistd")
    # Another interpreter must not find packages of its own.
    options = [] if python == sys.executable else ["-S"]
    return [python, *options, str(beside if beside.exists() else shutil.which("twistd"))]


def through(command: Sequence[str], program: Path, *words: str) -> list[str]:
    """
    *command*, twistd and what there is before it, run by a Python program of ours, which is
    given *words* and the rest: it changes what it has to change, and runs that.
    """
    script = next(i for i, word in enumerate(command) if i and not word.startswith("-"))
    return [*command[:script], str(program), *words, *command[script:]]


def variables(**more: str) -> dict[str, str]:
    """With these variables, and *more*, a process finds our handlers."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, **more}


def environment(**more: str) -> list[str]:
    """A command to put before another, which then finds our handlers and has *more* variables."""
    return ["env", *(f"{name}={value}" for name, value in variables(**more).items())]


def limited(soft: int, hard: int) -> list[str]:
    """A command to put before another, which then has these limits on open files."""
    return [sys.executable, "-c", _LIMITS.format(soft, hard) + _EXEC]


def at_a_terminal(path: str) -> list[str]:
    """Likewise, and which has the terminal at *path* as its controlling one."""
    return [sys.executable, "-c", _AT_A_TERMINAL + _EXEC, path]


def denied(number: int, error: int) -> list[str]:
    """Likewise, and which is told *error* when it makes the system call of that number: see
    seccomp(2)."""
    return [sys.executable, "-c", _DENIED + _EXEC, str(number), str(error)]


class Unprivileged:
    """
    Somebody without privileges: nobody, or any user id that has no name, if the tests
    are run by root, else whoever runs them.

    :ivar python: an interpreter that they may run; None if there is none.  It need not
        be the one that runs the tests, which may be root's alone.
    :ivar environment: with which that one finds what is tested.
    """

    _pythons: ClassVar[dict[int, str | None]] = {}
    """By user id: it takes long to find out."""

    def __init__(self, uid: int = _NOBODY) -> None:
        self.uid = uid if os.getuid() == 0 else os.getuid()
        self._popen: dict[str, Any] = {}
        if os.getuid() == 0:
            self._popen = {"user": uid, "group": uid, "extra_groups": []}
        homes = [Path(str(package.__file__)).parents[1] for package in (twisted_fork, twisted)]
        path = [*map(str, homes), os.environ.get("PYTHONPATH", "")]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        name = f"python3.{sys.version_info.minor}"
        if self.uid not in self._pythons:
            candidates = [sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"]
            self._pythons[self.uid] = next(filter(self._can_run, candidates), None)
        self.python = self._pythons[self.uid]

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments for subprocess."""
        return {**self._popen, "env": self.environment}

    def _can_run(self, python: str) -> bool:
        try:
            command = [*twistd(python), "forkecho", "--version"]
            ended = subprocess.run(command, capture_output=True, cwd="/", **self.popen)
        except OSError:
            return False
        return ended.returncode == 0
