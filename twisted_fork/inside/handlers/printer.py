"""
Printing what is received: to standard output, as long as that is possible.

It has to be imported before the first fork, so that all children of a template share _told.
"""

from __future__ import annotations

import mmap
import os
import sys

__all__ = ["copy"]

_told = mmap.mmap(-1, 1)
"""Whether a child has reported that printing is not possible."""


def copy(data: bytes) -> None:
    """Print *data*.  If that fails, *data* is left out, and the first child that notices says so
    on standard error, and so in the log."""
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
    """Another process has made standard output non-blocking, and it is full: wait."""
    import select

    poll = select.poll()
    poll.register(1, select.POLLOUT)
    poll.poll()
