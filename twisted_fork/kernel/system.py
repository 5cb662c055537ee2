"""
What the system has to allow.  It is checked before anything is started, because otherwise every
connection would fail.
"""

from __future__ import annotations

import errno
import os

from twisted_fork.settings import InvalidSetting
from twisted_fork.wire import calls

__all__ = ["can_begin_sessions", "check"]


def check() -> None:
    """
    Check that this process can do what every launcher needs.

    :raises InvalidSetting: it cannot; one line says what is denied, and what it is needed for.
    """
    try:
        os.listdir("/proc/self/fd")
    except OSError as failure:
        raise InvalidSetting(
            f"/proc has to be mounted, and readable: /proc/self/fd: {failure.strerror}"
        ) from None
    try:
        os.close(calls.pidfd_open(os.getpid()))
    except OSError as failure:
        raise InvalidSetting(
            f"the end of a child cannot be seen here: pidfd_open(2): {failure.strerror}; it takes"
            " Linux 5.3 or newer, and a seccomp filter has to allow it"
        ) from None
    number = _spawn()
    if number != errno.EACCES:
        raise InvalidSetting(
            f"no process can be started here: posix_spawn(3): {os.strerror(number)}; a seccomp"
            " filter has to allow clone3(2), or to answer ENOSYS"
        )


def can_begin_sessions() -> bool:
    """Whether posix_spawn(3) can begin a session: not if Python was built for an old C library."""
    try:
        _spawn(session=True)
    except NotImplementedError:
        return False
    return True


def _spawn(session: bool = False) -> int:
    """
    Try to start a process that cannot execute anything, so that none is left.

    :returns: the errno: ``EACCES`` if processes can be started, since a folder is no program.
    """
    try:
        os.posix_spawn("/", ["/"], {}, setsid=session)
    except OSError as failure:
        return failure.errno or 0
    raise AssertionError("a folder was executed")
