"""
System calls that the ``os`` module may lack: it has them only if Python was built on a system
that had them, and many prebuilt Pythons were built on older ones.

Used on both sides.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["memory_file", "pidfd_open"]

_SYS_PIDFD_OPEN = 434
"""The number is the same on all architectures."""

_MFD_CLOEXEC = 1


def _pidfd_open(pid: int) -> int:
    return _called("syscall", _SYS_PIDFD_OPEN, pid, 0)


def _memory_file(name: str) -> int:
    return _called("memfd_create", name.encode(), _MFD_CLOEXEC)


def _called(function: str, *arguments: int | bytes) -> int:
    """
    Call a function of the C library.

    :raises OSError: the call failed; ``ENOSYS`` if the library has no such function.
    """
    import ctypes
    import errno

    try:
        call = getattr(ctypes.CDLL(None, use_errno=True), function)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    result: int = call(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


pidfd_open: Callable[[int], int] = getattr(os, "pidfd_open", _pidfd_open)
"""Open a descriptor that becomes readable when the process ends, see pidfd_open(2).  It is
closed on exec."""

memory_file: Callable[[str], int] = getattr(os, "memfd_create", _memory_file)
"""Open a file that exists only in memory, see memfd_create(2).  Its descriptor is closed on
exec."""
