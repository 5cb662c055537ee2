"""
The end of a child: the report of an exception, and the exit itself.
"""

from __future__ import annotations

import os
import sys

from twisted_fork.wire import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["exit_now", "report"]

_INSIDE = __file__.rpartition("/handlers/")[0]


def report(raised: BaseException) -> int:
    """
    Write to standard error, and so into the log, what the handler raised.

    :returns: the exit status for it.
    """
    if isinstance(raised, SystemExit):
        if raised.code is None or isinstance(raised.code, int):
            return raised.code or 0
        sys.stderr.write(f"{raised.code}\n")
        return 1
    import traceback

    api = sys.modules.get("twisted_fork.inside.handlers.api")
    if api is not None:
        try:
            sys.stderr.write(f"handler raised, peer={api.connection().peer!r}\n")
        except RuntimeError:
            pass
    trace = raised.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_INSIDE):
        trace = trace.tb_next
    lines = traceback.format_exception(type(raised), raised, trace or raised.__traceback__)
    sys.stderr.write("".join(lines))
    return messages.EXIT_MEMORY if isinstance(raised, MemoryError) else 1


def exit_now(status: int) -> NoReturn:
    """
    End this process, with the low 8 bits of *status*.  The interpreter is not torn down: that
    would touch, and so copy, most of the template's pages.  Nothing has to be flushed, since
    its streams are not buffered.
    """
    os._exit(status & 0xFF)
