"""
Tries a program: it is executed under ptrace(2), and killed before its first instruction.

Only for the check.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import ctypes
import errno
import os

from twisted_fork.inside.handlers import api, program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from twisted_fork.wire.orders import ProgramOrder

__all__ = ["complaint"]

_PTRACE_TRACEME = 0
_PR_SET_PDEATHSIG = 1

_FIRST_LINE = 256
"""So many bytes of a script's first line are read by the kernel."""


def complaint(order: ProgramOrder, limit: Callable[[], None] | None) -> str | None:
    """
    Find out why a child could not become the program.

    :param order: see handler.Program.order.
    :param limit: applies the limits to a child.
    :returns: one line; None if it could, or if that cannot be found out here.
    """
    reading, writing = os.pipe()
    connection, peer = _socket.socketpair()
    library = ctypes.PyDLL(None)
    pid = os.fork()
    if pid == 0:
        _become(order, limit, writing, connection.fileno(), library)
    os.close(writing)
    for end in (connection, peer):
        end.close()
    # it stops when the program has been executed, or when it gets a signal
    _, status = os.waitpid(pid, 0)
    signal = os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.WTERMSIG(status)
    if os.WIFSTOPPED(status):
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    if signal not in (0, _signal.SIGTRAP):
        return f"{order['argv'][0]} cannot be executed: it is ended by signal {signal} at once"
    if not said:
        return None
    what, _, number = said.partition(" ")
    if what == "chdir":
        why = f"{os.strerror(int(number))}, for the user that children run as"
        return f"chdir (--chdir) cannot be {order['chdir']!r}: {why}"
    return _of_program(order, int(number))


def _become(
    order: ProgramOrder,
    limit: Callable[[], None] | None,
    writing: int,
    connection: int,
    library: ctypes.PyDLL,
) -> NoReturn:
    """Execute the program as a child does, but stop there; or write what went wrong."""
    local = ("127.0.0.1", 1)
    info = api.ConnectionInfo(None, (int(_socket.AF_INET), local, local, 1, None))
    what = "chdir"
    try:
        if limit is not None:
            limit()
        if order["chdir"]:
            os.chdir(order["chdir"])
        what = "execve"
        # if the tracer is killed, the program must not run
        library.prctl(_PR_SET_PDEATHSIG, _signal.SIGKILL, 0, 0, 0)
        if library.ptrace(_PTRACE_TRACEME, 0, 0, 0) == 0:
            program.execute({**order, "chdir": None}, connection, info)
    except OSError as failure:
        # limits that cannot be applied are reported by _require_limits; too many processes are
        # not the program's fault
        if failure.filename in (order["chdir"], order["path"]) and failure.errno != errno.EAGAIN:
            os.write(writing, f"{what} {failure.errno}".encode())
    finally:
        os._exit(0)


def _of_program(order: ProgramOrder, number: int) -> str:
    name = order["argv"][0]
    if number == errno.ENOEXEC:
        return (
            f"{name} is no program that this system executes: a script needs a first line such"
            " as #!/bin/sh"
        )
    if number == errno.ENOENT:
        interpreter = _interpreter(order["path"])
        if interpreter:
            return (
                f"{name} cannot be executed: its first line names {interpreter!r}, which does"
                " not exist"
            )
        return f"{name} cannot be executed: its dynamic linker does not exist"
    why = os.strerror(number)
    if number == errno.EACCES:
        why += ", for the user that children run as: to the program, its interpreter or a folder"
    return f"{name} cannot be executed: {why}"


def _interpreter(path: str) -> str:
    """The interpreter in a script's first line, as the kernel reads it; empty if there is none."""
    try:
        with open(path, "rb") as file:
            line = file.read(_FIRST_LINE).partition(b"\n")[0]
    except OSError:
        return ""
    words = line[2:].replace(b"\t", b" ").split(b" ")
    return os.fsdecode(next(filter(None, words), b"")) if line[:2] == b"#!" else ""
