"""
Printing what is received: to standard output, as long as that takes it.

Imported before the first fork, so that all children of a template share what is told once.
"""

from __future__ import annotations

import mmap
import os
import sys

__all__ = ["copy"]

_told = mmap.mmap(-1, 1)
"""Whether somebody has said that it cannot be printed."""


def copy(data: bytes) -> None:
    """Print *data*.  Where that fails it is left out; the first to notice says so on standard
    error, hence in the log."""
    try:
        while data:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                _wait()
    except OSError as failure:
        if not _told[0]:
            _told[0] = 1
            sys.stderr.write(
                f"standard output cannot be written: {failure.strerror}; what is received is"
                " answered without being printed\n"
            )


def _wait() -> None:
    """Somebody has made standard output non-blocking, and it is full."""
    import select

    poll = select.poll()
    poll.register(1, select.POLLOUT)
    poll.poll()
