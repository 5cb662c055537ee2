"""
A look at whether a template could work here, before anything is started.

The orders come, marshalled, on standard input.
"""

from __future__ import annotations

import marshal
import os
import sys

from twisted_fork.inside import sibling, worker
from twisted_fork.inside.importing import BadHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main() -> NoReturn:
    """Write ``checked`` to standard output, and nothing else, and exit with status 0; or say
    on standard error, in one line, what is wrong, and exit with 1."""
    # what a handler starts when it is imported can be ended together with it
    os.setpgid(0, 0)
    _end_with_our_parent()
    # standard output is not the handler's
    answer = os.dup(1)
    os.dup2(2, 1)
    orders = marshal.loads(sys.stdin.buffer.read())
    sys.path[:] = orders["path"]
    if orders["launcher"] == "fork":
        try:
            sibling.Cloner().probe()
        except (sibling.Unsupported, OSError) as failure:
            _refuse(f"children cannot be forked here: {failure}; try --launcher spawn")
    for path, _contents in filter(None, (orders["tls"] or {}).values()):
        # a reload will have to read them as whom we are
        try:
            open(path, "rb").close()
        except OSError as failure:
            _refuse(f"{path}: {failure.strerror}")
    try:
        work = worker.Work(orders)
        if work.limit is not None:
            # for good, but this process is only for that
            work.limit()
    except BadHandler as failure:
        _refuse(str(failure))
    except OSError as failure:
        _refuse(f"{failure.filename} cannot be applied to children: {failure.strerror or failure}")
    os.write(answer, b"checked\n")
    os._exit(0)


def _end_with_our_parent() -> None:
    """Whoever waits for the answer may be killed while the handler hangs; see prctl(2)."""
    import ctypes

    ctypes.PyDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def _refuse(why: str) -> NoReturn:
    print(" ".join(why.split()), file=sys.stderr)
    raise SystemExit(1)
