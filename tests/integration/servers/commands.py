"""
The commands that the tests run, and as whom.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import public
from .public import NOBODY, TWISTD

HERE = public.HERE

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


def twistd() -> list[str]:
    """The command, without its arguments."""
    return [sys.executable, str(TWISTD)]


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

    :ivar python: an interpreter that they may run.  It need not be the one that runs the
        tests, which may be root's alone.
    :ivar here: the folder of the handlers, where they may read it.
    :ivar environment: with which that one finds what is tested, and our handlers.
    """

    def __init__(self, uid: int = NOBODY) -> None:
        self.uid = uid if os.getuid() == 0 else os.getuid()
        means = public.means()
        self._twistd = means.command()
        self.python = means.python
        self.here = means.here
        self.environment = means.environment()

    def twistd(self) -> list[str]:
        """The command that they run, without its arguments."""
        return list(self._twistd)

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments for subprocess."""
        return {**public.becoming(self.uid), "env": self.environment}
