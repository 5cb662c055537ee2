"""
Checks whether a template could work here, before anything is started.

The orders are on standard input, marshalled.  launchers.check.verdict reads the answer.
"""

from __future__ import annotations

import marshal
import os
import sys

from twisted_fork.inside import sibling, worker
from twisted_fork.inside.handlers import exits, imports
from twisted_fork.inside.handlers.imports import BadHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from twisted_fork.wire.orders import Certificates, HandlerOrder, Orders

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main() -> NoReturn:
    """Write ``checked`` and the call that forks children here to standard output, and exit with
    status 0; or write one line to standard error that says what is wrong, and exit with 1."""
    # a session of its own: what the handler starts at import can be ended with this process
    os.setsid()
    _end_with_our_parent()
    # the handler's own output must not mix with the answer
    answer = os.dup(1)
    os.dup2(2, 1)
    orders: Orders = marshal.loads(sys.stdin.buffer.read())
    sys.path[:] = orders["path"]
    call = "clone3"
    if orders["launcher"] == "fork":
        try:
            call = sibling.Cloner().probe()
        except (sibling.Unsupported, OSError) as failure:
            _refuse(f"children cannot be forked here: {failure}; try --launcher spawn")
    for path in _files(orders["tls"]):
        # a reload will read them as this user
        try:
            open(path, "rb").close()
        except OSError as failure:
            _refuse(f"{path}: {failure.strerror}")
    try:
        _require_shape(orders["handler"])
        work = worker.Work(orders)
        _require_program(orders["handler"], work)
        if work.limit is not None:
            _require_limits(work.limit)
    except (BadHandler, OSError) as failure:
        _refuse(str(failure))
    os.write(answer, f"checked {call}\n".encode())
    # exits without what a handler has registered for the end of the interpreter
    exits.exit_now(0)


def _files(tls: Certificates | None) -> list[str]:
    if tls is None:
        return []
    files = (tls["certificate"], tls["key"], tls["client_ca"])
    return [file[0] for file in files if file is not None]


def _require_shape(order: HandlerOrder) -> None:
    if order["kind"] == "import":
        handler = imports.resolve(order)
        kind = imports.kind_of(handler)

        from twisted_fork.inside import shape

        shape.require_shape(handler, kind, f"{order['module']}:{order['name']}")


def _require_program(order: HandlerOrder, work: worker.Work) -> None:
    if order["kind"] == "program":
        from twisted_fork.inside import trial

        wrong = trial.complaint(order, work.limit)
        if wrong is not None:
            raise BadHandler(wrong)


def _end_with_our_parent() -> None:
    """Have the kernel end this process if its parent is killed while the handler hangs; see
    prctl(2)."""
    import ctypes

    ctypes.PyDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def _require_limits(limit: Callable[[], None]) -> None:
    """Apply the limits in a forked process; this one must still be able to answer."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            limit()
        except OSError as failure:
            why = failure.strerror or failure
            os.write(writing, f"{failure.filename} cannot be applied to children: {why}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    if said:
        raise BadHandler(said)


def _refuse(why: str) -> NoReturn:
    line = " ".join(why.split()) + "\n"
    # not to sys.stderr, which the handler may have replaced
    os.write(2, line.encode("utf-8", "backslashreplace"))
    exits.exit_now(1)
